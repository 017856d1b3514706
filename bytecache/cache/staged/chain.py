"""The stages of a pipeline as one function, without a cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class Chain:
    """Stages as one function, which takes what the first takes and returns what the last returns.

    batched: whether the first takes a list and returns as many values or exceptions, as this does then.
    """

    def __init__(self, stages: Sequence[Callable[[Any], Any]], batched: bool) -> None:
        self._stages, self._batched = tuple(stages), batched
        self.names = [_name_of(stage) for stage in stages]
        self.__module__ = getattr(stages[0], "__module__", None) or __name__
        self.__name__ = self.__qualname__ = f"staged({', '.join(self.names)})"

    def __call__(self, argument: Any) -> Any:
        first, *others = self._stages
        if not self._batched:
            return _through(others, first(argument))
        return [value if isinstance(value, Exception) else _caught(others, value) for value in first(argument)]


def _through(stages: Sequence[Callable[[Any], Any]], value: Any) -> Any:
    for stage in stages:
        value = stage(value)
    return value


def _caught(stages: Sequence[Callable[[Any], Any]], value: Any) -> Any:
    try:
        return _through(stages, value)
    except Exception as exc:
        return exc


def _name_of(stage: Any) -> str:
    """Return what to call a stage: a partial by its function, an object by its class."""
    stage = getattr(stage, "func", stage)
    return getattr(stage, "__name__", None) or type(stage).__name__
