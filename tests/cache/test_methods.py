"""Cached methods: each instance reads for itself, and what was stored for it goes with it."""

from __future__ import annotations

import copy
import dataclasses
import functools
import gc
import inspect
import pickle
import subprocess
import sys
import threading
import typing
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from helpers.counting import stats_of
from helpers.internals import cache_of
from helpers.interrupts import entries_into
from helpers.processes import in_child
from helpers.threads import start

import bytecache


class Reader:
    """A class that pickle finds."""

    def __init__(self, root: str) -> None:
        self.root = root

    @bytecache.fill_once
    def read(self, name: str) -> str:
        """Return root and name."""
        return f"{self.root}/{name}"

    @bytecache.lru_cache(maxsize=1000)
    def recent(self, name: str, suffix: str = "") -> str:
        return f"{self.root}/{name}{suffix}"

    @staticmethod
    @bytecache.fill_once
    def static(name: str) -> list[str]:
        return [name]

    @classmethod
    @bytecache.fill_once
    def of_class(cls, name: str) -> str:
        return f"{cls.__name__}/{name}"


class Child(Reader):
    @bytecache.fill_once
    def read(self, name: str) -> str:
        return "child:" + super().read(name)


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    """No test finds what another one has stored."""
    for cached in Reader.read, Reader.recent, Reader.static, Reader.of_class, Child.read:
        cached.cache_clear()
    yield


def reader_class(decorate: Callable[..., Any]) -> Any:
    """Return a class whose method ``read`` is decorated, and returns a list of the instance's name and the key."""

    class Local:
        def __init__(self, name: str) -> None:
            self.name = name

        @decorate
        def read(self, key: Any = None, *rest: Any, **names: Any) -> list[Any]:
            return [self.name, key, *rest, *names.values()]

    return Local


# Which instance a call reads for


def test_map_and_warm_read_for_their_instance(in_memory: Any) -> None:
    """Calls, map and warm of one instance find one another's values, and none of another instance's."""
    kind = reader_class(in_memory())
    a, b = kind("a"), kind("b")
    a.read.warm(["x", "y"])
    assert a.read.cache_info()[:2] == (0, 2)
    assert a.read("x") is a.read.map(["x"])[0] == ["a", "x"]
    assert b.read.map(["x", "x", 3]) == [["b", "x"], ["b", "x"], ["b", 3]]
    assert b.read(3) is b.read.map([3])[0]
    assert kind.read.cache_info() == a.read.cache_info() == b.read.cache_info()
    assert a.read.cache_stats() == kind.read.cache_stats() != kind.read.uncached.cache_stats()


@pytest.mark.parametrize(
    "options", [{}, {"keep_alive": True}, {"typed": True}, {"key": lambda *args, **kwds: str(args)}]
)
@pytest.mark.parametrize("args", [(), (1,), ("a",), ((1, "a"),), (1, 2), (None,)])
@pytest.mark.parametrize("names", [{}, {"b": 1}])
def test_a_method_takes_any_arguments(in_memory: Any, options: Any, args: Any, names: Any) -> None:
    """Without arguments, by position, by name: the second call hits, through the instance or the class."""
    kind = reader_class(in_memory(**options))
    one = kind("a")
    first = one.read(*args, **names)
    assert first == ["a", *(args or [None]), *names.values()]
    assert one.read(*args, **names) is kind.read(one, *args, **names) is first
    if len(args) == 1 and not names:
        assert one.read.map(args)[0] is first
        one.read.warm(args)
    assert one.read.cache_info().misses == 1


def test_equal_instances_are_two(plain_gc: None) -> None:
    """fill_once tells instances apart by identity: they need no hash, and equal ones share nothing."""

    @dataclasses.dataclass
    class Folder:
        root: str

        @bytecache.fill_once
        def read(self, key: str) -> list[str]:
            return [self.root, key]

    a, b = Folder("/data"), Folder("/data")
    assert a == b
    with pytest.raises(TypeError):
        hash(a)
    assert a.read("x") == b.read("x") and a.read("x") is not b.read("x")
    a.root = "/other"
    assert a.read("x") == ["/data", "x"]


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_of_an_instance_shares_nothing(copier: Any) -> None:
    """A copy is another instance, also one that was made after the first read."""
    one = Reader("a")
    one.read("x")
    other = copier(one)
    other.root = "b"
    assert (one.read("x"), other.read("x")) == ("a/x", "b/x")
    assert Reader.read.cache_info()[:2] == (1, 2)


