"""Samples that fail: the error that names them, and those that are left out instead."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

logger = logging.getLogger("bytecache")


class SampleError(RuntimeError):
    """Raised if a sample cannot be read, decoded or transformed; ``path`` names it, ``__cause__`` is the reason.

    From a torch DataLoader's worker it comes without ``__cause__``, and ``path`` is a str: torch re-creates it from
    the text of the worker's traceback, which is then its message.
    """

    def __init__(self, path: Any, reason: str | None = None) -> None:
        if reason is None:  # re-created by torch, from the text alone
            super().__init__(path)
            self.path, self.reason = _parse_message(path)
        else:
            super().__init__(path, reason)
            self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if len(self.args) == 2 else str(self.args[0])


def _parse_message(text: str) -> tuple[str, str]:
    """Return path and reason of the last SampleError in a printed traceback."""
    *_, last = re.split(r"^(?:[\w.]+\.)?SampleError: ", str(text), flags=re.MULTILINE)
    path, _, reason = last.rstrip().partition(": ")
    return path, reason


def check_skipped(paths: Sequence[Any], failed: Mapping[int, Exception], skip: bool) -> list[tuple[Any, str]]:
    """Return (path, reason) of each failed sample of a batch; raise SampleError if none may fail, or all did.

    paths: those of the batch. failed: by index of the path. A missing package is not the sample's fault: it is always
    raised.
    """
    skipped = [(paths[index], f"{type(exc).__name__}: {exc}") for index, exc in sorted(failed.items())]
    missing_package = any(isinstance(exc, ImportError) for exc in failed.values())
    if skipped and (not skip or missing_package or len(skipped) == len(paths)):
        path, reason = skipped[0]
        if skip and not missing_package:
            reason = f"every sample of this batch failed, this one first: {reason}"
        raise SampleError(path, reason) from failed[min(failed)]
    return skipped


def log_skipped(skipped: Sequence[tuple[Any, str]], logged: set[Any]) -> None:
    """Log one warning for each path that is not in `logged` yet, and add it there."""
    for path, reason in skipped:
        if path not in logged:
            logged.add(path)
            logger.warning("skipped %s: %s", path, reason)
