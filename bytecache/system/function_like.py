"""Objects that stand for functions: how they are pickled, and whose annotations they show."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T", bound=type)


def shows_annotations_of_function(kind: T) -> T:
    """Remove a class's own annotations, which would hide those that its objects have, or forward: their function's."""
    del kind.__annotations__
    return kind


@shows_annotations_of_function
class PickledAsFunction:
    """Pickles by its name if that leads to it; else as what it is made of.

    For dill and cloudpickle a name in a script or a notebook leads nowhere: they take what it is made of. Subclasses
    have ``_arguments``, those of the class, and ``_carrier``, see make_carrier.
    """

    __slots__ = ()

    __module__: str
    __qualname__: str
    _arguments: tuple[Any, ...]
    _carrier: Callable[[], tuple[Any, ...]]

    def __reduce_ex__(self, protocol: Any) -> Any:
        if find(self.__module__, self.__qualname__) is not self:
            return _blank, (type(self),), self._arguments
        return self.__qualname__ if protocol < 4 else (_restore, (type(self), self._carrier))

    def __setstate__(self, arguments: tuple[Any, ...]) -> None:
        self.__init__(*arguments)  # type: ignore[misc]

    def _is_copy(self, arguments: tuple[Any, ...]) -> bool:
        """Return whether this may stand for another one with its name and these arguments."""
        return False


def make_carrier(module: str, qualname: str, arguments: tuple[Any, ...]) -> Callable[[], tuple[Any, ...]]:
    """Return a function that returns `arguments` and pickles as any function does.

    That is by its name, as the attribute ``_carrier`` of the function with this name, or by value, with `arguments`, if
    dill or cloudpickle finds that its name leads nowhere. An object of a class cannot know which of the two is wanted.
    """

    def carrier(arguments: tuple[Any, ...] = arguments) -> tuple[Any, ...]:  # dill fills a closure too late
        return arguments

    carrier.__module__, carrier.__qualname__ = module, f"{qualname}._carrier"
    return carrier


def find(module: str | None, qualname: str) -> Any:
    """Return what a name leads to in the modules that are loaded; None if it leads nowhere."""
    found: Any = sys.modules.get(module or "")
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


def _blank(kind: Any) -> Any:
    """Return an object that its arguments make complete later: by way of its class they may refer to it."""
    return kind.__new__(kind)


def _restore(kind: Any, carrier: Callable[[], tuple[Any, ...]]) -> Any:
    """Return the function that a pickled carrier belongs to: the one of its name, or else a new one."""
    found = find(carrier.__module__, carrier.__qualname__.rpartition(".")[0])
    if isinstance(found, kind) and (found._carrier is carrier or found._is_copy(carrier())):
        return found
    return kind(*carrier())