def test_a_deep_copy_of_what_has_a_bound_method_reads_for_the_copy() -> None:
    """As that of a data set with ``load=reader.read``: the copy has a reader of its own, and needs no other."""
    one = Reader("a")
    loads = copy.deepcopy([one.read, one.read.uncached, one.recent])
    del one
    for load in loads:
        load.__self__.root = "b"
        assert load("x") == "b/x" and load.map(["x"]) == ["b/x"]
    assert loads[0].__self__ is loads[1].__self__ is loads[2].__self__


def test_lru_cache_treats_instances_that_compare_by_value_as_functools_does() -> None:
    """Equal instances share entries, and live as long as these, whether they can be referenced weakly or not."""

    class Pair(NamedTuple):
        x: int

    for base in Pair, int, object:
        counts = []
        for decorate in bytecache.lru_cache, functools.lru_cache:

            class Number(base):  # type: ignore[misc, valid-type]
                __hash__ = base.__hash__

                def __eq__(self, other: object) -> bool:
                    return super().__eq__(other) is True

                @decorate(maxsize=2)
                def plus(self, n: int) -> int:
                    return n

            numbers = [Number(*args) for args in ([(5,), (5,), (7,)] if base is not object else [(), (), ()])]
            for n in 1, 2, 2, 3, 1, 1:
                for number in numbers:
                    number.plus(n)
            counts.append(Number.plus.cache_info())
        assert tuple(counts[0]) == tuple(counts[1])


def test_inheritance_and_super() -> None:
    """A subclass that overrides has a cache of its own; super() reaches the parent's, for the same instance."""
    child, parent = Child("c"), Reader("c")
    assert child.read("x") == "child:c/x" and child.read.map(["x", "y"]) == ["child:c/x", "child:c/y"]
    assert Child.read.cache_info()[:2] == (1, 2) and Reader.read.cache_info()[:2] == (0, 2)
    assert super(Child, child).read("x") == "c/x"
    assert Reader.read(child, "y") == "c/y"
    assert Reader.read.cache_info()[:2] == (2, 2)
    assert parent.read("x") == "c/x"
    assert Reader.read.cache_info()[:2] == (2, 3)
    assert child.recent.map(["x"]) == ["c/x"]


def test_static_and_class_methods() -> None:
    """map and warm of a static method take its argument; those of a class method read for the class."""
    assert Reader.static.map(["x"]) == Reader("a").static.map(["x"]) == [Reader.static("x")] == [["x"]]
    assert Reader.static.cache_info()[:2] == (2, 1)
    assert vars(Reader)["of_class"].__func__.uncached(Reader, "x") == "Reader/x"

    class Alone:
        @classmethod
        @bytecache.fill_once
        def of_class(cls, name: str) -> str:
            return f"{cls.__name__}/{name}"

    assert Reader.of_class("x") == Reader("a").of_class("x") == "Reader/x"
    assert Child.of_class("x") == "Child/x"
    assert Reader.of_class.cache_info()[:2] == (1, 2)


def test_static_and_class_methods_in_the_other_order(in_memory: Any) -> None:
    """@staticmethod and @classmethod below the decorator do what they do above it."""

    class Local:
        @in_memory()
        @staticmethod
        def static(name: str) -> list[str]:
            return [name]

        @bytecache.fill_once  # type: ignore[arg-type]
        @classmethod
        def of_class(cls, name: str) -> list[str]:
            return [cls.__name__, name]

    assert Local.static("x") is Local().static("x") is Local.static.map(["x"])[0]
    assert Local.of_class("x") is Local().of_class("x") == ["Local", "x"]
    assert Local.static.cache_info()[:2] == (2, 1) and Local.of_class.cache_info()[:2] == (1, 1)


class Alone:
    @classmethod
    @bytecache.fill_once
    def of_class(cls, name: str) -> list[str]:
        return [cls.__name__, name]


def test_map_of_a_class_method() -> None:
    """It reads for the class, and finds what calls have stored, on every Python."""
    first = Alone.of_class("x")
    assert Alone.of_class.map(["x", "y"]) == [["Alone", "x"], ["Alone", "y"]]
    assert Alone.of_class.map(["x"])[0] is first
    assert Alone.of_class.cache_info()[:2] == (2, 2)


