"""A cached function whose store other processes see."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable
from typing import Any

from ..keys.encoding import ENCODABLE, make_digests
from ..stores.base import MISSING, Store
from ..stores.tiered.store import is_same_store
from ..system.function_like import PickledAsFunction, make_carrier, shows_annotations_of_function
from .bound_methods import CachedDescriptor, InstanceCache, refusal
from .cached_object import CachedObject, make_uncached, needs_object
from .hit_path import make_wrapper
from .instances import Instances
from .methods import CacheMethods
from .read_through import ReadThrough


@shows_annotations_of_function
class StoreFunction(PickledAsFunction, CachedDescriptor, CacheMethods):
    """What ``fill_once(store=...)`` and ``fill_once(shared=True)`` return; see CachedFunction for what it offers.

    By value it pickles as the function and the store, which finds the same values.
    """

    # In __dict__ is only what a function has, which another decorator may copy.
    __slots__ = (
        "_arguments", "_carrier", "_digest_of", "_get", "_unbound", "attribute", "instances", "uncached",
    )  # fmt: skip

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
        batched: bool = False,
        largest: int = sys.maxsize,
    ) -> None:
        """Wrap `function`. identity: its fingerprint, and its name for people."""
        self._take_names(function)
        self._arguments = function, store, maxsize, typed, key, identity, once, batched, largest
        self._carrier = make_carrier(self.__module__, self.__qualname__, self._arguments)
        partition = store.partition(*identity, maxsize)
        partition.largest = largest
        # With functions, not methods of this object: without a cycle a store that is dropped is closed at once.
        self._digest_of, digest_of_one = make_digests(identity[0], typed, key)
        cache = ReadThrough(function, partition, once=once, batched=batched)
        self._get, self.instances = partition.get, Instances()
        kind = CachedObject if needs_object(function) else make_wrapper
        self.uncached = make_uncached(function, self.__module__, self.__qualname__, kind, batched)
        super().__init__(cache, digest_of_one, cache.miss, typed, store)

    def __call__(self, /, *args: Any, **kwds: Any) -> Any:
        digest = self._digest_of(args, kwds)
        value = self._get(digest)
        return self._miss(digest, args, kwds) if value is MISSING else value

    def _key_of_call(self, args: tuple[Any, ...], kwds: dict[str, Any]) -> Hashable:
        return self._digest_of(args, kwds)

    def function_for(self, instance: Any) -> Any:
        if self._arguments[4] is not None or isinstance(instance, ENCODABLE):
            return self
        return refusal(
            f"{self.__qualname__} is a method whose values processes share, and the instance cannot be a part of the "
            "key: give key=, a function of the call's arguments such as key=lambda self, path: (self.root, path)"
        )

    def cache_of(self, instance: Any) -> InstanceCache:
        function = self.function_for(instance)
        if function is not self:
            function()  # raises
        digest_of = self._digest_of
        return InstanceCache(
            self._cache,
            lambda args, kwds: digest_of((instance, *args), kwds),
            self._miss,
            instance,
            self.cache_keys,
            views=True,
        )

    def _is_copy(self, arguments: tuple[Any, ...]) -> bool:
        _, store, maxsize, typed, _, *rest_of_mine = self._arguments
        _, other, *rest = arguments
        return rest[:2] + rest[3:] == [maxsize, typed, *rest_of_mine] and is_same_store(store, other)

    def __repr__(self) -> str:
        return f"<{self.__module__}.{self.__qualname__} through {self._store!r}>"
