"""Keras imported without TensorFlow's greeting, which no setting turns off."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


def import_keras() -> ModuleType:
    """Import keras, hiding what that prints to stderr, and return it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _hidden_stderr():
        import keras
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
