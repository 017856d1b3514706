"""Entries as bytes: what was put comes back, and nothing else ever does."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from bytecache.stores.base import MISSING
from bytecache.stores.codec import encode
from bytecache.stores.remote.frame import OVERHEAD, make_frame, read_frames


def read_frame(key: bytes, frame: Any) -> Any:
    """Return the value of one entry; raise ValueError if it is damaged."""
    damaged: list[bytes] = []
    (value,) = read_frames([key], [frame], damaged)
    assert (value is MISSING) == bool(damaged)
    if damaged:
        raise ValueError
    return value


KEY = b"bytecache:1:function:generation:0123456789abcdef"
VALUES: list[Any] = [
    b"",
    b"some bytes",
    memoryview(b"a view"),
    np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    np.zeros((0, 3), np.uint8),
    {"label": 3, "boxes": [1.5, None], "pixels": np.arange(5)},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back(value: Any) -> None:
    """Of the same type, dtype and shape; arrays are read-only and aligned."""
    found = read_frame(KEY, make_frame(KEY, encode(value)))
    assert type(found) is type(value)
    if isinstance(value, np.ndarray):
        assert found.dtype == value.dtype and found.shape == value.shape and (found == value).all()
        assert found.flags.aligned and not found.flags.writeable
    elif isinstance(value, dict):
        assert found.keys() == value.keys() and found["boxes"] == value["boxes"]
    else:
        assert found == value


def test_the_overhead_is_small() -> None:
    """24 bytes for bytes, and for an array its dtype and shape as text."""
    assert len(make_frame(KEY, encode(bytes(8000)))) - 8000 == OVERHEAD == 24
    assert len(make_frame(KEY, encode(np.zeros((110, 1000), np.uint8)))) - 110_000 <= 64


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_no_flipped_bit_is_believed(value: Any) -> None:
    """Neither one in the header, the payload, the description or the checksum, nor a few at a time."""
    frame, numbers = make_frame(KEY, encode(value)), random.Random(7)
    for bit in range(8 * len(frame)):
        flipped = bytearray(frame)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError):
            read_frame(KEY, bytes(flipped))
    for _ in range(2000):
        flipped = bytearray(frame)
        for bit in numbers.sample(range(8 * len(frame)), numbers.randrange(2, 9)):
            flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError):
            read_frame(KEY, bytes(flipped))


def test_no_other_bytes_are_believed() -> None:
    """Cut, continued, empty, another key's, another format's, or text."""
    frame = make_frame(KEY, encode(b"some bytes"))
    foreign = [frame[:n] for n in range(len(frame))] + [frame + b"\0", frame + frame, b"x" * 100, bytes(100)]
    for data in foreign:
        with pytest.raises(ValueError):
            read_frame(KEY, data)
    with pytest.raises(ValueError):
        read_frame(KEY[:-1] + b"g", frame)
    with pytest.raises(ValueError):
        read_frame(KEY, frame.decode("latin-1"))


def test_damaged_entries_of_many() -> None:
    """They are missing, and their keys are told; the others are found."""
    keys = [b"%d" % n for n in range(4)]
    frames: list[Any] = [make_frame(key, encode(key)) for key in keys]
    frames[1], frames[2] = frames[2], None
    damaged: list[bytes] = []
    assert read_frames(keys, frames, damaged) == [b"0", MISSING, MISSING, b"3"]
    assert damaged == [b"1"]
