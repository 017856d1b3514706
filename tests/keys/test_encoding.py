"""Keys as bytes: equal for equal calls, different for different ones."""

from __future__ import annotations

import os
from enum import Enum, IntEnum
from hashlib import blake2b
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from bytecache import file_key
from bytecache.keys.call_key import make_key
from bytecache.keys.encoding import encode_call_key, encode_key, make_digests

PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 2),
    st.floats(allow_nan=False),
    st.sampled_from([0.0, -0.0, 1.0, 2.0**53, 2.0**53 + 2, 1e300, float("inf")]),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.sampled_from(["i1;", "t0:", "n", "s1:a", b"i1;", b"t0:", "1:", ""]),
)
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)


@settings(max_examples=500, deadline=None)
@given(VALUES, VALUES)
def test_keys_are_equal_if_the_values_are(one: Any, other: Any) -> None:
    """Two values have the same bytes exactly if Python calls them equal."""
    assert (encode_key(one) == encode_key(other)) == (one == other)


CALLS = st.tuples(
    st.lists(VALUES, max_size=2).map(tuple), st.lists(st.tuples(st.sampled_from("ab"), PLAIN), max_size=2).map(dict)
)


@settings(max_examples=500, deadline=None)
@given(CALLS, CALLS, st.booleans())
def test_calls_are_equal_if_their_plain_keys_are(one: Any, other: Any, typed: bool) -> None:
    """encode_call_key distinguishes calls as make_key does, with and without typed=, by the order of keywords too."""
    equal = make_key(*one, typed) == make_key(*other, typed)
    assert (encode_call_key(*one, typed) == encode_call_key(*other, typed)) == equal


class Name(str):
    pass


class Size(NamedTuple):
    height: int
    width: int


class Colour(IntEnum):
    RED = 1


class Kind(str, Enum):
    CAT = "cat"


@pytest.mark.parametrize(
    "one, other",
    [
        (Name("a"), "a"),
        (np.str_("a"), "a"),
        (np.int64(3), 3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.float64(0.5), 0.5),
        (Size(1, 2), (1, 2)),
        (Colour.RED, 1),
        (Kind.CAT, "cat"),
        (PurePosixPath("a"), Path("a")),
        (True, 1.0),
    ],
)
def test_subclasses_and_numpy_scalars_are_the_value(one: Any, other: Any) -> None:
    """Whatever equals a plain value has the same bytes."""
    assert one == other
    assert encode_key(one) == encode_key(other)


@pytest.mark.parametrize("one, other", [(np.True_, True), (np.float32(0.5), 0.5)])
def test_numpy_scalars_are_the_python_value(one: Any, other: Any) -> None:
    """A bool or a float of numpy has the bytes of the same Python value."""
    assert encode_key(one) == encode_key(other)


@pytest.mark.parametrize(
    "one, other",
    [
        ("a", b"a"),
        ("a", Path("a")),
        (b"a", Path("a")),
        ((), None),
        (("a",), "a"),
        (("a", "b"), ("ab",)),
        (("a", ("b",)), (("a",), "b")),
        (PurePosixPath("a"), PureWindowsPath("a")),
    ],
)
def test_values_that_differ_have_keys_that_differ(one: Any, other: Any) -> None:
    """Kinds, nesting and lengths are part of the key."""
    assert one != other
    assert encode_key(one) != encode_key(other)


def test_any_file_name_is_a_key() -> None:
    """File names that are not UTF-8, and paths of bytes, have keys of their own."""
    names = [os.fsdecode(b"\xff"), os.fsdecode(b"\xfe"), b"\xff", "\0", "ÿ"]
    assert len({encode_call_key((name,), {}) for name in names}) == len(names)


def test_an_int_of_any_length_is_a_key() -> None:
    """Python's limit on the digits of an int as text does not apply."""
    assert encode_key(1 << 20_000) != encode_key((1 << 20_000) + 1)
    assert encode_call_key((1 << 20_000,), {}) != encode_call_key(((1 << 20_000) + 1,), {})


