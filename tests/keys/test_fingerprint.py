"""Fingerprints of functions: equal in all processes with the same source, different for different sources."""

from __future__ import annotations

import collections
import copy
import dataclasses
import datetime
import decimal
import functools
import re
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bytecache
from bytecache import SharedStore
from bytecache.keys.fingerprint import fingerprint


def made(source: str, name: str = "f", module: str = "m") -> Any:
    """Return the object that `source` calls `name`, in a module of its own."""
    names: dict[str, Any] = {"__name__": module}
    exec(compile(textwrap.dedent(source), "m.py", "exec"), names)
    return names[name]


def same(one: str, other: str, version: Any = None) -> bool:
    return fingerprint(made(one), version) == fingerprint(made(other), version)


PLAIN = "def f(x, y=1):\n    return g(x) + [n for n in (1, 2) if n in {1, 2}] + y"


@pytest.mark.parametrize(
    "other",
    ["\n\n# moved\n" + PLAIN, PLAIN.replace("(x, y=1)", "(x: int, y: int = 1) -> bytes")],
    ids=["line", "types"],
)
def test_what_does_not_change_the_values_does_not_count(other: str) -> None:
    """A function's position in its file, and its annotations, are not part of the fingerprint."""
    assert same(PLAIN, other)


DOCUMENTED = '''
def f(x, y=1):
    """Doc."""
    try:
        with x as z:
            for one in z:
                if one:
                    y += len([n for n in one if n != 3])
    except KeyError:
        ANSWER
    def inner(a):
        """Inner."""
        return a + y
    class Part:
        """A class."""
        size = 3
        def method(self):
            """A method."""
            return self.size
    return inner, Part, lambda: y
'''


@pytest.mark.parametrize("docstring", ["Doc.", "Inner.", "A class.", "A method."])
def test_docstrings_do_not_count(docstring: str) -> None:
    """A docstring that is edited or taken away makes no other function: also that of a function or class inside."""
    quoted = f'"""{docstring}"""'
    assert same(DOCUMENTED, DOCUMENTED.replace(quoted, '"""Edited,\n    in two lines."""'))
    assert same(DOCUMENTED, DOCUMENTED.replace(quoted, ""))
    assert not same(DOCUMENTED, DOCUMENTED.replace("size = 3", "size = 4"))


def test_a_text_that_the_function_uses_counts() -> None:
    """A text that is also the docstring, and one that is set as a docstring, are code."""
    assert not same("def f(x):\n 'doc'\n return 'doc'", "def f(x):\n 'doc'\n return 'other'")
    assert not same("def f(x): f.__doc__ = 'a'", "def f(x): f.__doc__ = 'b'")


@pytest.mark.parametrize("constants", [1, 300])
def test_a_process_without_docstrings_finds_the_same_functions(constants: int) -> None:
    """python -OO, which leaves out docstrings and so moves instructions, gives the same fingerprint."""
    lines = [f"y = y * 2 + {n}.5" for n in range(constants)]
    source = DOCUMENTED.replace("ANSWER", "\n        ".join(lines))
    names: dict[str, Any] = {"__name__": "m"}
    exec(compile(source, "m.py", "exec", optimize=2), names)
    assert names["f"].__doc__ is None
    assert fingerprint(names["f"], None) == fingerprint(made(source), None)


