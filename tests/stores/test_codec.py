"""Values as bytes: what goes in comes out, read-only; anything else raises an error that names it."""

from __future__ import annotations

import array
import mmap
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as st_numpy

from bytecache.stores.codec import BYTES, MEMORYVIEW, NDARRAY, decode, encode


def there_and_back(value: Any) -> Any:
    kind, payload, description = encode(value)
    return decode(kind, memoryview(bytes(payload)), description)


def unaligned() -> np.ndarray[Any, Any]:
    return np.frombuffer(b"x" + np.arange(5, dtype="<f8").tobytes(), np.uint8)[1:].view("<f8")


ARRAYS = {
    "uint8": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    "bool": np.array([True, False]),
    "float16": np.array([1.5, np.nan, np.inf], np.float16),
    "complex": np.array([1 + 2j, -0.0]),
    "longdouble": np.array([1, 2], np.longdouble),
    "big-endian": np.arange(4, dtype=">i4"),
    "0-d": np.array(3, np.int64),
    "0-d big-endian": np.array(2.5, ">f8"),
    "empty": np.empty((0, 4), np.float32),
    "empty middle": np.empty((2, 0, 3), ">u2"),
    "Fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "strided": np.arange(20)[::-3],
    "broadcast": np.broadcast_to(np.arange(3, dtype=np.int16), (2, 3)),
    "unaligned": unaligned(),
    "text": np.array(["ä", "", "long \0 text"]),
    "text big-endian": np.array(["ä", "b"], ">U1"),
    "bytes": np.array([b"a", b"", b"bc"]),
    "only empty text": np.array(["", ""]),
    "date": np.array(["2020-01-01", "NaT"], "M8[D]"),
    "multiple of a unit": np.array([1, 2], "m8[25s]"),
    "date without a unit": np.array([], "M8"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_comes_out_as_it_went_in(name: str) -> None:
    """dtype with byte order, shape and values stay the same; the array is C-contiguous and read-only."""
    value = ARRAYS[name]
    out = there_and_back(value)
    assert type(out) is np.ndarray and out.flags.c_contiguous
    assert (out.dtype, out.dtype.byteorder, out.shape) == (value.dtype, value.dtype.byteorder, value.shape)
    assert out.tobytes() == value.tobytes()
    assert not out.flags.writeable


@settings(max_examples=200, deadline=None)
@given(
    st_numpy.arrays(
        st.one_of(
            st_numpy.scalar_dtypes(), st_numpy.byte_string_dtypes(min_len=1), st_numpy.unicode_string_dtypes(min_len=1)
        ),
        st_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    )
)
def test_any_plain_array_comes_out_as_it_went_in(value: Any) -> None:
    """No dtype, shape or content that numpy can make is changed on the way."""
    out = there_and_back(value)
    assert (out.dtype, out.shape, out.tobytes()) == (value.dtype, value.shape, value.tobytes())
    assert not out.flags.writeable


@pytest.mark.parametrize("value", [b"", b"abc", bytearray(b"abc"), np.bytes_(b"abc")])
def test_bytes_come_out_as_bytes(value: Any) -> None:
    """bytes and bytearray, also empty or of a subclass, come out as plain bytes."""
    assert encode(value).kind == BYTES
    assert type(there_and_back(value)) is bytes
    assert there_and_back(value) == bytes(value)


@pytest.mark.parametrize(
    "value",
    [
        memoryview(b"abc"),
        memoryview(bytearray(b"abcdef"))[::1],
        memoryview(b""),
        array.array("B", [1, 2]),
    ],
)
def test_other_bytes_like_objects_come_out_as_read_only_views(value: Any) -> None:
    """A memoryview, mmap or array of bytes comes out as a read-only memoryview of equal content."""
    assert encode(value).kind == MEMORYVIEW
    out = there_and_back(value)
    assert type(out) is memoryview and out.readonly
    assert out == memoryview(value)


def test_a_mapped_file_is_bytes_like() -> None:
    """An mmap encodes without a copy of its own."""
    with mmap.mmap(-1, 10) as mapped:
        mapped[:3] = b"abc"
        assert there_and_back(mapped).tobytes() == b"abc" + bytes(7)


@pytest.mark.parametrize(
    "value",
    [array.array("b", [-1]), memoryview(b"ab").cast("c"), memoryview(b"\xff").cast("b")],
    ids=["b", "c", "cast b"],
)
def test_bytes_with_a_sign_are_not_changed(value: Any) -> None:
    """A buffer of signed bytes or characters comes out with equal items, or raises as a typed buffer."""
    try:
        out = there_and_back(value)
    except TypeError:
        return
    assert out.tolist() == memoryview(value).tolist()


class Sub(np.ndarray[Any, Any]):
    pass


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        3,
        [b"a"],
        (1, 2),
        {"a": 1},
        object(),
        np.float64(1),
        np.uint8(1),
        np.array([object()]),
        np.zeros(2, [("a", "i4")]),
        np.zeros(2, "V3"),
        np.zeros(3).view(Sub),
        np.ma.array([1, 2]),
        np.rec.array([(1, 2)]),
        array.array("i", [1]),
        memoryview(b"abcd").cast("B", (2, 2)),
        memoryview(b"abcd").cast("I"),
        memoryview(b"abcd")[::2],
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_plain_bytes_is_refused(value: Any) -> None:
    """Anything else raises a TypeError that names the codec, what it takes, what it got, and a way out."""
    with pytest.raises(TypeError, match=r"the codec of a shared store takes bytes.*got a .*: (return|give)"):
        encode(value)


def test_an_extension_dtype_is_refused() -> None:
    """A dtype that numpy cannot make from its text, such as bfloat16, raises; it is not changed to another."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for name in "bfloat16", "float8_e4m3fn", "int4":
        with pytest.raises(TypeError, match="codec"):
            encode(np.zeros(2, getattr(ml_dtypes, name)))


@pytest.mark.parametrize(
    "kind, data, description",
    [
        (3, b"", b""),
        (NDARRAY, b"abcd", b""),
        (NDARRAY, b"abcd", b"<f8 1"),
        (NDARRAY, b"abcd", b"<u1 5"),
        (NDARRAY, b"abcd", b"<u1 x"),
        (NDARRAY, b"abcd", b"nonsense 4"),
        (NDARRAY, b"abcd", b"<u1 -1"),
        (NDARRAY, b"abcdefgh", b"|O 1"),
    ],
)
def test_bytes_that_are_not_an_encoded_value_raise(kind: int, data: bytes, description: bytes) -> None:
    """decode raises ValueError or TypeError for what encode did not make; it never turns bytes into object pointers."""
    with pytest.raises((ValueError, TypeError)):
        decode(kind, memoryview(data), description)
