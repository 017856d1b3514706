"""The line that called the library: for warnings, and for names on which all processes agree."""

from __future__ import annotations

import os
import sys
import warnings
from hashlib import blake2b
from pathlib import PurePath
from typing import Any

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
MAIN_NAMES = ("__main__", "__mp_main__")
_last_number: dict[str, int] = {}  # of the stores made at each call site, from 0


def warn_caller(message: str) -> None:
    """Give a RuntimeWarning at the line that called the library."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and os.path.abspath(frame.f_code.co_filename).startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, RuntimeWarning, stacklevel=level)


def module_name(names: dict[str, Any]) -> str:
    """Return the name of the module with these globals; of the main module, the name it would be imported by."""
    name = names.get("__name__") or ""
    if name not in MAIN_NAMES:
        return str(name)
    spec = names.get("__spec__")
    if spec is not None:
        return str(spec.name)
    return PurePath(names["__file__"]).stem if "__file__" in names else "__main__"


def call_site_name(frame: Any) -> str:
    """Return a name for a store made at the line of `frame`, equal in all processes that run the same lines."""
    site = f"{module_name(frame.f_globals)}:{frame.f_code.co_name}:{frame.f_lineno}"
    number = _last_number[site] = _last_number.get(site, -1) + 1
    return blake2b(f"{site}:{number}".encode(), digest_size=8).hexdigest()