DIFFERENT = {
    "constant": ("def f(x): return 1", "def f(x): return 2"),
    "type of a constant": ("def f(x): return 1", "def f(x): return True"),
    "inner constant": ("def f(x): return [n + 1 for n in x]", "def f(x): return [n + 2 for n in x]"),
    "name": ("def f(x): return g(x)", "def f(x): return h(x)"),
    "default": ("def f(x, y=1): return x + y", "def f(x, y=2): return x + y"),
    "type of a default": ("def f(x, y=1): return x * y", "def f(x, y=1.0): return x * y"),
    "keyword default": ("def f(x, *, y=1): return x + y", "def f(x, *, y=2): return x + y"),
    "list default": ("def f(x, y=[1]): return y", "def f(x, y=[2]): return y"),
    "dict default": ("def f(x, y={'size': 1}): return y", "def f(x, y={'size': 2}): return y"),
    "star": ("def f(x, y): return y", "def f(x, *y): return y"),
    "keyword only": ("def f(x, y): return y", "def f(x, *, y): return y"),
    "stars": ("def f(*x): return x", "def f(**x): return x"),
    "try": (
        "def f(x):\n try:\n  y = g(x)\n  return h(y)\n except KeyError:\n  return b''",
        "def f(x):\n try:\n  y = g(x)\n except KeyError:\n  return b''\n return h(y)",
    ),
    "closure": (
        "def make(n):\n def f(x): return n\n return f\nf = make(1)",
        "def make(n):\n def f(x): return n\n return f\nf = make(2)",
    ),
    "type of a closed-over number": (
        "def make(n):\n def f(x): return x * n\n return f\nf = make(1)",
        "def make(n):\n def f(x): return x * n\n return f\nf = make(1.0)",
    ),
    "closed-over function": (
        "def make(n):\n def f(x): return n(x)\n return f\nf = make(lambda x: 1)",
        "def make(n):\n def f(x): return n(x)\n return f\nf = make(lambda x: 2)",
    ),
    "nested": ("def f(x): return f.__name__", "def make():\n def f(x): return f.__name__\n return f\nf = make()"),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_what_changes_the_values_counts(case: str) -> None:
    """Two sources that give different values have different fingerprints without version=."""
    assert not same(*DIFFERENT[case])


def test_a_version_stands_for_the_code() -> None:
    """With version= the code does not count; 1 and "1" are two versions, other types raise."""
    one, other = "def f(x): return 1", "def f(x): return 2"
    assert same(one, other, version=1)
    assert fingerprint(made(one), 1) != fingerprint(made(one), 2)
    assert fingerprint(made(one), 1) != fingerprint(made(one), "1")
    assert fingerprint(made(one), 1) != fingerprint(made(one, module="other"), 1)
    for wrong in True, 1.5, b"1", (1,):
        with pytest.raises(TypeError, match="version must be a str, an int or None, got"):
            fingerprint(made(one), wrong)


def test_partials_differ_by_their_arguments() -> None:
    """The bound arguments of a partial count, by position and by name, in any order of the names."""
    f = made("def f(*a, **k): ...")
    assert fingerprint(functools.partial(f, 1), None) != fingerprint(functools.partial(f, 2), None)
    assert fingerprint(functools.partial(f, a=1, b=2), None) == fingerprint(functools.partial(f, b=2, a=1), None)
    assert fingerprint(functools.partial(f, a=1), None) != fingerprint(functools.partial(f, b=1), None)


def test_functions_that_refer_to_each_other_have_fingerprints() -> None:
    """Cycles of closures, and a function that is cached twice, are no obstacle."""

    def ping(x: int) -> Any:
        return pong(x)

    def pong(x: int) -> Any:
        return ping(x)

    assert fingerprint(ping, None) == fingerprint(ping, None) != fingerprint(pong, None)
    assert fingerprint(bytecache.fill_once(ping), None)[1] == fingerprint(ping, None)[1]


class Archive:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, name: str) -> bytes:
        return self.content


def reader_of_a_method(content: bytes) -> Any:
    return Archive(content).read


def reader_that_closes_over(content: bytes) -> Any:
    archive = Archive(content)
    return lambda name: archive.content


def reader_of_a_partial(content: bytes) -> Any:
    return functools.partial(Archive.read, Archive(content))


class CachedArchive(Archive):
    @bytecache.fill_once
    def read(self, name: str) -> bytes:
        return self.content


def reader_of_a_cached_method(content: bytes) -> Any:
    return CachedArchive(content).read


def reader_of_an_uncached_method(content: bytes) -> Any:
    return CachedArchive(content).read.uncached


class CallableArchive(Archive):
    def __call__(self, name: str) -> bytes:
        return self.content


