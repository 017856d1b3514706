"""Which function a value is of: the same answer in every process that has the same source, however it was started."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import PurePath
from typing import Any

from .keys import encode_key

_MAIN = ("__main__", "__mp_main__")


def identify(function: Any, version: str | int | None) -> tuple[bytes, str]:
    """(16 bytes that tell this function from others, its name for people).

    The bytes are made of the module and qualified name, and of `version`; where there is none, of the code instead,
    with the defaults and the variables it closes over: numbers, text, paths, tuples and functions among them by value,
    all other objects by their type only.

    Raises TypeError for a version that is neither str nor int.
    """
    if version is not None and (isinstance(version, bool) or not isinstance(version, (str, int))):
        raise TypeError(f"version must be a str, an int or None, got {version!r}")
    name = _name(function)
    parts = [name.encode(), encode_key(version)] if version is not None else _describe(function, ())
    return _digest(parts), name


def module_name(names: dict[str, Any]) -> str:
    """The name of the module with these globals: for the main module the one it would be imported by."""
    name = names.get("__name__") or ""
    if name not in _MAIN:
        return str(name)
    spec = names.get("__spec__")
    if spec is not None:
        return str(spec.name)
    return PurePath(names["__file__"]).stem if "__file__" in names else "__main__"


def _name(function: Any) -> str:
    if isinstance(function, functools.partial):
        return _name(function.func)
    owner = function if hasattr(function, "__qualname__") else type(function)
    module = getattr(owner, "__module__", "") or ""
    names = getattr(function, "__globals__", {})
    if module in _MAIN and names.get("__name__") == module:
        module = module_name(names)
    return f"{module}.{owner.__qualname__}"


def _digest(parts: Iterable[bytes]) -> bytes:
    hasher = blake2b(digest_size=16)
    for part in parts:
        hasher.update(b"%d:" % len(part) + part)
    return hasher.digest()


def _describe(value: Any, above: tuple[Any, ...]) -> list[bytes]:
    """What tells `value` from others; `above` are the functions it was met in, which may refer to each other."""
    if any(value is one for one in above):
        return [b"circle"]
    if isinstance(value, types.FunctionType):
        cells = [_cell(cell) for cell in value.__closure__ or ()]
        defaults = (value.__defaults__ or (), tuple(sorted((value.__kwdefaults__ or {}).items())), tuple(cells))
        return [_name(value).encode(), *_code(value.__code__), *_describe(defaults, (*above, value))]
    if isinstance(value, functools.partial):
        return [b"partial", *_describe((value.func, value.args, tuple(sorted(value.keywords.items()))), above)]
    if isinstance(value, types.MethodType):
        return [b"method", *_describe((value.__func__, value.__self__), above)]
    if callable(value) and hasattr(value, "__wrapped__"):
        return [b"wrapped", *_describe(value.__wrapped__, (*above, value))]
    if isinstance(value, tuple):
        return [b"tuple", *(_digest(_describe(part, above)) for part in value)]
    if isinstance(value, types.ModuleType):
        return [value.__name__.encode()]
    if isinstance(value, type) or isinstance(value, types.BuiltinFunctionType):
        return [_name(value).encode()]
    try:
        return [encode_key(value)]
    except TypeError:
        return [b"object", _name(value).encode()]


def _cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet bound: the function refers to itself, or to what comes after it
        return ()


def _code(code: types.CodeType) -> list[bytes]:
    """What a function does: its instructions, the names and constants in them; not where it stands in which file."""
    names = (*code.co_names, "", *code.co_varnames, "", *code.co_freevars)
    return [code.co_code, encode_key(names), *(_digest(_constant(one)) for one in code.co_consts)]


def _constant(value: Any) -> list[bytes]:
    if isinstance(value, types.CodeType):
        return [b"code", *_code(value)]
    if isinstance(value, (tuple, frozenset)):
        parts = [_digest(_constant(part)) for part in value]
        return [type(value).__name__.encode(), *(sorted(parts) if isinstance(value, frozenset) else parts)]
    return [repr(value).encode("utf-8", "surrogatepass")]  # numbers, text, bytes, None, ...
