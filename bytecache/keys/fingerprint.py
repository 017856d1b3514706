"""Fingerprints of functions, the same in every process with the same source, whatever its start method."""

from __future__ import annotations

import copyreg
import dis
import functools
import inspect
import logging
import os
import sys
import types
from bisect import bisect_left
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import numpy as np

from ..system.caller import MAIN_NAMES, module_name
from .encoding import encode_key

_ARGUMENT_FLAGS = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
_NOTHING = ("EXTENDED_ARG", "NOP")  # instructions that do nothing by themselves
_JUMPS = frozenset(dis.hasjrel + dis.hasjabs)
_ABOUT_SOURCE = ("__doc__", "__firstlineno__")  # what the body of a class stores about its source
_MAX_DEPTH = 3  # of objects inside objects whose state counts


def fingerprint(function: Any, version: str | int | None, batched: bool = False) -> tuple[bytes, str]:
    """Return 16 bytes that identify a function, and its name for people.

    The bytes depend on the module and qualified name; on the code, or instead on `version` if that is given; and on the
    defaults, the closed-over variables and the bound arguments, as they are now. Numbers, text, paths, arrays,
    containers and functions count by value, other objects by their class and the state that pickle would save, locks,
    files and the like by their class alone. Global variables, and functions called by name, do not count.

    batched: whether it takes a list of keys; one that is used both ways is two.

    Raises TypeError for a version that is neither str nor int.
    """
    if version is not None and (isinstance(version, bool) or not isinstance(version, (str, int))):
        raise TypeError(f"version must be a str, an int or None, got {version!r}")
    fingerprinter = _Fingerprinter(with_code=version is None)
    parts = [encode_key(version), *fingerprinter.describe(function), *([b"batched"] if batched else [])]
    return _digest(parts), function_name(function)


def function_name(value: Any) -> str:
    """Return the module and qualified name of a function or class, or of an object's class."""
    if isinstance(value, functools.partial):
        return function_name(value.func)
    owner = value if hasattr(value, "__qualname__") else type(value)
    module = getattr(owner, "__module__", "") or ""
    if module in MAIN_NAMES:
        main = sys.modules.get(module)
        module = module_name(getattr(value, "__globals__", None) or (vars(main) if main is not None else {}))
    return f"{module}.{owner.__qualname__}"


def _digest(parts: Iterable[bytes]) -> bytes:
    hasher = blake2b(digest_size=16)
    for part in parts:
        hasher.update(b"%d:" % len(part) + part)
    return hasher.digest()


