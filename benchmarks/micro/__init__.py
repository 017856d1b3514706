"""A pytest-benchmark test per contender, to compare two versions of the code."""
