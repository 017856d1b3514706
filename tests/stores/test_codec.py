"""Values as bytes: what goes in comes out, read-only; anything else raises an error that names it."""

from __future__ import annotations

import array
import enum
import math
import mmap
import re
import struct
import sys
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as st_numpy

from bytecache.stores.codec import BYTES, MEMORYVIEW, NDARRAY, STRUCTURE, decode, encode
from bytecache.stores.structures import MAX_DEPTH


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


@pytest.mark.parametrize("value", [b"", b"abc", bytearray(b"abc")])
def test_bytes_come_out_as_bytes(value: Any) -> None:
    """bytes and bytearray, also empty, come out as bytes."""
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


class Text(str):
    pass


class Point(NamedTuple):
    x: int


class Colour(enum.IntEnum):
    RED = 1


REFUSED = {
    "object": object(),
    "set": {1},
    "named tuple": Point(1),
    "OrderedDict": OrderedDict(a=1),
    "subclass of str": Text("a"),
    "subclass of bytes": type("Bytes", (bytes,), {})(b"a"),
    "subclass of bytearray": type("ByteArray", (bytearray,), {})(b"a"),
    "enum": Colour.RED,
    "key that is no str": {1: 2},
    "key of a subclass of str": {Text("a"): 2},
    "array of objects": np.array([object()]),
    "array with fields": np.zeros(2, [("a", "i4")]),
    "array of void": np.zeros(2, "V3"),
    "subclass of ndarray": np.zeros(3).view(Sub),
    "masked array": np.ma.array([1, 2]),
    "record array": np.rec.array([(1, 2)]),
    "scalar with fields": np.zeros(1, [("a", "i4")])[0],
    "scalar whose last zeros numpy drops": np.bytes_(b"a\0"),
    "typed array": array.array("i", [1]),
    "view of two dimensions": memoryview(b"abcd").cast("B", (2, 2)),
    "typed view": memoryview(b"abcd").cast("I"),
    "view with gaps": memoryview(b"abcd")[::2],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_come_back_as_it_was_is_refused(name: str) -> None:
    """A TypeError says where in the value it is, what it got, what is kept, and a way out."""
    for value, where in [(REFUSED[name], "value"), ({"boxes": [0, (1, REFUSED[name])]}, "value['boxes'][1][1]")]:
        with pytest.raises(
            TypeError, match=rf"^{re.escape(where)} is a.*; the codec of a shared store takes bytes.*: return such"
        ):
            encode(value)


@pytest.mark.parametrize("value", [array.array("B", b"a"), mmap.mmap(-1, 1)], ids=["array", "mmap"])
def test_a_buffer_inside_is_refused_that_would_come_back_as_another_type(value: Any) -> None:
    """Alone it comes back as a memoryview; inside a container that would go unnoticed."""
    with pytest.raises(TypeError, match=r"^value\[0\] is a"):
        encode([value])


def test_an_extension_dtype_is_refused() -> None:
    """A dtype that numpy cannot make from its text, such as bfloat16, raises; it is not changed to another."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for name in "bfloat16", "float8_e4m3fn", "int4":
        with pytest.raises(TypeError, match="codec"):
            encode(np.zeros(2, getattr(ml_dtypes, name)))


@pytest.mark.parametrize(
    "kind, data, description",
    [
        (4, b"", b""),
        (STRUCTURE, b"", b"0"),
        (STRUCTURE, b"null", b""),
        (STRUCTURE, b"null", b"-4"),
        (STRUCTURE, b"[" * 100_000, b"0"),
        (STRUCTURE, b"1" * 5000, b"0"),
        (STRUCTURE, b"\xff", b"0"),
        (STRUCTURE, b'{"":["none"]}', b"0"),
        (STRUCTURE, b'{"":[]}', b"0"),
        (STRUCTURE, b'{"":3}', b"0"),
        (STRUCTURE, b'{"":["bytes",0,99]}', b"0"),
        (STRUCTURE, b'{"":["memoryview",-2,3]}', b"0"),
        (STRUCTURE, b'{"":["bytes","0",2]}', b"0"),
        (STRUCTURE, b'{"":["float","00"]}', b"0"),
        (STRUCTURE, b'{"":["dict",[[[],1]]]}', b"0"),
        (STRUCTURE, b'{"":["array",0,8,"|O 1"]}', b"0"),
        (STRUCTURE, b'{"":["array",0,8,"<f8 1 x"]}', b"0"),
        (NDARRAY, b"", b"<f8 0 99999999999999999999999"),
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
    """decode raises ValueError for what encode did not make; it never turns bytes into object pointers."""
    with pytest.raises(ValueError):
        decode(kind, memoryview(data), description)


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same in type and to the last bit, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.longdouble):  # of whose 16 bytes some mean nothing
        return repr(one) == repr(other)
    if isinstance(one, (np.ndarray, np.generic)):
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (float, complex)):
        return struct.pack("dd", one.real, one.imag) == struct.pack("dd", other.real, other.imag)
    return bool(one == other)


STRUCTURES = {
    "None": None,
    "bool": True,
    "int": -3,
    "int of 64 bits": 2**64 - 1,
    "int of 65 bits": -(2**64),
    "int of many digits": 1 << 50_000,
    "-0.0": -0.0,
    "infinity": -math.inf,
    "nan": math.nan,
    "negative nan": -math.nan,
    "complex": complex(-0.0, math.nan),
    "text": 'a \0 " \n ä 😀',
    "lone surrogate": "caf\udce9",
    "pair of surrogates": "\ud83d\ude00",
    "empty ones": [(), [], {}, "", b"", bytearray(), memoryview(b""), np.empty((0, 3)), ((),), [[]], [{}]],
    "keys": {"": 1, "a": {"": ["tuple", [1]]}, "\ud800": 2, "z": 0, "b": 1},
    "what looks like a form": {"": ["bytes", 0, 1]},
    "buffers": (b"abc", bytearray(b"de"), memoryview(b"f")),
    "arrays": list(ARRAYS.values()),
    "scalars": [np.float32(1.5), np.int8(-1), np.bool_(True), np.str_("ä"), np.bytes_(b""), np.longdouble(1) / 3],
    "array of empty text": [np.zeros(3, "U0,i4")["f0"]],
    "dates": (np.datetime64("NaT", "D"), np.timedelta64(3, "25s")),
    "scalar alone": np.float64(-0.0),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_structure_comes_out_as_it_went_in(name: str) -> None:
    """Types, order of keys, signs, payloads of NaN and surrogates stay the same, at every level."""
    value = STRUCTURES[name]
    assert encode(value).kind == STRUCTURE
    assert same(there_and_back(value), value)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**80), 2**80)
    | st.floats()
    | st.complex_numbers()
    | st.text(st.characters(), max_size=8)
    | st.binary(max_size=70)
    | st.binary(max_size=8).map(bytearray)
    | st.binary(max_size=8).map(memoryview)
    | st_numpy.arrays(st_numpy.scalar_dtypes(), st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    | st_numpy.scalar_dtypes().flatmap(lambda dtype: st_numpy.arrays(dtype, ()).map(lambda array: array[()]))
)
TEXT = st.text(st.characters(), max_size=4)
VALUES = st.recursive(
    LEAVES,
    lambda items: st.lists(items, max_size=4) | st.lists(items, max_size=4).map(tuple) | st.dictionaries(TEXT, items),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_any_structure_comes_out_as_it_went_in(value: Any) -> None:
    """Whatever is in it; but a bytearray alone comes out as bytes."""
    assert same(there_and_back(value), bytes(value) if isinstance(value, bytearray) else value)


def test_containers_are_new_and_arrays_are_not() -> None:
    """Lists, dicts and bytearrays belong to whoever asked; arrays and views are read-only, over the bytes given."""
    kind, payload, description = encode([{"a": bytearray(b"a")}, np.arange(3), memoryview(b"abc")])
    store = memoryview(bytes(payload))
    first, second = (decode(kind, store, description) for _ in range(2))
    first[0]["a"] += b"b"
    first.append(1)
    assert second[0] == {"a": b"a"} and len(second) == 3
    assert np.shares_memory(first[1], second[1]) and np.shares_memory(first[1], np.frombuffer(store, np.uint8))
    assert not first[1].flags.writeable and first[2].readonly


def test_arrays_inside_are_aligned() -> None:
    """Each begins on a cache line, if the whole does."""
    kind, payload, description = encode((b"x", np.arange(3), b"y", np.arange(5.0)))
    buffer = np.zeros(len(payload) + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    buffer[start : start + len(payload)] = payload
    found = decode(kind, memoryview(buffer)[start : start + len(payload)].toreadonly(), description)
    assert [found[n].ctypes.data % 64 for n in (1, 3)] == [0, 0]


def nested(depth: int) -> Any:
    value: Any = 1
    for n in range(depth):
        value = [value] if n % 3 == 0 else (value,) if n % 3 == 1 else {"": value}
    return value


def test_the_depth_is_limited() -> None:
    """MAX_DEPTH containers in one another are kept, one more is refused, as is a list that contains itself."""
    assert same(there_and_back(nested(MAX_DEPTH)), nested(MAX_DEPTH))
    circle: list[Any] = []
    circle.append(circle)
    for value in nested(MAX_DEPTH + 1), circle:
        with pytest.raises(TypeError, match=f"nested deeper than {MAX_DEPTH} containers"):
            encode(value)


def test_the_limit_of_digits_does_not_count() -> None:
    """An int of any size comes back also if Python is told to refuse long ones."""
    limit = sys.get_int_max_str_digits() if hasattr(sys, "get_int_max_str_digits") else None
    if limit is not None:
        sys.set_int_max_str_digits(640)
    try:
        assert there_and_back([7**5000, -(7**25)]) == [7**5000, -(7**25)]
    finally:
        if limit is not None:
            sys.set_int_max_str_digits(limit)


@pytest.mark.filterwarnings("ignore")  # of numpy, about the names of some types
def test_damaged_bytes_raise_nothing_else() -> None:
    """With each byte of text and description changed or cut off, decode returns some value or raises ValueError."""
    value = {"": [(1.5, "ä"), np.arange(2, dtype="<i2"), np.int8(3), b"a", -math.nan, 1 << 70, 1j, "\ud800"]}
    kind, payload, description = encode(value)
    whole, start = bytes(payload), int(description)
    damaged = [(whole[:n], description) for n in range(len(whole))]
    damaged += [(whole, description[:n]) for n in range(len(description))]
    for n in range(start, len(whole)):
        damaged += [(whole[:n] + bytes([whole[n] ^ bit]) + whole[n + 1 :], description) for bit in (1, 2, 4, 16, 128)]
    for n in range(len(description)):
        damaged += [(whole, description[:n] + bytes([byte]) + description[n + 1 :]) for byte in range(256)]
    raised = 0
    for data, about in damaged:
        try:
            decode(kind, memoryview(data), about)
        except ValueError:
            raised += 1
    assert len(damaged) > raised > len(damaged) / 2
