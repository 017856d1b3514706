"""Sizes in bytes, written as numbers, with units, or as a share of the memory available."""

from __future__ import annotations

from typing import Any

import pytest

import bytecache
from bytecache.system.byte_sizes import parse_size
from bytecache.system.memory_limit import available_memory


@pytest.mark.parametrize(
    "size, nbytes",
    [
        (1, 1),
        (123456789012, 123456789012),
        ("7", 7),
        ("7 B", 7),
        ("2KB", 2000),
        ("500 MB", 500_000_000),
        ("1.5 GB", 1_500_000_000),
        ("1 TB", 10**12),
        ("2 kib", 2048),
        (" 0.5 MiB ", 524288),
        ("2 GiB", 2 * 2**30),
        ("1TiB", 2**40),
    ],
)
def test_sizes_in_bytes(size: Any, nbytes: int) -> None:
    """Units are decimal or binary, in either case, with or without a space."""
    assert parse_size(size) == nbytes


WRONG = ["", " ", "GiB", "-1", "-1 GiB", "0", "0.1 B", "1,5 GB", "1e9", "2 G", "2 GiB!", "nan", "101%", "0%", "-5%"]


@pytest.mark.parametrize("size", [0, -1, *WRONG])
def test_an_invalid_size_is_a_value_error(size: Any) -> None:
    """Zero, negative numbers and other text raise; the message names the parameter and what it got."""
    with pytest.raises(ValueError) as caught:
        parse_size(size, "budget")
    assert str(caught.value) == (
        f'budget must be a positive int or a size such as "2 GiB", "500 MB" or "50%", got {size!r}'
    )


def test_large_numbers_are_exact() -> None:
    """A size is not rounded to a float's precision, nor bounded by its range."""
    assert parse_size("9007199254740993") == 9007199254740993
    assert parse_size("9" * 400) == int("9" * 400)
    assert parse_size("0.1 GB") == 100_000_000


@pytest.mark.parametrize("size", [1.5, True, None, b"2 GiB", [1]])
def test_another_type_is_a_type_error(size: Any) -> None:
    """Only an int or a str is a size; a bool is neither."""
    with pytest.raises(TypeError, match=f'or "50%", got .* of type {type(size).__name__}'):
        parse_size(size)


def test_percent_is_of_the_memory_available() -> None:
    """ "50%" is half of available_memory, give or take what the machine does meanwhile."""
    assert parse_size("50%") == pytest.approx(available_memory() / 2, rel=0.05)
    assert parse_size("100 %") == pytest.approx(available_memory(), rel=0.05)


def test_percent_as_budget_of_a_decorator() -> None:
    """A percentage becomes bytes when the function is decorated."""
    cached = bytecache.fill_once(maxbytes="50%")(len)
    assert cached.cache_stats().maxbytes == pytest.approx(available_memory() / 2, rel=0.05)