def test_a_property_and_a_decorator_above_bind_too(in_memory: Any, plain_gc: None) -> None:
    """What calls the cached function with the instance itself gets that instance's values, and keeps it no longer."""

    def logged(function: Any) -> Any:
        return functools.wraps(function)(lambda *args, **kwds: function(*args, **kwds))

    class Local:
        __hash__ = None  # type: ignore[assignment]

        @property
        @in_memory()
        def size(self) -> list[Any]:
            return [self.name]

        @logged
        @in_memory()
        def read(self, key: str) -> list[Any]:
            return [self.name, key]

        plus = in_memory()(counted_from(1))

        @in_memory()
        def __getitem__(self, key: str) -> list[Any]:
            return [self.name, key]

        def __init__(self, name: str) -> None:
            self.name = name

    one, other = Local("a"), Local("b")
    assert one.size is one.size == ["a"] and other.size == ["b"]
    assert one.read("x") is one.read("x") == ["a", "x"] and other.read("x") == ["b", "x"]
    assert one["x"] is one["x"] == ["a", "x"] and other["x"] == ["b", "x"]
    assert one.plus(1) is one.plus.map([1])[0] == ["a", 2] and other.plus(1) == ["b", 2]
    assert pickle.loads(pickle.dumps(Renamed().get_minus))(1) == ["renamed", 0]
    alive = weakref.ref(one)
    del one
    assert alive() is None
    assert Local.__getitem__.cache_info().currsize == 1


def test_an_unbound_map_is_refused() -> None:
    """Class.read.map cannot know an instance: a TypeError says what to write, and nothing is read."""
    for bulk in Reader.read.map, Reader.read.warm:
        with pytest.raises(TypeError, match=r"Reader.read needs an instance.*instance.read.map\(keys\)"):
            bulk(["x"])
    with pytest.raises(TypeError, match="self"):
        Reader.read()  # type: ignore[call-arg]
    assert Reader.read.cache_info()[:2] == (0, 0)


def test_a_method_under_another_name(in_memory: Any) -> None:
    """A function of the module that a class takes as a method binds, and pickles by the attribute's name."""
    one = Renamed()
    assert one.get(3) is one.get(3) is one.get.map([3])[0]
    assert pickle.loads(pickle.dumps(one.get))(3) == (3,)


def plain(self: Any, n: int) -> tuple[int]:
    return (n,)


def counted_from(start: int) -> Any:
    """Return a function that is local to this one."""
    return lambda self, n: [self.name, start + n]


class Renamed:
    name = "renamed"
    get = bytecache.fill_once(plain)
    get_minus = bytecache.fill_once(counted_from(-1))


def test_a_method_of_another_class_is_a_function(in_memory: Any, tmp_path: Path) -> None:
    """Path.read_bytes takes any path: equal ones share a value, for calls and map, and it pickles."""
    (tmp_path / "file").write_bytes(b"content")
    read = in_memory(maxsize=5)(Path.read_bytes)
    assert read(tmp_path / "file") is read(tmp_path / "file") is read.map([tmp_path / "file"])[0]
    assert read.cache_info()[:2] == (2, 1)
    assert pickle.loads(pickle.dumps(read))(tmp_path / "file") == b"content"


def test_a_bound_method_is_one() -> None:
    """It has the function's name, text and signature, equals itself, and can be referenced weakly."""
    one = Reader("a")
    assert one.read.__self__ is one and one.read.__func__ is Reader.read
    assert one.read == one.read != Reader("a").read and hash(one.read) == hash(one.read)
    assert one.read.__name__ == Reader.read.__name__ == "read"
    assert one.read.__doc__ == Reader.read.__doc__ == "Return root and name."
    assert list(inspect.signature(one.read).parameters) == ["name"]
    assert list(inspect.signature(Reader.read).parameters) == ["self", "name"]
    for of in Reader.read, one.read, one.read.uncached:
        assert typing.get_type_hints(of) == {"name": str, "return": str}
    assert weakref.WeakMethod(one.read)() == one.read  # type: ignore[arg-type]
    assert Reader.read.__wrapped__(one, "x") == one.read.__wrapped__(one, "x") == "a/x"  # type: ignore[call-arg]
    assert one.read.uncached == one.read.uncached != Reader("a").read.uncached
    assert Reader.read.cache_info()[:2] == (0, 0)


