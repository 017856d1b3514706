"""Targets: what comes out for each sample and each batch, and what is refused."""

from __future__ import annotations

from collections import OrderedDict, namedtuple

import numpy as np
import pytest

from bytecache.loading.targets import Chosen, Fields, Ragged, as_targets, batched, take_batch

N = 4
BOXES = [np.arange(4.0 * (i % 3)).reshape(-1, 4) for i in range(N)]  # 0, 1, 2, 0 boxes
Point = namedtuple("Point", "x y")


def entries(targets, n=N):
    return list(Chosen(as_targets(targets, n), np.arange(n)))


def equal(a, b):
    """Return whether two structures are the same in types, shapes and values."""
    if isinstance(a, np.ndarray):
        return type(b) is np.ndarray and a.shape == b.shape and np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize(
    "targets",
    [
        ["cat", "dog", "", "owl"],
        [None, 1, None, 2],
        [{"boxes": boxes, "id": i} for i, boxes in enumerate(BOXES)],
        [(boxes, "name") for boxes in BOXES],
        [Point(boxes, 1) for boxes in BOXES],
        [np.zeros((i, i)) for i in range(1, N + 1)],
        [["a"], ["b", "c"], [], ["d"]],
        [[(1, 2)], [[3]], [], [4]],
        [1, "a", None, 2.5],
        [Point(1, 2.5)] * N,
        [2**63, 1, 2, 3],
        [2**63, -1, 2, 3],
        [2**70, 1, 2, 3],
        [[2**63, 1], [2], [3], [4]],
        [np.array([2**63 - 1]), np.array([1, 2], np.uint64), np.array([1]), np.array([2])],
        [OrderedDict(boxes=boxes) for boxes in BOXES],
    ],
    ids=lambda targets: type(targets[0]).__name__,
)
def test_entries_of_any_kind_come_as_they_are(targets):
    """With their types, and with copies of their arrays."""
    assert equal(entries(targets), targets)


def test_numbers_are_one_array():
    """A list of numbers, or of rows of them."""
    assert equal(as_targets([1, 2, 3, 4], N), np.arange(1, 5))
    assert equal(as_targets([[1, 2]] * N, N), np.array([[1, 2]] * N))
    assert as_targets(np.arange(8).reshape(4, 2), N).shape == (4, 2)
    assert equal(as_targets(range(4), N), np.arange(4))
    assert type(as_targets(np.ma.masked_array(range(4), mask=[0, 1, 0, 1]), N)) is np.ndarray
    assert entries(np.array(["a", "b", "c", "d"])) == entries(np.array(list("abcd"), object)) == list("abcd")


@pytest.mark.parametrize("as_list", [False, True])
def test_boxes_of_any_number_come_whole(as_list):
    """Each image's own; one without boxes, as an array or an empty list, has (0, 4) of the others' dtype."""
    found = entries([boxes.astype(int).tolist() for boxes in BOXES] if as_list else BOXES)
    assert [boxes.shape for boxes in found] == [(0, 4), (1, 4), (2, 4), (0, 4)]
    assert {boxes.dtype for boxes in found} == {np.dtype(int if as_list else float)}
    assert all(np.array_equal(one, other) for one, other in zip(found, BOXES, strict=True))


@pytest.mark.parametrize("dtype", [">i4", ">f8"])
def test_numbers_have_the_byte_order_of_the_machine(dtype):
    """Labels of a file of another one, such as MNIST's; torch refuses them."""
    for targets in (np.ones((4, 2), dtype), list(np.ones((4, 2), dtype)), [np.ones(i, dtype) for i in range(4)]):
        assert {target.dtype.isnative for target in entries(targets)} == {True}


def test_a_batch_of_ints_beyond_int64_is_a_list():
    """numpy would round them to floats."""
    assert take_batch(as_targets([2**63, 1, 2, 3], N), np.array([0, 1])) == [2**63, 1]
    assert take_batch(as_targets([2**53 + 1, 1, 2, 3], N), np.array([0, 1])).tolist() == [2**53 + 1, 1]


def test_lists_of_labels_come_whole():
    """Ints and floats together are floats, as in any array."""
    assert [each.tolist() for each in entries([[1], [], [2.5, 3], [4]])] == [[1.0], [], [2.5, 3.0], [4.0]]


def test_boxes_are_held_in_one_array():
    """Of which a forked worker copies no page."""
    held = as_targets(BOXES, N)
    assert isinstance(held, Ragged) and held.values.shape == (3, 4)


