"""Paths: each comes back as it was given, whatever holds them."""

from __future__ import annotations

import pickle
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from bytecache.loading.paths import PackedStrings, as_paths

ODD = ["a.jpg", "", "bücher/日本.jpg", "caf\udce9.jpg", "x" * 1000]


class Text(str):
    """A str that is more than one."""


@pytest.mark.parametrize(
    "paths",
    [
        ODD,
        [Path("a/b.jpg"), Path("c")],
        [PurePosixPath("/a"), PurePosixPath("/b//c")],
        ["a", Path("b")],
        [Text("a"), Text("b")],
        [1, 2, 3],
        [("a", 1), ("b", 2)],
        ("a", "b"),
        [b"a", b"b"],
    ],
    ids=str,
)
def test_elements_come_back_as_they_were(paths):
    """Of the same type, by positive and negative index, in a loop, after pickling."""
    for held in (as_paths(paths), pickle.loads(pickle.dumps(as_paths(paths)))):
        assert list(held) == list(paths) and len(held) == len(paths)
        assert [type(held[i]) for i in range(len(paths))] == [type(path) for path in paths]
        assert held[-1] == paths[-1]
        with pytest.raises(IndexError):
            held[len(paths)]


@pytest.mark.parametrize("kind", [str, Path])
def test_lists_of_paths_are_held_in_arrays(kind):
    """Of which a forked worker copies no page; the caller's list may change."""
    paths = [kind(f"folder/{i}.jpg") for i in range(1000)]
    held = as_paths(paths)
    paths.clear()
    assert isinstance(held, PackedStrings) and held[999] == kind("folder/999.jpg")
    assert sum(len(str(path)) for path in held) == len(held._bytes)


@pytest.mark.parametrize("dtype", ["U5", object, int, "S3"])
def test_elements_of_a_numpy_array_are_pythons(dtype):
    """A str, not a numpy.str_, so that the key in a cache is that of a list of the same paths."""
    array = np.array(["1", "22", "333"]).astype(dtype)
    held = as_paths(array)
    assert [type(path) for path in held] == [type(path) for path in array.tolist()] and list(held) == array.tolist()


def test_an_array_is_not_copied():
    """What numpy, or a class of the user's own, holds stays where it is."""
    array = np.array(["a", "b"])
    assert as_paths(array)._array is array

    class Rows:
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return f"{index}.jpg"

    rows = Rows()
    assert as_paths(rows) is rows


@pytest.mark.parametrize("chunked", [False, True])
def test_elements_of_an_arrow_array_are_pythons(chunked):
    """Of one with chunks, too; it is kept."""
    arrow = pytest.importorskip("pyarrow", reason="Arrow's arrays need pyarrow")
    array = arrow.chunked_array([["a", "b"], ["c"]]) if chunked else arrow.array(["a", "b", "c"])
    held = as_paths(array)
    assert [held[i] for i in range(3)] == ["a", "b", "c"] and type(held[0]) is str and held._array is array


class Series:
    """Counts by label, as a pandas Series does, and has an array of its values."""

    iloc = None

    def __init__(self, values):
        self._values = values

    def __len__(self):
        return len(self._values)

    def __getitem__(self, label):
        raise KeyError(label)

    def __array__(self, dtype=None, copy=None):
        return np.array(self._values, dtype=object)


def test_a_series_counts_by_position():
    """One that was shuffled or split has other labels than positions."""
    assert list(as_paths(Series(["b", "a"]))) == ["b", "a"]
    pandas = pytest.importorskip("pandas", reason="a Series needs pandas")
    assert list(as_paths(pandas.Series(["b", "a"], index=[7, 3]))) == ["b", "a"]


def test_what_cannot_be_indexed_is_read_once():
    """A generator such as that of Path.glob, and the keys of a dict."""
    assert list(as_paths(str(i) for i in range(3))) == ["0", "1", "2"]
    assert list(as_paths({"a": 1, "b": 2})) == ["a", "b"]


@pytest.mark.parametrize("paths", [{"a", "b"}, frozenset("ab")], ids=type)
def test_a_set_is_refused(paths):
    """Its order, which targets and a resumed epoch depend on, is another one in each run."""
    with pytest.raises(TypeError, match=r"paths must have an order, got a set.*: pass sorted\(paths\)"):
        as_paths(paths)


@pytest.mark.parametrize("paths", ["one.jpg", b"one.jpg", 5, None, np.array(3)], ids=str)
def test_what_is_no_sequence_is_refused(paths):
    """A single path would be taken for its letters."""
    with pytest.raises(TypeError, match="paths must be a sequence"):
        as_paths(paths)
