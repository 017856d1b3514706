"""How commands print sizes, times, shares and ages."""

from __future__ import annotations

import pytest

from bytecache.system.text import format_age, format_bytes, format_seconds, format_share


@pytest.mark.parametrize(
    "nbytes, text",
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 KiB"),
        (2**20, "1.0 MiB"),
        (8 * 2**30, "8.0 GiB"),
        (2**50, "1024.0 TiB"),
    ],
)
def test_sizes_have_units(nbytes: int, text: str) -> None:
    """There are at most three digits before the point, up to TiB."""
    assert format_bytes(nbytes) == text


@pytest.mark.parametrize(
    "seconds, text", [(0.4, "0 seconds"), (1, "1 second"), (119, "119 seconds"), (121, "2 minutes"), (2e5, "2 days")]
)
def test_ages_have_units(seconds: float, text: str) -> None:
    """The largest unit counts of which there are two."""
    assert format_age(seconds) == text


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0 s"),
        (1e-20, "0 s"),
        (2e-8, "0.02 µs"),
        (4.567e-6, "4.57 µs"),
        (9.996e-4, "1.00 ms"),
        (0.0123, "12.3 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (9.996, "10.0 s"),
        (19.43, "19.4 s"),
        (99.96, "100 s"),
        (12345.6, "12,346 s"),
    ],
)
def test_times_have_three_digits(seconds: float, text: str) -> None:
    """Also where rounding gives one more before the point."""
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    "share, text",
    [
        (0, "0 %"),
        (1e-9, "below 0.1 %"),
        (0.001, "0.1 %"),
        (0.004, "0.4 %"),
        (0.005, "0.5 %"),
        (0.614, "61 %"),
        (0.99, "99 %"),
        (0.994, "99.4 %"),
        (0.996, "99.6 %"),
        (0.99999, "99.9 %"),
        (1, "100 %"),
        (1.25, "125 %"),
    ],
)
def test_shares_are_whole_only_if_that_is_exact(share: float, text: str) -> None:
    """A small rest is neither nothing nor forgotten."""
    assert format_share(share) == text
