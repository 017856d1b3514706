"""The caller's place in the source: for warnings, and for names that all processes agree on."""

from __future__ import annotations

import os
import sys
import warnings
from hashlib import blake2b
from pathlib import PurePath
from typing import Any

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
MAIN_NAMES = ("__main__", "__mp_main__")
_times_named: dict[str, int] = {}  # call site -> how often it was named


def warn_caller(message: str) -> None:
    """A RuntimeWarning at the line that called into the library."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and os.path.abspath(frame.f_code.co_filename).startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, RuntimeWarning, stacklevel=level)


def module_name(names: dict[str, Any]) -> str:
    """The name of the module with these globals: for the main module the one it would be imported by."""
    name = names.get("__name__") or ""
    if name not in MAIN_NAMES:
        return str(name)
    spec = names.get("__spec__")
    if spec is not None:
        return str(spec.name)
    return PurePath(names["__file__"]).stem if "__file__" in names else "__main__"


def call_site(frame: Any) -> str:
    """A name for a store that is made at this place in the source, the same in all processes that run these lines."""
    place = f"{module_name(frame.f_globals)}:{frame.f_code.co_name}:{frame.f_lineno}"
    number = _times_named[place] = _times_named.get(place, -1) + 1
    return blake2b(f"{place}:{number}".encode(), digest_size=8).hexdigest()