# What goes with an instance


def test_the_entries_of_an_instance_go_with_it(in_memory: Any, plain_gc: None) -> None:
    """They count as evicted, and make room for others."""
    kind = reader_class(in_memory(maxsize=3, maxbytes=10_000))
    a, b = kind("a"), kind("b")
    a.read.warm(["x", "y"])
    b.read("x")
    one = a.read.cache_stats()
    del a
    assert stats_of(kind.read, "currsize", "stored", "evicted") == (1, 3, 2)
    assert b.read.cache_stats().currbytes * 3 == one.currbytes
    assert b.read.map(["x", "y", "z"]) == [["b", key] for key in "xyz"]
    assert stats_of(kind.read, "currsize", "stored", "evicted", "rejected") == (3, 5, 2, 0)


def test_an_interrupt_leaves_nothing_of_a_dead_instance(in_memory: Any, plain_gc: None) -> None:
    """Wherever Ctrl-C strikes while entries go, the next look at the cache lets the others go."""
    modules = ("bytecache.stores.memory", "bytecache.stores.lru", "bytecache.cache.memory_function")
    interrupt_at = 0
    while True:
        kind = reader_class(in_memory())
        kind("a").read.map("xyz")
        interrupt_at += 1
        struck = entries_into(modules, kind.read.cache_info, interrupt_at) == interrupt_at
        assert kind.read.cache_info().currsize == 0, interrupt_at
        if not struck:
            break
    assert interrupt_at > 4


def test_values_die_at_the_next_miss_outside_the_lock(in_memory: Any, plain_gc: None) -> None:
    """An instance may die under the lock, by a signal handler: what was stored for it goes when another call misses."""
    owned = []

    class Value:
        def __del__(self) -> None:
            owned.append(lock._is_owned())

    class Local:
        @in_memory()
        def read(self, key: str) -> Any:
            return Value() if key == "x" else key

    one, other = Local(), Local()
    one.read("x")
    lock = cache_of(one.read).partition.lock
    with lock:
        del one
        assert owned == []
    other.read("y")
    assert owned == [False]


def test_instances_that_get_one_anothers_address(in_memory: Any) -> None:
    """A new instance never finds what was stored for a dead one."""
    kind = reader_class(in_memory())
    for n in range(300):
        assert kind(n).read("x") == [n, "x"]
        assert kind(-n).read.map(["x", "y"]) == [[-n, "x"], [-n, "y"]]
    assert stats_of(kind.read, "hits", "misses", "currsize", "evicted") == (0, 900, 0, 900)


def test_instances_on_many_threads(in_memory: Any) -> None:
    """Instances that come and go, and one that stays: every call counts, each key runs once, nothing is left."""
    kind = reader_class(in_memory())
    stays, wrong = kind("stays"), []

    def work() -> None:
        for n in range(200):
            one = kind(n)
            found = [one.read("x"), one.read("x"), *one.read.map(["y", "x"], threads=1), stays.read(n)]
            if found != [[n, "x"], [n, "x"], [n, "y"], [n, "x"], ["stays", n]]:
                wrong.append(found)

    for done in [start(work) for _ in range(4)]:
        done()
    gc.collect()
    assert wrong == []
    assert stats_of(kind.read, "misses", "hits", "currsize", "evicted") == (1800, 2200, 200, 1600)


def test_a_clear_and_a_fork_leave_methods_working(in_memory: Any) -> None:
    """An instance that has read before a clear or a fork reads on, and its entries still go with it."""
    kind = reader_class(in_memory())
    one = kind("a")
    one.read("x")
    kind.read.cache_clear()
    assert one.read("x") is one.read("x") and kind.read.cache_info() == (1, 1, kind.read.cache_info().maxsize, 1)

    def child() -> Any:
        nonlocal one
        found = [one.read("x"), one.read("y"), kind("b").read("x")]
        del one
        gc.collect()
        return found, kind.read.cache_info().currsize

    assert in_child(child) == ([["a", "x"], ["a", "y"], ["b", "x"]], 0)