@pytest.mark.parametrize(
    "reader",
    [
        reader_of_a_method,
        reader_of_a_cached_method,
        reader_of_an_uncached_method,
        reader_that_closes_over,
        reader_of_a_partial,
        CallableArchive,
    ],  # fmt: skip
    ids=lambda f: f.__name__,
)
def test_methods_of_two_objects_do_not_share_values(tmp_path: Path, reader: Any) -> None:
    """Readers of two archives each return their own bytes, or raise a TypeError that names version=."""
    store = SharedStore(tmp_path / "store", maxbytes=1000)
    try:
        one, other = (bytecache.fill_once(store=store)(reader(content)) for content in (b"one", b"other"))
        answers = [one("name"), other("name")]
    except TypeError as exc:
        assert "version=" in str(exc)
        return
    finally:
        store.close()
    assert answers == [b"one", b"other"]


@dataclasses.dataclass
class Options:
    __slots__ = ("size",)
    size: int


LEAVES = [
    (np.int64(3), np.int64(4)),
    (np.float32(0.5), np.float32(1.5)),
    (np.arange(3), np.arange(4)),
    (range(3), range(4)),
    (complex(1, 2), complex(1, 3)),
    (re.compile("a"), re.compile("b")),
    (datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)),
    (decimal.Decimal("1.5"), decimal.Decimal("2.5")),
    (bytearray(b"a"), bytearray(b"b")),
    (collections.deque([1]), collections.deque([2])),
    (Options(1), Options(2)),
    ({"a": 1}.get, {"a": 2}.get),
    ([[1], [2]], [[1], [3]]),
]


@pytest.mark.parametrize("one, other", LEAVES, ids=lambda value: type(value).__name__)
def test_closed_over_values_count_by_value(one: Any, other: Any) -> None:
    """A closed-over value counts by what pickle would save; an equal copy makes no difference."""

    def over(value: Any) -> Any:
        return lambda x: value

    again = one if callable(one) else copy.deepcopy(one)
    assert fingerprint(over(one), None) == fingerprint(over(again), None) != fingerprint(over(other), None)


def test_a_version_stands_for_the_code_alone() -> None:
    """Closed-over variables and bound arguments count in addition to a version."""
    one, other = (made("def make(n):\n def f(x): return n\n return f", "make")(n) for n in ("train", "val"))
    assert fingerprint(one, 1) != fingerprint(other, 1)
    assert fingerprint(functools.partial(one, 1), 1) != fingerprint(functools.partial(one, 2), 1)


def test_what_cannot_be_pickled_counts_by_its_class() -> None:
    """A function may close over a lock or a file."""
    lock, other = threading.Lock(), threading.Lock()

    def over(value: Any) -> Any:
        return lambda x: value

    assert fingerprint(over(lock), None) == fingerprint(over(other), None)


SCRIPT = """
    import multiprocessing, functools, sys
    from bytecache.keys.fingerprint import fingerprint

    class Resize:
        def __init__(self, size): self.size = size
        def __call__(self, x): return x

    def plain(x): return x
    def with_object(x, resize=Resize(3)): return resize(x)
    def with_class(x, kind=Resize): return kind(x)
    def make(resize):
        def closing_over(x): return resize(x)
        return closing_over
    def helped(x, by=plain): return by(x)

    FUNCTIONS = {
        "plain": plain, "object as default": with_object, "class as default": with_class,
        "closed-over object": make(Resize(3)), "function as default": helped, "callable object": Resize(3),
        "partial": functools.partial(plain, 1), "lambda": lambda x: x,
    }

    def all_of_them(version=None):
        return {name: fingerprint(one, version) for name, one in FUNCTIONS.items()}

    def child(queue):
        queue.put((__name__, all_of_them(), all_of_them(1)))

    if __name__ == "__main__":
        context = multiprocessing.get_context("spawn")
        queue = context.SimpleQueue()
        process = context.Process(target=child, args=(queue,))
        process.start()
        name, there, versioned = queue.get()
        process.join()
        assert name == "__mp_main__"
        here = all_of_them()
        print(*[one for one in here if here[one] != there[one]], sep=",")
        print(*[one for one, found in all_of_them(1).items() if found != versioned[one]], sep=",")
"""


def test_the_main_module_is_the_same_in_a_spawned_child(tmp_path: Path) -> None:
    """__main__ and __mp_main__ give equal fingerprints, for functions, classes, their objects, and callables."""
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split("\n")) == (0, ["", "", ""]), done.stderr
