"""How many bytes values take: of each kind the memory that it keeps alive, and one warning where that is not known."""

from __future__ import annotations

import array
import collections
import ctypes
import dataclasses
import importlib.util
import io
import os
import re
import subprocess
import sys
import threading
import types
import unittest.mock
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bytecache
from bytecache.stores.sizes import measure

NBYTES = 1_000_000


@dataclasses.dataclass
class Sample:
    image: Any
    label: int = 0


class Slots:
    __slots__ = ("image",)

    def __init__(self, image: Any) -> None:
        self.image = image


class MoreSlots(Slots):
    __slots__ = ("label",)


class NoPickle(Sample):
    def __reduce_ex__(self, protocol: Any) -> Any:
        raise RuntimeError("not for pickle")


class WithLock(Sample):
    def __init__(self, image: Any) -> None:
        super().__init__(image)
        self.lock, self.kind = threading.Lock(), Sample


class Frame(list[Any]):
    """A container with an attribute."""


def frame(image: Any) -> Frame:
    value = Frame()
    value.image = image  # type: ignore[attr-defined]
    return value


def data() -> bytes:
    return bytes(NBYTES)


VALUES: dict[str, Callable[[], Any]] = {
    "dataclass": lambda: Sample(np.zeros(NBYTES, np.uint8)),
    "in slots": lambda: MoreSlots(data()),
    "in a dataclass in a list": lambda: [Sample({"a": collections.deque([Slots(data())])})],
    "not for pickle": lambda: NoPickle(data()),
    "with a lock": lambda: WithLock(data()),
    "an attribute of a list": lambda: frame(data()),
    "deque": lambda: collections.deque([data()]),
    "UserDict": lambda: collections.UserDict(image=data()),
    "ChainMap": lambda: collections.ChainMap({"image": data()}),
    "mappingproxy": lambda: types.MappingProxyType({"image": data()}),
    "namespace": lambda: types.SimpleNamespace(image=data()),
    "exception": lambda: ValueError(data()),
    "memoryview": lambda: memoryview(data())[:10],
    "memoryview of an array": lambda: memoryview(np.zeros(NBYTES, np.uint8))[:10],
    "array of a bytearray": lambda: np.frombuffer(bytearray(NBYTES), np.uint8)[:10],
    "array.array": lambda: array.array("b", [0]) * NBYTES,
    "ctypes": lambda: (ctypes.c_char * NBYTES)(),
    "array of objects": lambda: np.array([data(), 1], object),
    "array with a field of objects": lambda: np.array([(data(), 1)], [("image", "O"), ("label", "i4")]),
    "masked array": lambda: np.ma.masked_array(np.zeros(NBYTES // 2, np.uint8), np.zeros(NBYTES // 2, bool)),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_counts_with_what_it_keeps_alive(name: str) -> None:
    """Whatever it is made of, and it is known in full."""
    nbytes, unknown = measure(VALUES[name]())
    assert NBYTES <= nbytes < 1.01 * NBYTES and unknown is None


def test_each_object_counts_once() -> None:
    """Two views of one buffer, and a value that is referred to twice."""
    buffer, value = np.zeros(NBYTES, np.uint8), Sample(data())
    for shared in [buffer[:10], buffer[10:]], [value, {"a": value}]:
        assert NBYTES <= bytecache.sizeof(shared) < 1.01 * NBYTES


@pytest.mark.parametrize("mode, bytes_per_pixel", [("1", 1), ("L", 1), ("P", 1), ("I;16", 2), ("RGB", 4), ("F", 4)])
def test_an_image_of_pillow_counts_with_its_pixels(mode: str, bytes_per_pixel: int) -> None:
    """As many bytes as Pillow takes for a pixel of its mode; also before they are loaded."""
    image_module = pytest.importorskip("PIL.Image")
    image = image_module.new(mode, (1000, 500))
    assert 500_000 * bytes_per_pixel <= measure(image)[0] < 500_000 * bytes_per_pixel + 10_000
    assert measure((image, 1))[1] is None
    if mode == "RGB":
        file = io.BytesIO()
        image.save(file, "png")
        opened = image_module.open(io.BytesIO(file.getvalue()))
        assert 2_000_000 <= measure(opened)[0] < 2_100_000


def test_a_torch_tensor_counts_with_its_storage() -> None:
    """A view as the storage that it keeps alive, once; a sparse one with its parts; the graph of one is not known."""
    torch = pytest.importorskip("torch")
    tensor = torch.zeros(NBYTES, dtype=torch.uint8)
    for value in (
        tensor,
        tensor[:3],
        {"a": tensor[:3], "b": tensor[3:]},
        tensor.numpy()[:3],
        torch.nn.Parameter(tensor / 1),
    ):
        factor = 4 if isinstance(value, torch.nn.Parameter) else 1
        nbytes, unknown = measure(value)
        assert factor * NBYTES <= nbytes < 1.01 * factor * NBYTES and unknown is None
    assert 9 * 8 <= measure(torch.eye(3).to_sparse())[0] < 1500
    assert measure(torch.zeros(NBYTES, device="meta"))[0] < 1000
    assert measure(torch.nn.Parameter(torch.ones(3)) * 2)[1] is torch.Tensor


TENSORFLOW = """
import tensorflow as tf
from bytecache.stores.sizes import measure
zeros = tf.zeros(1_000_000, tf.uint8)
ragged = tf.RaggedTensor.from_row_lengths(tf.zeros(999_990, tf.uint8), [999_990])
for value in zeros, (zeros, zeros), tf.Variable(zeros), tf.constant(["x" * 1000] * 1000), ragged:
    print(measure(value)[0])
print(measure(tf.zeros((100, 64), tf.uint8)[3])[1], measure(tf.zeros(3))[1])
"""


def test_a_tensor_of_tensorflow_counts_with_its_bytes() -> None:
    """In a process of its own; what may be a slice is not known in full."""
    pytest.importorskip("tensorflow")
    done = subprocess.run([sys.executable, "-c", TENSORFLOW], capture_output=True, text=True)
    *sizes, unknown = done.stdout.splitlines()
    assert len(sizes) == 5 and all(NBYTES <= int(size) < 1.06 * NBYTES for size in sizes), done.stdout + done.stderr
    assert re.fullmatch("<class '.*EagerTensor'> None", unknown)


def test_tables_count_with_what_a_slice_keeps_alive() -> None:
    """Of pandas and pyarrow, if they are installed."""
    numbers = np.zeros(NBYTES // 8)
    if _installed("pandas"):
        import pandas

        for table in pandas.DataFrame({"a": numbers}).iloc[:3], pandas.Series(numbers)[:2], pandas.Index(numbers):
            assert NBYTES <= measure(table)[0] < 1.02 * NBYTES and measure(table)[1] is None
    if _installed("pyarrow"):
        import pyarrow

        assert NBYTES <= measure(pyarrow.table({"a": numbers}).slice(0, 3))[0] < 1.01 * NBYTES


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


# In a cache


class Opaque:
    """What nothing is known about: C code keeps its memory, and it cannot be pickled."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError


def test_a_value_that_cannot_be_measured_is_told_once(in_memory: Any) -> None:
    """One warning for each function, which names the type and sizeof=; with sizeof= there is none."""
    message = r"memory of a .*\.Opaque cannot be measured in full.* give sizeof="
    for _ in range(2):
        f = in_memory(maxbytes=10_000)(lambda key: [Opaque()])
        with pytest.warns(RuntimeWarning, match=message) as caught:
            f(1), f(2)
        assert len(caught) == 1 and Path(caught[0].filename) == Path(__file__)
        assert f.cache_info().currsize == 2
    in_memory(maxbytes=10_000, sizeof=lambda value: 5)(lambda key: Opaque())(1)


def test_a_value_of_too_many_objects_is_told(in_memory: Any) -> None:
    """What pickle would see is measured up to a bound."""
    f = in_memory(maxbytes="1 GB")(lambda key: [Sample(n) for n in range(20_000)])
    with pytest.warns(RuntimeWarning, match="Sample cannot be measured in full"):
        f(1)


class Raises:
    """Whatever one asks of it."""

    def __sizeof__(self) -> int:
        raise LookupError

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise LookupError

    nbytes = property(lambda self: 1 // 0)


STRANGE: dict[str, Callable[[], Any]] = {
    "raises": Raises,
    "mock of a dict": lambda: unittest.mock.Mock(spec=dict),
    "mock of an array": lambda: unittest.mock.Mock(spec=np.ndarray),
    "mock of a list": lambda: unittest.mock.MagicMock(spec=list),
    "mock": unittest.mock.MagicMock,
}


@pytest.mark.parametrize("name", STRANGE)
def test_no_value_makes_a_call_fail(in_memory: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a budget nothing is measured; with one the value is stored, with the one warning at most."""
    monkeypatch.setattr("bytecache.stores.sizes._MOST_OBJECTS", 100)  # a mock has another one for each that is seen
    f = in_memory()(lambda key: STRANGE[name]())
    assert f(1) is f(1)
    g = in_memory(maxbytes="100 MB")(lambda key: STRANGE[name]())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert g(1) is g(1)
    messages = [str(one.message) for one in caught]
    assert len(messages) <= 1 and ("Raises cannot be measured" in str(messages)) == (name == "raises")


GROWTH = """
import sys
sys.path.insert(0, sys.argv[1])
import test_sizes, bytecache

def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096

read = bytecache.fill_once(maxbytes="20 MB")(lambda key: test_sizes.filled(sys.argv[2]))
for _ in range(5):
    read(0)
    read.cache_clear()
before = resident()
for key in range(100):
    read(key)
print(resident() - before, read.cache_info().currsize)
"""


def filled(name: str) -> Any:
    """Return a value of about NBYTES, every page of which was written to."""
    if name == "image":
        import PIL.Image

        return PIL.Image.new("L", (1000, 1000), 3), 1
    if name == "tensor":
        import torch

        return torch.ones(NBYTES, dtype=torch.uint8)[:10]
    return {
        "dataclass": lambda: Sample(np.ones(NBYTES, np.uint8)),
        "deque": lambda: collections.deque([b"x" * NBYTES]),
        "UserDict": lambda: collections.UserDict(image=b"x" * NBYTES),
        "memoryview": lambda: memoryview(b"x" * NBYTES)[:10],
    }[name]()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
@pytest.mark.parametrize("name", ["image", "tensor", "dataclass", "deque", "UserDict", "memoryview"])
def test_the_process_grows_by_the_budget(name: str) -> None:
    """100 values of 1 MB under 20 MB: as many are stored as fit, and no more memory is taken."""
    if name in ("image", "tensor"):
        pytest.importorskip({"image": "PIL", "tensor": "torch"}[name])
    script = [sys.executable, "-c", GROWTH, str(Path(__file__).parent), name]
    # Each value by itself, so that none leaves a gap in the C library's heap that the next one does not fit in.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(script, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    grown, stored = map(int, done.stdout.split())
    assert stored == 19 and grown <= 1.05 * 20e6
