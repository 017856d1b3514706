"""None, numbers, text, and containers of these, of bytes and of arrays, as JSON and the bytes that it refers to.

JSON is read by C, so a list of a hundred boxes costs little at a hit. What it has no form for is an object with the
one key "", whose value is a list that begins with the name of a form. The bytes of arrays lie before the text, each
array on a cache line of its own.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from .arrays import decode_array, encode_array, is_plain

MAX_DEPTH = 32  # of containers in one another
ALIGNMENT = 64  # of arrays, in bytes: a cache line
_FORM = ""  # the key of the object that stands for what JSON has no form for
_JSON_INT_BITS = 64  # Python limits the digits of an int in decimal, not in hexadecimal
_FLOAT = struct.Struct("<d")
_NAN = _FLOAT.pack(float("nan"))
_NONE, _BOOL, _INT, _STR = type(None), bool, int, str

# Where a part is in the value: (where what contains it is, index or key); None for the value itself.
_Where = tuple[Any, object] | None


class Unsupported(TypeError):
    """A part of a value that a store cannot keep; the message says which."""


def encode_structure(value: Any) -> tuple[memoryview, bytes]:
    """Return a value as bytes, and the description that :func:`decode_structure` needs; raise Unsupported.

    What occurs twice in it is kept twice.
    """
    encoder = _Encoder()
    text = json.dumps(
        encoder.encode(value, None, 0), ensure_ascii=False, check_circular=False, separators=(",", ":")
    ).encode()
    start = len(encoder.data)
    encoder.data += text
    return memoryview(encoder.data).toreadonly(), b"%d" % start


def decode_structure(view: memoryview, description: bytes) -> Any:
    """Return the value, in containers of its own, with arrays and memoryviews over `view`, which is read-only.

    Raise an exception of some kind for bytes that :func:`encode_structure` did not make.
    """
    start = int(description)
    text = str(view[start:], "utf-8")
    if start < 0 or len(description) > 20:
        raise ValueError(f"the text of a value cannot start at byte {start}")
    if '{"":' not in text:  # most small values: without a hook it is C alone
        return json.loads(text)
    try:
        decoder = _idle.pop()
    except IndexError:
        decoder = _Decoder()
    value = decoder.decode(text, view)
    _idle.append(decoder)
    return value


def copy_containers(value: Any) -> Any:
    """Return a value as one more :func:`decode_structure` would: with lists, dicts and bytearrays of its own."""
    kind = type(value)
    if kind is list or kind is tuple:
        return kind([copy_containers(item) for item in value])
    if kind is dict:
        return {key: copy_containers(item) for key, item in value.items()}
    return bytearray(value) if kind is bytearray else value


class _Encoder:
    """Turns a value into what json writes. data: the bytes of arrays and bytes so far."""

    def __init__(self) -> None:
        self.data = bytearray()

    def encode(self, value: Any, where: _Where, depth: int) -> Any:
        kind = type(value)
        if kind is _NONE or kind is _BOOL:
            return value
        if kind is _INT:
            return value if value.bit_length() <= _JSON_INT_BITS else _form("int", hex(value))
        if kind is _STR:
            return _text(value)
        if kind is float:
            return value if value == value or _FLOAT.pack(value) == _NAN else _form("float", _FLOAT.pack(value).hex())
        if kind is tuple or kind is list or kind is dict:
            return self._encode_container(value, kind, where, depth + 1)
        return self._encode_leaf(value, kind, where)

    def _encode_container(self, value: Any, kind: type, where: _Where, depth: int) -> Any:
        if depth > MAX_DEPTH:
            _refuse(where, f"nested deeper than {MAX_DEPTH} containers")
        if kind is not dict:
            items = [self.encode(item, (where, index), depth) for index, item in enumerate(value)]
            return items if kind is list else _form("tuple", items)
        for key in value:
            if type(key) is not str:
                _refuse(where, f"a dict with the key {key!r:.60} of type {type(key).__qualname__}: keys must be str")
        items = [[_text(key), self.encode(item, (where, key), depth)] for key, item in value.items()]
        if all(type(key) is str and key != _FORM for key, _ in items):
            return dict(items)
        return _form("dict", items)

    def _encode_leaf(self, value: Any, kind: type, where: _Where) -> Any:
        if kind is complex:
            return _form("complex", (_FLOAT.pack(value.real) + _FLOAT.pack(value.imag)).hex())
        if kind is bytes or kind is bytearray:
            return _form(kind.__name__, *self._append(value, 1))
        if kind is memoryview:
            if value.ndim != 1 or not value.contiguous or value.format != "B":
                _refuse(where, f"a buffer of format {value.format!r} and shape {value.shape}: give it as an ndarray")
            return _form("memoryview", *self._append(value, 1))
        if isinstance(value, (np.ndarray, np.generic)):
            if not is_plain(value):
                _refuse(where, f"{type_name(value)} with dtype {value.dtype}")
            if isinstance(value, (np.bytes_, np.str_)) and len(np.asarray(value)[()]) != len(value):
                _refuse(where, f"{type_name(value)} with zeros at its end, which numpy drops: give it as bytes or str")
            data, description = encode_array(np.asarray(value))
            form = "array" if kind is np.ndarray else "scalar"
            return _form(form, *self._append(data, ALIGNMENT), description.decode())
        _refuse(where, type_name(value))

    def _append(self, data: bytes | bytearray | memoryview, alignment: int) -> tuple[int, int]:
        """Append the bytes of a part; return where they are."""
        self.data += bytes(-len(self.data) % alignment)
        start = len(self.data)
        self.data += data
        return start, len(self.data)


class _Decoder:
    """Turns the objects of a text, from the innermost on, into what they stand for. For one thread at a time."""

    def __init__(self) -> None:
        self._view = memoryview(b"")
        self._decode = json.JSONDecoder(object_hook=self._replace_form).decode

    def decode(self, text: str, view: memoryview) -> Any:
        self._view = view
        try:
            return self._decode(text)
        finally:
            self._view = memoryview(b"")

    def _replace_form(self, found: dict[str, Any]) -> Any:
        if _FORM not in found:
            return found
        form, *arguments = found[_FORM]
        return _FORMS[form](self._view, *arguments)


_idle: list[_Decoder] = []  # to make one takes as long as to decode a small value


def _slice(view: memoryview, start: int, end: int) -> memoryview:
    if not 0 <= start <= end <= view.nbytes:
        raise ValueError(f"there are no bytes {start} to {end} in {view.nbytes}")
    return view[start:end]


def _to_tuple(view: memoryview, items: list[Any]) -> tuple[Any, ...]:
    return tuple(items)


def _to_dict(view: memoryview, items: list[Any]) -> dict[str, Any]:
    return dict(items)


def _to_int(view: memoryview, text: str) -> int:
    return int(text, 16)


def _to_float(view: memoryview, text: str) -> float:
    return float(_FLOAT.unpack(bytes.fromhex(text))[0])


def _to_complex(view: memoryview, text: str) -> complex:
    real, imaginary = struct.unpack("<dd", bytes.fromhex(text))
    return complex(real, imaginary)


def _to_str(view: memoryview, text: str) -> str:
    return bytes.fromhex(text).decode("utf-8", "surrogatepass")


def _to_bytes(view: memoryview, start: int, end: int) -> bytes:
    return bytes(_slice(view, start, end))


def _to_bytearray(view: memoryview, start: int, end: int) -> bytearray:
    return bytearray(_slice(view, start, end))


def _to_array(view: memoryview, start: int, end: int, description: str) -> Any:
    return decode_array(_slice(view, start, end), description.encode())


def _to_scalar(view: memoryview, start: int, end: int, description: str) -> Any:
    return decode_array(_slice(view, start, end), description.encode())[()]


_FORMS: dict[str, Any] = {
    "tuple": _to_tuple, "dict": _to_dict, "int": _to_int, "float": _to_float, "complex": _to_complex, "str": _to_str,
    "bytes": _to_bytes, "bytearray": _to_bytearray, "memoryview": _slice, "array": _to_array, "scalar": _to_scalar,
}  # fmt: skip


def _form(name: str, *arguments: Any) -> dict[str, Any]:
    return {_FORM: [name, *arguments]}


def _text(value: str) -> Any:
    """Return a str as JSON has it; one with surrogates, which UTF-8 has not, in hexadecimal."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return _form("str", value.encode("utf-8", "surrogatepass").hex())
    return value


def type_name(value: Any) -> str:
    """Return how a message names the type of a value."""
    kind = type(value)
    return f"a {kind.__qualname__}" if kind.__module__ == "builtins" else f"a {kind.__module__}.{kind.__qualname__}"


def _refuse(where: _Where, what: str) -> NoReturn:
    steps = "".join(f"[{step!r:.60}]" for step in reversed(list(_steps(where))))
    raise Unsupported(f"value{steps} is {what}")


def _steps(where: _Where) -> Iterator[object]:
    while where is not None:
        where, step = where
        yield step
