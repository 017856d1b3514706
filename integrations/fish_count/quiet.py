"""Loading Keras without TensorFlow's greeting, which no setting turns off."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from .problem import Problem


def load_keras() -> ModuleType:
    """The keras module; what its import writes to stderr is not shown. Raises Problem where it is not installed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with _stderr_hidden():
            import keras
    except ImportError as error:
        raise Problem(f"training needs Keras and a backend: pip install 'bytecache[keras]' ({error})") from error
    return keras


@contextmanager
def _stderr_hidden() -> Iterator[None]:
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)  # TensorFlow writes to the descriptor itself
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
