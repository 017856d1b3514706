"""A function that is cached in this process's memory, as an object: for methods, and for what has no name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

from ..system.caller import is_caller_a_class_body
from ..system.function_like import PickledAsFunction, find, make_carrier, shows_annotations_of_function
from .bound_methods import OF_AN_INSTANCE, CachedDescriptor, InstanceCache, refusal
from .hit_path import make_call, make_method_call, make_wrapper
from .memory_function import MemoryFunction
from .methods import METHODS


@shows_annotations_of_function
class CachedObject(PickledAsFunction, CachedDescriptor, functools.partial[Any]):
    """What the decorators return where a plain function would not do; see needs_object.

    A partial, since nothing else but a function is called as fast. By value it pickles as its options, and the copy
    starts empty. In __dict__ is only what a function has, which another decorator may copy.
    """

    __slots__ = (
        "_arguments", "_binds", "_cache", "_call", "_carrier", "_unbound", "attribute", "instances", "uncached",
    )  # fmt: skip

    _cache: MemoryFunction
    _call: Callable[..., Any]
    _binds: bool

    def __new__(cls, *arguments: Any) -> CachedObject:
        return super().__new__(cls, make_call)  # until __init__ has what is to be called

    def __init__(self, cache: MemoryFunction, qualname: str | None = None) -> None:
        """Wrap the function of `cache`. qualname: if it is not the function's."""
        function, call = cache.function, make_call(cache)

        def call_bound(*args: Any, **kwds: Any) -> Any:
            return self.__get__(args[0])(*args[1:], **kwds) if args else call(**kwds)

        self._call, self._binds = call, _is_method(function) and cache.partition.maxsize != 0
        functools.partial.__setstate__(self, (call_bound if self._binds else call, (), {}, {}))  # type: ignore[attr-defined]
        self._take_names(function)
        self._arguments, self._cache = (cache, qualname), cache
        if qualname is None:
            batched = cache.batched
            self.uncached = make_uncached(function, self.__module__, self.__qualname__, CachedObject, batched)
        else:
            self.__qualname__ = qualname
        self._carrier = make_carrier(self.__module__, self.__qualname__, self._arguments)
        self.instances = cache.instances

    def function_for(self, instance: Any) -> Any:
        if not self._cache.is_held_weakly(instance):
            return self._call
        self.forget_dead()
        try:
            owner = self.instances.owner(instance)
        except TypeError:
            return self._call if self._cache.evicts else self._refusal(type(instance))
        function = make_method_call(self._cache, owner)
        function.owner = owner
        return self.instances.add(owner, function)

    def _refusal(self, kind: type) -> Any:
        remedy = "give keep_alive=True, and it lives as long as what is stored for it"
        if not kind.__itemsize__:  # a subclass of tuple or int, say, cannot have it
            remedy = f'add "__weakref__" to its __slots__, or {remedy}'
        return refusal(
            f"{self.__qualname__} is a cached method, and an instance of {kind.__qualname__} cannot be referenced "
            f"weakly, so what is stored for it cannot go with it: {remedy}"
        )

    def cache_of(self, instance: Any) -> InstanceCache:
        function = self.__get__(instance).func
        owner = getattr(function, "owner", None)
        if owner is None and function is not self._call:
            function()  # raises
        return self._cache.cache_of(instance, owner)

    def forget_dead(self) -> None:
        self._cache.forget_dead()

    def __getattr__(self, name: str) -> Any:
        if name in METHODS:
            owner = self._class_of_class_method() if name in OF_AN_INSTANCE else None
            if owner is not None:
                return getattr(self.cache_of(owner) if self._binds else self._cache.cache_of(owner, None), name)
            return getattr(self._cache, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _class_of_class_method(self) -> type | None:
        """Return the class of which this is a class method; raise TypeError if it may be one of several.

        From Python 3.13 on a class method does not ask what it calls to bind.
        """
        owner = find(self.__module__, self.__qualname__.rpartition(".")[0])
        found = vars(owner).get(self.attribute) if isinstance(owner, type) else None
        if not isinstance(found, classmethod) or found.__func__ is not self:
            return None
        if owner.__subclasses__():
            raise TypeError(
                f"{self.__qualname__} is a class method that subclasses inherit, and Python does not say which one "
                "is meant: call it once per key"
            )
        return owner  # type: ignore[no-any-return]

    def __copy__(self) -> CachedObject:
        return self

    def __deepcopy__(self, memo: Any) -> CachedObject:
        return self

    def __repr__(self) -> str:
        return f"<cached {self.__module__}.{self.__qualname__}>"


def _is_method(function: Any) -> bool:
    """Return whether a function's first argument is an instance or a class, by its name.

    Then a call binds to it, as one through the instance does: a property, or a decorator above, calls it like that.
    What another class has under its name already, such as Path.read_bytes, is used as a function.
    """
    if isinstance(function, MethodType) or _has_its_name(function):
        return False
    code = getattr(inspect.unwrap(function), "__code__", None)
    return getattr(code, "co_varnames", ())[:1] in (("self",), ("cls",))


def needs_object(function: Any) -> bool:
    """Return whether a plain function could not stand for `function` once that is cached.

    It could not bind ``map`` to an instance, so what is defined in a class needs an object. And pickle takes a
    function by its name: which one without a name does not have, and which one whose name has gone to the function
    itself will not get.
    """
    qualname = getattr(function, "__qualname__", None)
    if qualname is None or is_caller_a_class_body():
        return True
    parent = qualname.rpartition(".")[0]
    return bool(parent and not parent.endswith("<locals>")) or _has_its_name(function)


def _has_its_name(function: Any) -> bool:
    """Return whether a function's name leads to itself."""
    module, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    return find(module, qualname) is function


def make_cached(cache: MemoryFunction) -> Any:
    """Return what answers calls from `cache`, with its methods: a function if one will do."""
    if needs_object(cache.function):
        return CachedObject(cache)
    wrapper = make_wrapper(cache)
    wrapper.uncached = make_uncached(
        cache.function, wrapper.__module__, wrapper.__qualname__, make_wrapper, cache.batched
    )
    return wrapper


def make_uncached(
    function: Callable[..., Any], module: str, qualname: str, make: Callable[..., Any], batched: bool
) -> Any:
    """Return `function` behind a cache that stores nothing, as the attribute ``uncached`` of what has this name."""
    cache, qualname = (
        MemoryFunction(function, False, 0, None, None, False, None, batched=batched),
        f"{qualname}.uncached",
    )
    if make is CachedObject:
        return CachedObject(cache, qualname)
    uncached: FunctionType = make(cache)
    uncached.__module__, uncached.__qualname__ = module, qualname
    return uncached
