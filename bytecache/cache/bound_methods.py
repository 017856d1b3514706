"""Cached functions in a class: what ``Class.method`` and ``instance.method`` are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from operator import attrgetter
from types import MethodType
from typing import Any, NoReturn

from ..system.function_like import shows_annotations_of_function
from .bulk import BulkReader
from .instances import Instances, Owner
from .read_through import ReadThrough

OF_AN_INSTANCE = ("cache_contains", "cache_discard", "cache_keys", "map", "warm")


class InstanceCache(BulkReader):
    """The methods of a cached method that are about the calls of one instance, which this keeps alive.

    key_of_call: from (args, kwds), without the instance, to the key of the cache. keys: those of all instances.
    """

    __slots__ = ("_keys", "_key_of_call")

    def __init__(
        self,
        cache: ReadThrough,
        key_of_call: Callable[[tuple[Any, ...], dict[str, Any]], Any],
        miss: Callable[..., Any],
        instance: Any,
        keys: Callable[[], list[Any]],
        *,
        views: bool = False,
    ) -> None:
        super().__init__(cache, lambda argument: key_of_call((argument,), {}), miss, bound=(instance,), views=views)
        self._key_of_call, self._keys = key_of_call, keys

    def cache_contains(self, /, *args: Any, **kwds: Any) -> bool:
        """Return whether there is a value for a call with these arguments; neither a use nor counted."""
        return self._key_of_call(args, kwds) in self._cache.partition

    def cache_discard(self, /, *args: Any, **kwds: Any) -> bool:
        """Remove the value of a call with these arguments, and return whether there was one; see CachedFunction."""
        return self._cache.discard(self._key_of_call(args, kwds))

    def cache_keys(self) -> list[Any]:
        """Return the keys of this instance's values, without the instance, see CachedFunction."""
        return self._keys()


@shows_annotations_of_function
class InstanceFunction(functools.partial[Any]):
    """A cached method as one instance has it: what its bound methods call, with ``map`` and the like of its own.

    owner: gives the instance, which this does not keep alive if it can be referenced weakly.
    """

    owner: Callable[[], Any]
    __name__: str
    _cached: CachedDescriptor

    def __new__(cls, call: Callable[..., Any], cached: CachedDescriptor, owner: Callable[[], Any]) -> InstanceFunction:
        self = super().__new__(cls, call)
        self._cached, self.owner = cached, owner
        self.__module__, self.__doc__ = cached.__module__, cached.__doc__
        self.__name__ = cached.attribute  # by which pickle finds a bound method
        return self

    @property
    def uncached(self) -> UncachedMethod:
        return UncachedMethod(self._cached.uncached.__get__(self._instance()), self._cached.attribute)

    def _instance(self) -> Any:
        instance = self.owner()
        if instance is None:
            raise ReferenceError(f"the instance of this {self.__name__} is gone")
        return instance

    def __getattr__(self, name: str) -> Any:
        if name == "_cached":  # while it is made
            raise AttributeError(name)
        return getattr(self._cached.cache_of(self._instance()) if name in OF_AN_INSTANCE else self._cached, name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _function_of, (self._instance(), self.__name__)

    def __repr__(self) -> str:
        return repr(self._cached)


def _function_of(instance: Any, name: str) -> Any:
    return getattr(instance, name).__func__


@shows_annotations_of_function
class UncachedMethod(functools.partial[Any]):
    """``instance.method.uncached``: a bound method that pickles by its two names."""

    _path: str

    def __new__(cls, bound: Any, attribute: str) -> UncachedMethod:
        self = super().__new__(cls, bound)
        self.__doc__, self._path = bound.__doc__, f"{attribute}.uncached"
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.func, name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return attrgetter(self._path), (self.__self__,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UncachedMethod) and self.func == other.func

    def __hash__(self) -> int:
        return hash(self.func)


@shows_annotations_of_function
class UnboundMethod:
    """``Class.method``: takes the instance as its first argument, and has the methods of the cache."""

    __wrapped__: Callable[..., Any]
    __name__: str

    def __init__(self, cached: CachedDescriptor, owner: type) -> None:
        functools.update_wrapper(self, cached)  # type: ignore[arg-type]
        self.__wrapped__, self._cached, self._owner = cached.__wrapped__, cached, owner

    def __call__(self, /, *args: Any, **kwds: Any) -> Any:
        if not args:
            return self.__wrapped__(**kwds)  # says what is missing
        return self._cached.__get__(args[0])(*args[1:], **kwds)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self._cached.__get__(instance, owner)

    def map(self, *args: Any, **kwds: Any) -> NoReturn:
        """Raise TypeError: an instance has ``map`` and ``warm``."""
        name = f"{self._owner.__name__}.{self._cached.attribute}"
        raise TypeError(
            f"{name} needs an instance: ask one, as in instance.{self._cached.attribute}.map(keys), and not the class"
        )

    warm = map

    def cache_contains(self, /, instance: Any, *args: Any, **kwds: Any) -> bool:
        """Return whether there is a value for a call with these arguments."""
        return self._cached.cache_of(instance).cache_contains(*args, **kwds)

    def cache_discard(self, /, instance: Any, *args: Any, **kwds: Any) -> bool:
        """Remove the value of a call with these arguments."""
        return self._cached.cache_of(instance).cache_discard(*args, **kwds)

    def __getattr__(self, name: str) -> Any:
        if name == "_cached":
            raise AttributeError(name)
        return getattr(self._cached, name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return getattr, (self._owner, self._cached.attribute)

    def __copy__(self) -> UnboundMethod:
        return self

    def __deepcopy__(self, memo: Any) -> UnboundMethod:
        return self

    def __repr__(self) -> str:
        return repr(self._cached)


@shows_annotations_of_function
class CachedDescriptor:
    """A cached function that binds to instances, as functions do. (An abstract part of two classes.)

    instances: what each has got. attribute: the name under which a class has it.
    """

    __wrapped__: Callable[..., Any]
    instances: Instances
    attribute: str
    uncached: Any
    _unbound: UnboundMethod | None

    def __set_name__(self, owner: type, name: str) -> None:
        self.attribute = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            if self._unbound is None:
                assert owner is not None
                self._unbound = UnboundMethod(self, owner)
            return self._unbound
        function = self.instances.functions.get(id(instance))
        if function is None or function.owner() is not instance:
            function = self._function_of(instance)
        return MethodType(function, instance)

    def _function_of(self, instance: Any) -> InstanceFunction:
        """Return what `instance` calls, made anew."""
        self.forget_dead()
        try:
            owner = self.instances.owner(instance)
        except TypeError:
            return InstanceFunction(self.bound_call(instance, None), self, lambda: instance)
        function = InstanceFunction(self.bound_call(instance, owner), self, owner)
        return self.instances.add(owner, function)  # type: ignore[no-any-return]

    def forget_dead(self) -> None:
        """Forget the instances that are gone, and what was stored for them."""
        for _ in self.instances.take_dead():
            pass

    def bound_call(self, instance: Any, owner: Owner | None) -> Callable[..., Any]:
        """Return what answers a call with `instance` as its first argument; owner: None if it cannot be held weakly."""
        raise NotImplementedError

    def cache_of(self, instance: Any) -> InstanceCache:
        """Return the cache as `instance` has it."""
        raise NotImplementedError
