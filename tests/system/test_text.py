"""How commands print sizes and ages."""

from __future__ import annotations

import pytest

from bytecache.system.text import format_age, format_bytes


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
