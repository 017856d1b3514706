"""Keys as bytes that are the same in every process."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Hashable
from hashlib import blake2b
from pathlib import PureWindowsPath
from typing import Any

from .call_key import identity_of, plain_scalar

_len = len  # bound early: a user may cache builtins.len itself


ENCODABLE = (str, bytes, int, float, tuple, os.PathLike)  # what a key may be made of, beside None
Digest = Callable[[tuple[Any, ...], dict[str, Any]], bytes]


def make_digests(
    function: bytes, typed: bool, key: Callable[..., Hashable] | None
) -> tuple[Digest, Callable[[Any], bytes]]:
    """Return two functions that give a call's digest: 16 bytes that no call of another function has.

    One takes (args, kwds), the other the single argument of a call. function: its fingerprint, 16 bytes. key: makes the
    key of a call's arguments; None: the arguments are the key. All versions of a VersionedKey have the first 8 bytes of
    their digests in common.
    """
    seeded = blake2b(digest_size=16, person=function)

    def digest_of(args: tuple[Any, ...], kwds: dict[str, Any]) -> bytes:
        if key is not None:
            args, kwds = (key(*args, **kwds),), {}
        hasher = seeded.copy()  # half the cost of a new one
        if not kwds and _len(args) == 1 and type(args[0]) is str:  # as encode_call_key would, here for speed
            hasher.update(b"s" + args[0].encode("utf-8", "surrogatepass"))
        else:
            hasher.update(encode_call_key(args, kwds, typed))
            identity = identity_of(args)
            if identity is not None:
                of_all_versions = seeded.copy()
                of_all_versions.update(encode_key(identity))
                return of_all_versions.digest()[:8] + hasher.digest()[8:]
        return hasher.digest()

    def digest_of_one(argument: Any) -> bytes:
        if key is not None or type(argument) is not str:
            return digest_of((argument,), {})
        hasher = seeded.copy()
        hasher.update(b"s" + argument.encode("utf-8", "surrogatepass"))
        return hasher.digest()

    return digest_of, digest_of_one


def encode_call_key(args: tuple[Any, ...], kwds: dict[str, Any], typed: bool = False) -> bytes:
    """Return the key of one call as bytes: equal if :func:`~bytecache.keys.call_key.make_key` gives equal keys.

    Raises TypeError for anything but str, bytes, int, float, bool, None, PathLike and tuples of these.
    """
    if not kwds and _len(args) == 1:
        only = args[0] if typed else plain_scalar(args[0])
        if type(only) in (str, int):
            return b"s" + _utf8(only) if type(only) is str else b"i%x" % only
    parts = [encode_key(args)]
    for name, value in kwds.items():
        parts += [b"k", encode_key(name), encode_key(value)]
    if typed:
        kinds = (f"{type(value).__module__}.{type(value).__qualname__}" for value in (*args, *kwds.values()))
        parts += [b"T", encode_key(tuple(kinds))]
    return b"".join(parts)


def encode_key(value: Any) -> bytes:
    """Return a value as bytes: equal for equal values, and for no others.

    Raises TypeError for the same values as :func:`encode_call_key`.
    """
    if value is None:
        return b"n"
    value = plain_scalar(value)
    if isinstance(value, int):
        return b"i%x;" % value
    if isinstance(value, float):
        return b"i%x;" % int(value) if value.is_integer() else b"f" + struct.pack("<d", value)
    if isinstance(value, tuple):
        return b"t%d:" % _len(value) + b"".join([encode_key(part) for part in value])
    if isinstance(value, os.PathLike):
        return (b"w" if isinstance(value, PureWindowsPath) else b"p") + encode_key(os.fspath(value))
    if isinstance(value, (str, bytes)):
        data, kind = (value, b"b") if isinstance(value, bytes) else (_utf8(value), b"s")
        return b"%b%d:%b" % (kind, _len(data), data)
    raise TypeError(
        "the key of a value that processes share must be of str, bytes, int, float, bool, None, PathLike and tuples of "
        f"these, got {value!r} of type {type(value).__name__}: give key=, a function that makes such a key of the "
        "call's arguments"
    )


def _utf8(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")  # file names may hold bytes that are not text