@pytest.mark.parametrize("value", [[1], {"a": 1}, {1}, 1j, object(), bytearray(b"a"), (1, [2]), np.zeros(2)])
def test_other_keys_are_refused(value: Any) -> None:
    """Anything else raises a TypeError with what a key may be, what it got, and key=."""
    with pytest.raises(TypeError, match=r"of str, bytes, int, float, bool, None, PathLike and tuples.*got .*key="):
        encode_call_key((value,), {})
    with pytest.raises(TypeError, match="key="):
        encode_call_key((), {"x": value})


def test_typed_tells_equal_arguments_of_different_types() -> None:
    """With typed=, 1.0, True and np.float64(1) are three calls; without it they are one."""
    calls = [(1.0,), (True,), (np.float64(1),)]
    assert len({encode_call_key(call, {}, True) for call in calls}) == 3
    assert len({encode_call_key(call, {}) for call in calls}) == 1


@pytest.mark.parametrize(
    "scalar, plain",
    [
        (np.str_("a"), "a"),
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (np.array(3), 3),
        (np.array("a"), "a"),
        (np.bool_(True), True),
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.bytes_(b"a"), b"a"),
    ],
)
def test_a_scalar_of_numpy_is_one_key_with_its_python_equal(scalar: Any, plain: Any) -> None:
    """By itself, as one of several arguments and by name, in memory and as bytes; with typed= they are two keys."""
    for one, other in (
        (((scalar,), {}), ((plain,), {})),
        (((scalar, 1), {}), ((plain, 1), {})),
        (((), {"x": scalar}), ((), {"x": plain})),
    ):
        assert make_key(*one) == make_key(*other) and hash(make_key(*one)) == hash(make_key(*other))
        assert encode_call_key(*one) == encode_call_key(*other)
        assert make_key(*one, True) != make_key(*other, True)
        assert encode_call_key(*one, True) != encode_call_key(*other, True)
    digest_of, digest_of_one = make_digests(b"f" * 16, False, None)
    assert digest_of((scalar,), {}) == digest_of_one(scalar) == digest_of_one(plain) == digest_of((plain,), {})


@pytest.mark.parametrize("scalar", [np.datetime64(3, "ns"), np.timedelta64(3, "s"), np.longdouble("0.1")])
def test_scalars_of_numpy_without_a_python_equal_stay_what_they_are(scalar: Any) -> None:
    """They are keys in memory, and no int or float is the same key."""
    assert make_key((scalar,), {}) == (scalar,)
    with pytest.raises(TypeError, match="key="):
        encode_key(scalar)


def test_a_file_that_changes_has_another_key(tmp_path: Path) -> None:
    """file_key is absolute path, size and time of change, and can be encoded; a missing file is an OSError."""
    path = tmp_path / "a"
    path.write_bytes(b"12")
    os.utime(path, ns=(1, 5))
    assert file_key(path) == file_key(str(path)) == (str(path), 2, 5)
    before = encode_key(file_key(path))
    os.utime(path, ns=(1, 6))
    assert encode_key(file_key(path)) != before
    with pytest.raises(FileNotFoundError, match="none"):
        file_key(tmp_path / "none")


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("key", [None, lambda x: (x, "made")], ids=["no key=", "key="])
@pytest.mark.parametrize("argument", ["a", "\udcff", b"a", 3, 2.5, None, ("a", 1), Path("a")], ids=repr)
def test_the_digest_of_one_argument_is_that_of_its_call(argument: Any, key: Any, typed: bool) -> None:
    """map finds what a call has stored, and the other way round; and the digest is blake2b of the encoded key."""
    function = bytes(range(16))
    digest_of, digest_of_one = make_digests(function, typed, key)
    assert digest_of((argument,), {}) == digest_of_one(argument)
    encoded = encode_call_key((argument if key is None else key(argument),), {}, typed)
    assert digest_of_one(argument) == blake2b(encoded, digest_size=16, person=function).digest()