def test_a_long_life_of_new_keys_leaves_no_trace() -> None:
    """What an LRU cache has evicted is not remembered for the instance for ever."""
    kind = reader_class(bytecache.lru_cache(maxsize=5))
    one = kind("a")
    for n in range(2000):
        one.read(n)
    assert len(one.read.func.owner.keys) < 200
    del one
    assert kind.read.cache_info().currsize == 0


def test_what_is_stored_for_an_instance(in_memory: Any) -> None:
    """cache_contains, cache_discard and cache_keys of an instance are about its own calls."""
    for options in {}, {"keep_alive": True}:
        kind = reader_class(in_memory(**options))
        a, b = kind("a"), kind("b")
        a.read("x"), a.read("y", 2), a.read((1, 2)), a.read(), b.read("x")
        assert a.read.cache_keys() == ["x", ("y", 2), ((1, 2),), ()]
        assert kind.read.cache_keys() == [(a, "x"), (a, "y", 2), (a, (1, 2)), a, (b, "x")]
        assert a.read.cache_contains("x") and a.read.cache_contains("y", 2) and not b.read.cache_contains("y", 2)
        assert kind.read.cache_contains(b, "x") and not kind.read.cache_contains(b, "y")
        assert a.read.cache_discard("x") and not a.read.cache_discard("x") and b.read.cache_contains("x")
        assert kind.read.cache_discard(b, "x") and b.read.cache_keys() == []
        assert stats_of(kind.read, "currsize", "evicted", "hits", "misses") == (3, 2, 0, 5)
        a.read.map(["x", "z"])
        assert a.read.cache_contains("z") and len(a.read.cache_keys()) == 5


def test_the_keys_of_equal_instances(in_memory: Any) -> None:
    """Those that are arguments share values, so each of them has the keys of all."""

    class Pair(NamedTuple):
        name: str

        @in_memory(keep_alive=True)
        def read(self, key: str) -> list[str]:
            return [self.name, key]

        @in_memory(maxsize=0, keep_alive=True)
        def never(self, key: str) -> list[str]:
            return [self.name, key]

    Pair("a").read("x"), Pair("a").read("y"), Pair("b").read("z")
    assert Pair("a").read.cache_contains("x") and Pair("a").read.cache_keys() == ["x", "y"]
    assert Pair("c").read.cache_keys() == Pair([]).never.cache_keys() == []  # type: ignore[arg-type]


def test_keep_alive(in_memory: Any, plain_gc: None) -> None:
    """With keep_alive=True an instance lives as long as its entries, and calls of a dead name are still answered."""
    kind = reader_class(in_memory(keep_alive=True))
    one = kind("a")
    alive = weakref.ref(one)
    one.read("x")
    del one
    gc.collect()
    assert alive() is not None and kind.read.cache_info().currsize == 1
    kind.read.cache_clear()
    assert alive() is None


def test_a_class_with_cached_methods_is_collected(in_memory: Any) -> None:
    """Neither the cache nor its instances keep a local class alive."""
    kind = reader_class(in_memory())
    one = kind("a")
    one.read("x"), kind.read.cache_info(), one.read.uncached("x")
    alive = weakref.ref(kind)
    del kind, one
    gc.collect()
    assert alive() is None


class Number(int):
    @bytecache.fill_once
    def plus(self, n: int) -> int:
        return self + n


def test_an_instance_that_cannot_be_held_weakly(in_memory: Any) -> None:
    """With __slots__ alone fill_once wants keep_alive=True, and says so when it is called; a look does no harm."""

    class Slots:
        __slots__ = ("name",)

        @bytecache.fill_once
        def read(self, key: str) -> list[str]:
            return [key]

        @in_memory(keep_alive=True)
        def kept(self, key: str) -> list[str]:
            return [key]

        @bytecache.lru_cache
        def recent(self, key: str) -> list[str]:
            return [key]

        @in_memory(key=lambda self, key: key)
        def keyed(self, key: str) -> list[str]:
            return [key]

    one = Slots()
    assert hasattr(one, "read") and dict(inspect.getmembers(one))["read"] is not None
    for call in (
        one.read,
        lambda key: one.read.map([key]),
        lambda key: one.read.warm([key]),
        lambda k: Slots.read(one, k),
    ):
        with pytest.raises(TypeError, match=r"cannot be referenced weakly.*__weakref__.*keep_alive=True"):
            call("x")
    with pytest.raises(TypeError, match=r"of Number cannot be referenced weakly, .* with it: give keep_alive=True"):
        Number(1).plus(2)  # which cannot have __weakref__ either
    assert one.read.uncached.map(["x"]) == [["x"]]
    for cached in one.kept, one.recent, one.keyed:
        assert cached("x") is cached("x") is cached.map(["x"])[0]


