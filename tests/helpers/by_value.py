"""A pickler that takes functions by value, as dill and cloudpickle do where a name leads nowhere."""

from __future__ import annotations

import importlib
import io
import marshal
import pickle
import sys
import types
from typing import Any


def dumps(value: Any) -> bytes:
    """Pickle `value`; a function that cannot be imported by its name, by its code and what it refers to."""
    file = io.BytesIO()
    _Pickler(file).dump(value)
    return file.getvalue()


loads = pickle.loads


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, types.CellType):
            return _empty_cell, (), value.cell_contents, None, None, _fill
        if not isinstance(value, types.FunctionType) or _is_found(value):
            return NotImplemented
        names = _names(value.__code__)
        state = {
            "globals": {name: value.__globals__[name] for name in sorted(names) if name in value.__globals__},
            "defaults": (value.__defaults__, value.__kwdefaults__),
            "names": (value.__module__, value.__name__, value.__qualname__),
            "attributes": value.__dict__,
        }
        # The cells come first, empty, and what they hold last: a function may refer to itself.
        made = marshal.dumps(value.__code__), value.__closure__
        return _make, made, state, None, None, _complete


def _is_found(function: types.FunctionType) -> bool:
    if function.__module__ == "__main__":
        return False
    found: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is function


def _names(code: types.CodeType) -> set[str]:
    inner = [_names(one) for one in code.co_consts if isinstance(one, types.CodeType)]
    return set(code.co_names).union(*inner)


def _empty_cell() -> types.CellType:
    return types.CellType()


def _make(code: bytes, closure: tuple[types.CellType, ...] | None) -> types.FunctionType:
    names = {"__builtins__": importlib.import_module("builtins")}
    return types.FunctionType(marshal.loads(code), names, closure=closure)


def _fill(cell: types.CellType, content: Any) -> None:
    cell.cell_contents = content


def _complete(function: Any, state: dict[str, Any]) -> None:
    function.__globals__.update(state["globals"])
    function.__defaults__, function.__kwdefaults__ = state["defaults"]
    function.__module__, function.__name__, function.__qualname__ = state["names"]
    function.__dict__.update(state["attributes"])
