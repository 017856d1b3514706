"""A pytest-benchmark test per contender, for comparing two versions of the code."""
