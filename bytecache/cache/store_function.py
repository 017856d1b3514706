"""A cached function whose store other processes see."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Hashable
from typing import Any

from ..keys.encoding import make_digests
from ..stores.base import MISSING, Store
from .methods import METHODS, CacheMethods
from .read_through import ReadThrough


class StoreFunction(CacheMethods):
    """What ``fill_once(store=...)`` and ``fill_once(shared=True)`` return; see CachedFunction for what it offers.

    Pickles by its name if that leads to it; else as the function and the store, which finds the same values. For dill
    and cloudpickle a name in a script or a notebook leads nowhere: they take the function and the store.
    """

    # In __dict__ is only what a function has, which another decorator may copy.
    __slots__ = ("__dict__", "__weakref__", "_arguments", "_carrier", "_digest_of", "_get", "_miss", "_store")

    __wrapped__: Callable[..., Any]
    __qualname__: str

    def __init__(
        self,
        function: Callable[..., Any],
        store: Store,
        maxsize: int | None,
        typed: bool,
        key: Callable[..., Hashable] | None,
        identity: tuple[bytes, str],
        once: bool = True,
    ) -> None:
        """Wrap `function`. identity: its fingerprint, and its name for people."""
        functools.update_wrapper(self, function)
        for name in METHODS:  # of a cached function inside, if there is one
            self.__dict__.pop(name, None)
        if not hasattr(function, "__qualname__"):  # a partial, or an object that can be called
            self.__module__, self.__qualname__ = type(function).__module__, type(function).__qualname__
        self._arguments = function, store, maxsize, typed, key, identity, once
        self._carrier = _make_carrier(self.__module__, self.__qualname__, self._arguments)
        self._store = store
        partition = store.partition(*identity, maxsize)
        # With functions, not methods of this object: without a cycle a store that is dropped is closed at once.
        self._digest_of, digest_of_one = make_digests(identity[0], typed, key)
        cache = ReadThrough(function, partition, once=once)
        self._get, self._miss = partition.get, cache.miss
        super().__init__(cache, digest_of_one, typed, views=True)

    def __call__(self, /, *args: Any, **kwds: Any) -> Any:
        digest = self._digest_of(args, kwds)
        value = self._get(digest)
        return self._miss(digest, args, kwds) if value is MISSING else value

    def cache_parameters(self) -> dict[str, Any]:
        path = self._store.path
        return {**super().cache_parameters(), **({} if path is None else {"path": str(path)})}

    def _key_of_call(self, args: tuple[Any, ...], kwds: dict[str, Any]) -> Hashable:
        return self._digest_of(args, kwds)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __reduce_ex__(self, protocol: Any) -> Any:
        if _named(self.__module__, self.__qualname__) is not self:
            return StoreFunction, self._arguments
        return self.__qualname__ if protocol < 4 else (_restore, (self._carrier,))

    def _is_copy(self, arguments: tuple[Any, ...]) -> bool:
        """Return whether a function with these arguments, which has this one's name, finds the same values."""
        _, store, maxsize, typed, _, identity, once = self._arguments
        _, other, *rest = arguments
        return rest[:2] + rest[3:] == [maxsize, typed, identity, once] and store.__reduce__() == other.__reduce__()

    def __repr__(self) -> str:
        return f"<{self.__module__}.{self.__qualname__} through {self._store!r}>"


def _make_carrier(module: str, qualname: str, arguments: tuple[Any, ...]) -> Callable[[], tuple[Any, ...]]:
    """Return a function that returns `arguments` and pickles as any function does.

    That is by its name, as the attribute ``_carrier`` of the function with this name, or by value, with `arguments`, if
    dill or cloudpickle finds that its name leads nowhere. An object of a class cannot know which of the two is wanted.
    """

    def carrier() -> tuple[Any, ...]:
        return arguments

    carrier.__module__, carrier.__qualname__ = module, f"{qualname}._carrier"
    return carrier


def _restore(carrier: Callable[[], tuple[Any, ...]]) -> StoreFunction:
    """Return the function that a pickled carrier belongs to: the one of its name, or else a new one."""
    found = _named(carrier.__module__, carrier.__qualname__.rpartition(".")[0])
    if isinstance(found, StoreFunction) and (found._carrier is carrier or found._is_copy(carrier())):
        return found
    return StoreFunction(*carrier())


def _named(module: str, qualname: str) -> Any:
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found
