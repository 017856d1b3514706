"""Cached functions in a class: what ``Class.method`` and ``instance.method`` are."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, NoReturn

from ..system.function_like import shows_annotations_of_function
from .bulk import BulkReader
from .instances import Instances
from .methods import METHODS
from .read_through import ReadThrough

OF_AN_INSTANCE = ("cache_contains", "cache_discard", "cache_keys", "map", "warm")


class InstanceCache(BulkReader):
    """The methods of a cached method that are about the calls of one instance, which this keeps alive.

    key_of_call: from (args, kwds), without the instance, to the key of the cache. keys: those of all instances. note:
    called with the keys that a batch is about to store, and again when it has.
    """

    __slots__ = ("_keys", "_key_of_call", "_note_keys")

    def __init__(
        self,
        cache: ReadThrough,
        key_of_call: Callable[[tuple[Any, ...], dict[str, Any]], Any],
        miss: Callable[..., Any],
        instance: Any,
        keys: Callable[[], list[Any]],
        note: Callable[[Iterable[Any]], None] | None = None,
        *,
        views: bool = False,
    ) -> None:
        super().__init__(cache, lambda argument: key_of_call((argument,), {}), miss, bound=(instance,), views=views)
        self._key_of_call, self._keys, self._note_keys = key_of_call, keys, note

    def _note(self, keys: Iterable[Any]) -> None:
        if self._note_keys is not None:
            self._note_keys(keys)

    def cache_contains(self, /, *args: Any, **kwds: Any) -> bool:
        """Return whether there is a value for a call with these arguments; neither a use nor counted."""
        return self._key_of_call(args, kwds) in self._cache.partition

    def cache_discard(self, /, *args: Any, **kwds: Any) -> bool:
        """Remove the value of a call with these arguments, and return whether there was one; see CachedFunction."""
        return self._cache.discard(self._key_of_call(args, kwds))

    def cache_keys(self) -> list[Any]:
        """Return the keys of this instance's values, without the instance, see CachedFunction."""
        return self._keys()


def refusal(message: str) -> Any:
    """Return a function that raises TypeError, for an instance that a cached method cannot serve."""

    def refuse(*args: Any, **kwds: Any) -> NoReturn:
        raise TypeError(message)

    return refuse


class BoundMethod(functools.partial[Any]):
    # ``instance.method``: the function that answers, and the instance. cached: what the class has.
    # Not types.MethodType, which could not tell what it calls whose ``map`` is asked for, nor be copied deeply.

    __doc__ = property(lambda self: self.cached.__doc__)
    __self__ = property(lambda self: self.args[0])
    __func__ = property(lambda self: self.cached.__get__(None, type(self.args[0])))

    @property
    def __signature__(self) -> inspect.Signature:
        signature = inspect.signature(self.cached.__wrapped__)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    @property
    def uncached(self) -> UncachedMethod:
        return UncachedMethod(self.cached.uncached.__get__(self.args[0]), self.cached.attribute)

    def __getattr__(self, name: str) -> Any:
        if name == "cached":  # made of __func__ and __self__, as weakref.WeakMethod does it
            return self.func.cached  # type: ignore[attr-defined]
        if name in ("__copy__", "__deepcopy__"):  # those of what the class has make no copy
            raise AttributeError(name)
        return getattr(self.cached.cache_of(self.args[0]) if name in OF_AN_INSTANCE else self.cached, name)

    def __get__(self, instance: Any, owner: type | None = None) -> BoundMethod:
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoundMethod):
            return NotImplemented
        return self.cached is other.cached and self.args[0] is other.args[0]

    def __hash__(self) -> int:
        return hash((id(self.args[0]), id(self.cached)))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return getattr, (self.args[0], self.cached.attribute)

    def __repr__(self) -> str:
        return f"<bound method {self.cached.__qualname__} of {self.args[0]!r}>"


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

    def __get__(self, instance: Any, owner: type | None = None) -> UncachedMethod:
        return self

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
        self.__wrapped__, self.cached, self._owner = cached.__wrapped__, cached, owner

    def __call__(self, /, *args: Any, **kwds: Any) -> Any:
        if not args:
            return self.__wrapped__(**kwds)  # says what is missing
        return self.cached.__get__(args[0])(*args[1:], **kwds)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self.cached.__get__(instance, owner)

    def map(self, *args: Any, **kwds: Any) -> NoReturn:
        """Raise TypeError: an instance has ``map`` and ``warm``."""
        name = f"{self._owner.__name__}.{self.cached.attribute}"
        raise TypeError(
            f"{name} needs an instance: ask one, as in instance.{self.cached.attribute}.map(keys), and not the class"
        )

    warm = map

    def cache_contains(self, /, instance: Any, *args: Any, **kwds: Any) -> bool:
        """Return whether there is a value for a call with these arguments."""
        return self.cached.cache_of(instance).cache_contains(*args, **kwds)

    def cache_discard(self, /, instance: Any, *args: Any, **kwds: Any) -> bool:
        """Remove the value of a call with these arguments."""
        return self.cached.cache_of(instance).cache_discard(*args, **kwds)

    def __getattr__(self, name: str) -> Any:
        if name == "cached":
            raise AttributeError(name)
        return getattr(self.cached, name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return getattr, (self._owner, self.cached.attribute)

    def __copy__(self) -> UnboundMethod:
        return self

    def __deepcopy__(self, memo: Any) -> UnboundMethod:
        return self

    def __repr__(self) -> str:
        return repr(self.cached)


@shows_annotations_of_function
class CachedDescriptor:
    """A cached function that binds to instances, as functions do. (An abstract part of two classes.)

    instances: what each has got. attribute: the name under which a class has it.
    """

    __wrapped__: Callable[..., Any]
    __qualname__: str
    instances: Instances
    attribute: str
    uncached: Any
    _unbound: UnboundMethod | None

    def _take_names(self, function: Callable[..., Any]) -> None:
        """Look like `function`, but without the methods of a cached function inside, if there is one."""
        functools.update_wrapper(self, function)  # type: ignore[arg-type]
        for name in (*METHODS, "uncached"):
            self.__dict__.pop(name, None)
        if not hasattr(function, "__qualname__"):  # a partial, or an object that can be called
            self.__module__, self.__qualname__ = type(function).__module__, type(function).__qualname__
        if not hasattr(self, "attribute"):  # unless it is in its class already
            self.attribute = getattr(function, "__name__", self.__qualname__)
        self._unbound = None

    def __set_name__(self, owner: type, name: str) -> None:
        self.attribute = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            if self._unbound is None:
                assert owner is not None
                has = (kind for kind in owner.__mro__ if vars(kind).get(self.attribute) is self)
                self._unbound = UnboundMethod(self, next(has, owner))  # not the subclass that asks first
            return self._unbound
        function = self.instances.functions.get(id(instance))
        if function is None or function.owner() is not instance:
            function = self.function_for(instance)
        bound = BoundMethod(function, instance)
        bound.cached = self  # type: ignore[attr-defined]  # so it has a __dict__, and a partial of it keeps it as it is
        return bound

    def forget_dead(self) -> None:
        """Forget the instances that are gone, and what was stored for them."""
        for _ in self.instances.take_dead():
            pass

    def function_for(self, instance: Any) -> Any:
        """Return what answers calls with `instance` as the first argument, in which case it is not in `instances`."""
        raise NotImplementedError

    def cache_of(self, instance: Any) -> InstanceCache:
        """Return the cache as `instance` has it."""
        raise NotImplementedError
