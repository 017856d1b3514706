"""Keras imported without TensorFlow's greeting, which no setting turns off."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from .errors import UserError


def import_keras() -> ModuleType:
    """Import keras, hiding what that prints to stderr, and return it. Raises UserError if it is not installed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with _hidden_stderr():
            import keras
    except ImportError as error:
        raise UserError(f"training needs Keras and a backend: pip install 'bytecache[keras]' ({error})") from error
    return keras


@contextmanager
def _hidden_stderr() -> Iterator[None]:
    sys.stderr.flush()
    original, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)  # TensorFlow writes to the descriptor itself
    os.dup2(devnull, 2)
    try:
        yield
    finally:
        os.dup2(original, 2)
        os.close(original)
        os.close(devnull)