class _Fingerprinter:
    """A walk over a value and everything it consists of, which turns them into bytes.

    with_code: whether a function's code counts; a lambda's always does.
    """

    def __init__(self, with_code: bool) -> None:
        self._with_code = with_code
        self._seen: dict[int, tuple[int, Any]] = {}  # id -> (order of visit, value): a value may contain itself
        self._depth = 0  # of objects inside objects

    def describe(self, value: Any) -> list[bytes]:
        kind = type(value).__name__.encode()
        if value is None or isinstance(value, (str, bytes, int, float, os.PathLike)):
            return [kind, encode_key(value)]
        if id(value) in self._seen:
            return [b"seen %d" % self._seen[id(value)][0]]
        self._seen[id(value)] = len(self._seen), value
        if isinstance(value, (types.ModuleType, logging.Logger)):
            return [kind, (value.name if isinstance(value, logging.Logger) else value.__name__).encode()]
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            return [kind, str((value.dtype, value.shape)).encode(), value.tobytes()]
        if isinstance(value, (set, frozenset, dict)):
            items = value.items() if isinstance(value, dict) else value
            return [kind, *sorted(_digest(self.describe(part)) for part in items)]
        if isinstance(value, (tuple, list)):
            return [kind, *(_digest(self.describe(part)) for part in value)]
        own, parts = self._components(value)
        return [kind, *own, *(_digest(self.describe(part)) for part in parts)]

    def _components(self, value: Any) -> tuple[list[bytes], tuple[Any, ...]]:
        """Return a function, class or object's own bytes, and the values that it consists of."""
        name = [function_name(value).encode()]
        if isinstance(value, type):
            return name, ()
        if hasattr(value, "cache_info") and hasattr(value, "__wrapped__"):  # a cached function, without its cache
            return [], (value.__wrapped__, value.__self__) if hasattr(value, "__self__") else (value.__wrapped__,)
        if isinstance(value, types.FunctionType):
            code = _code(value.__code__) if self._with_code or value.__name__ == "<lambda>" else []
            cells = tuple(_cell(cell) for cell in value.__closure__ or ())
            return [*name, *code], (value.__defaults__, value.__kwdefaults__, cells)
        if isinstance(value, functools.partial):
            return [], (value.func, value.args, value.keywords)
        if isinstance(value, types.MethodType):
            return [], (value.__func__, value.__self__)
        if isinstance(value, types.BuiltinFunctionType):
            return name, (value.__self__,)
        return name, self._pickle_state(value)

    def _pickle_state(self, value: Any) -> tuple[Any, ...]:
        """Return the state that pickle would save; nothing if it cannot, or below _MAX_DEPTH."""
        if self._depth == _MAX_DEPTH:
            return ()
        self._depth += 1
        try:
            reduce = copyreg.dispatch_table.get(type(value))
            reduced: Any = reduce(value) if reduce is not None else value.__reduce_ex__(4)
            if isinstance(reduced, str):
                return (reduced,)
            parts = reduced[:3] + tuple(list(items) for items in reduced[3:5] if items is not None)
            return ([self.describe(part) for part in parts],)
        except Exception:  # locks, files, whatever cannot be pickled
            return ()
        finally:
            self._depth -= 1


def _cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet: the function refers to itself, or to a later definition
        return ()


def _code(code: types.CodeType) -> list[bytes]:
    """Return what a function does: its instructions, but not its file, its lines and its docstrings.

    python -OO leaves out docstrings: it leaves another instruction, or none, and other numbers of the constants.
    """
    numbers = code.co_flags & _ARGUMENT_FLAGS, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
    bytecode = dis.Bytecode(code)
    instructions = _without_source(bytecode)
    offsets = [one.offset for one in instructions]
    handlers = [  # since Python 3.11
        (*(bisect_left(offsets, offset) for offset in (entry.start, entry.end, entry.target)), entry.depth, entry.lasti)
        for entry in getattr(bytecode, "exception_entries", ())
    ]
    own = encode_key((*numbers, *code.co_varnames, "", *code.co_freevars, *handlers))
    return [own, *(_instruction(one, offsets) for one in instructions)]


def _without_source(bytecode: Iterable[dis.Instruction]) -> list[dis.Instruction]:
    """Return the instructions that do something, without what the body of a class stores about its source."""
    kept: list[dis.Instruction] = []
    for one in bytecode:
        if one.opname == "STORE_NAME" and one.argval in _ABOUT_SOURCE:
            del kept[-1:]  # the constant
        elif one.opname not in _NOTHING:
            kept.append(one)
    return kept


def _instruction(one: dis.Instruction, offsets: list[int]) -> bytes:
    name = one.opname.encode()
    if one.opcode in dis.hasconst:
        return _digest([name, *_constant(one.argval)])
    if one.opcode in _JUMPS:
        return b"%b %d" % (name, bisect_left(offsets, one.argval))
    return b"%b %b" % (name, (one.argrepr or str(one.arg)).encode("utf-8", "surrogatepass"))


def _constant(value: Any) -> list[bytes]:
    if isinstance(value, types.CodeType):
        return [b"code", *_code(value)]
    if isinstance(value, (tuple, frozenset)):
        parts = [_digest(_constant(part)) for part in value]
        return [type(value).__name__.encode(), *(sorted(parts) if isinstance(value, frozenset) else parts)]
    return [repr(value).encode("utf-8", "surrogatepass")]  # numbers, text, bytes, None, ...