# Keys, and stores


def test_key_gets_the_instance_and_decides_alone(in_memory: Any, plain_gc: None) -> None:
    """With key= instances share what it makes one key of, and nothing goes with any of them."""
    kind = reader_class(in_memory(key=lambda self, key: (self.name, key)))
    a, also_a, b = kind("a"), kind("a"), kind("b")
    assert a.read("x") is also_a.read("x") is also_a.read.map(["x"])[0]
    assert b.read("x") == ["b", "x"]
    alive = weakref.ref(a)
    del a
    assert alive() is None
    assert kind.read.cache_info().currsize == 2


def test_a_method_over_a_store_wants_key(stores: Any) -> None:
    """The instance means nothing to another process: calls, map and warm raise a TypeError that asks for key=."""
    store = stores()

    class Local:
        root = "a"

        @bytecache.fill_once(store=store)
        def read(self, key: str) -> bytes:
            return key.encode()

        @bytecache.fill_once(store=store, key=lambda self, key: (self.root, key))
        def keyed(self, key: str) -> bytes:
            return self.root.encode() + key.encode()

    one = Local()
    for call in (
        one.read,
        lambda key: one.read.map([key]),
        lambda key: one.read.warm([key]),
        lambda k: Local.read(one, k),
    ):
        with pytest.raises(TypeError, match="the instance cannot be a part of the key: give key="):
            call("x")
    other = Local()
    other.root = "b"
    assert (one.keyed("x"), other.keyed.map(["x", "y"]), Local.keyed(one, "x")) == (b"ax", [b"bx", b"by"], b"ax")
    assert other.keyed.warm(["x"]).misses == 3 and Local.keyed.cache_info()[:2] == (2, 3)
    assert one.keyed.uncached("x") == b"ax" and Local.keyed.cache_info()[:2] == (2, 3)
    with pytest.raises(TypeError, match="needs an instance"):
        Local.keyed.map(["x"])


# Pickles


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_methods_pickle(protocol: int) -> None:
    """Bound methods take their instance along; what a class has is found by name."""
    one = Reader("a")
    one.read("x")
    partial = functools.partial(one.read, name="x")
    assert pickle.loads(pickle.dumps(partial, protocol))() == "a/x"
    for method in one.read, one.recent, one.read.uncached, one.recent.uncached:
        again = pickle.loads(pickle.dumps(method, protocol))
        assert again("x") == "a/x" and again.map(["y"]) == ["a/y"] and again.__self__ is not one
    for found in Reader.read, Reader.static, Reader.static.uncached:
        assert pickle.loads(pickle.dumps(found, protocol)) is copy.copy(found) is copy.deepcopy(found) is found


def test_what_a_class_has_is_its_own_also_if_a_subclass_asks_first() -> None:
    """It pickles by the class that defines it, not by a subclass which overrides it, or which pickle cannot find."""
    script = """
import pickle, bytecache
class Base:
    @bytecache.fill_once
    def read(self, key):
        return key
def local():
    class Local(Base):
        read = None
    return super(Local, Local).read
assert local() is Base.read is pickle.loads(pickle.dumps(Base.read))
try:
    Base.read.map("x")
except TypeError as exc:
    assert str(exc).startswith("Base.read needs an instance"), exc
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_an_instance_dies_while_another_thread_reads(in_memory: Any) -> None:
    """What is being read for one instance is handed out and stored while another one's entries go."""
    entered, go = threading.Event(), threading.Event()

    class Local:
        @in_memory()
        def read(self, key: str) -> str:
            if key == "slow":
                entered.set()
                go.wait(5)
            return key

    one, other = Local(), Local()
    one.read("x"), other.read("y")
    slow = start(lambda: one.read("slow"))
    entered.wait(5)
    del other
    assert Local.read.cache_info().currsize == 1
    go.set()
    assert slow() == "slow" and one.read("slow") == "slow"
    assert Local.read.cache_info().currsize == 2