@pytest.mark.parametrize(
    "targets", [BOXES, np.zeros((N, 2)), [{"a": [np.zeros(2)]}] * N, [(np.zeros(2),)] * N], ids=str
)
def test_what_comes_shares_no_memory_with_what_is_held(targets):
    """A flip of boxes in place would otherwise be flipped back in the next epoch."""

    def arrays(value):
        if isinstance(value, np.ndarray):
            return [value]
        return sum(map(arrays, value.values() if isinstance(value, dict) else value), [])

    held = as_targets(targets, N)
    for _ in range(2):
        for array in arrays(list(Chosen(held, np.arange(N)))) + arrays(take_batch(held, np.arange(N))):
            array += 1
            assert array.size == 0 or array.max() <= BOXES[2].max() + 1
    assert all(array.max() < 8 for array in arrays(list(Chosen(held, np.arange(N)))) if array.size)


def test_pictures_of_pillow_are_copies():
    """A transform may draw into them."""
    pillow = pytest.importorskip("PIL.Image", reason="pictures of Pillow")
    held = as_targets([pillow.new("L", (2, 2))] * N, N)
    Chosen(held, np.arange(N))[0].putpixel((0, 0), 7)
    assert Chosen(held, np.arange(N))[0].getpixel((0, 0)) == 0


def test_the_dicts_of_a_class_of_their_own_are_copies():
    """Of the same class, with copies of their arrays."""
    held = as_targets([OrderedDict(a=[np.zeros(2)]) for _ in range(N)], N)
    Chosen(held, np.arange(N))[1]["a"][0][...] = 1
    assert not Chosen(held, np.arange(N))[1]["a"][0].any()


@pytest.mark.parametrize("names", [True, False])
def test_fields_of_all_paths_are_targets_of_several_fields(names):
    """A dict of fields, or a tuple of arrays, gives each sample its dict or tuple."""
    labels = np.arange(N) * 10
    targets = {"boxes": BOXES, "label": labels} if names else (labels, labels[:, None])
    held = as_targets(targets, N)
    assert isinstance(held, Fields)
    if names:
        assert equal(held[2], {"boxes": BOXES[2], "label": np.int64(20)})
        assert take_batch(held, np.array([2, 1]))["label"].tolist() == [20, 10]
    else:
        assert equal(held[2], (np.int64(20), np.array([20])))
        assert [part.shape for part in take_batch(held, np.array([2, 1]))] == [(2,), (2, 1)]


def test_a_series_counts_by_position():
    """A pandas Series of strings or numbers that was split has other labels than positions."""
    pandas = pytest.importorskip("pandas", reason="a Series needs pandas")
    assert entries(pandas.Series([5, 6], index=[9, 1]), 2) == [5, 6]
    assert entries(pandas.Series(["a", "b"], index=[9, 1]), 2) == ["a", "b"]
    rows = entries(pandas.DataFrame({"x": [1, 2], "y": ["a", "b"]}, index=[9, 1]), 2)
    assert [row.tolist() for row in rows] == [[1, "a"], [2, "b"]]


@pytest.mark.parametrize(
    "targets, message",
    [
        ([1, 2], "targets must have one entry per path, got 2 for 4"),
        ({1, 2, 3, 4}, "targets must be indexable with one entry per path, got set: pass a list or an array"),
        ((i for i in range(4)), "targets must be indexable with one entry per path, got generator"),
        (5, "targets must be indexable with one entry per path, got int"),
        ("abcd", "targets must be indexable with one entry per path, got str"),
        (np.float64(3), "targets must be indexable with one entry per path"),
        (np.array(3), "targets must be indexable with one entry per path, got ndarray"),
        ({}, "targets as a dict must map names of fields .* got the keys of none"),
        ({1: 2, 3: 4, 5: 6, 7: 8}, "must map names of fields to one entry per path each, got the keys 1, 3, 5"),
        ({"label": [1, 2]}, r"targets\['label'\] must have one entry per path, got 2 for 4"),
        ({"label": 3}, r"targets\['label'\] must be indexable"),
        (tuple(np.zeros((4, 2)) for _ in range(4)), "4 targets or 4 fields of all targets"),
        ((np.zeros(3), np.zeros(4)), "targets must have one entry per path, got 2 for 4"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_has_no_entry_for_each_path_is_refused(targets, message):
    """The error says what was expected, what came, and the way out."""
    with pytest.raises((TypeError, ValueError), match=message):
        as_targets(targets, N)


def test_a_batch_has_one_array_per_field_and_lists_the_rest():
    """Dicts and tuples are batched field by field; what has no common shape is a list."""
    batch = batched([{"a": 1, "b": (np.zeros(2), "x"), "c": BOXES[i]} for i in range(3)])
    assert equal(batch, {"a": np.array([1, 1, 1]), "b": (np.zeros((3, 2)), ["x"] * 3), "c": BOXES[:3]})
    assert batched([{"a": 1}, {"b": 1}]) == [{"a": 1}, {"b": 1}]
    assert batched([None, 1]) == [None, 1] and batched(["a", "b"]) == ["a", "b"]
