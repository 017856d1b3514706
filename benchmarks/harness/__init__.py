"""Measuring, reporting and plotting; worker processes and memory limits."""
