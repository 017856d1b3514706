"""Loaders that go through a data set epoch by epoch: ours, and what people use today, all behind one function.

A loader is a function of a Job that gives a function of the epoch's number, which gives its batches:
`(images, labels)`, images uint8 (n, side, side, 3) or (n, 3, side, side), labels the numbers of the files. Every epoch
has each file once, shuffled as the loader does it.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

Batches = Iterable[tuple[Any, Any]]
Epochs = Callable[[int], Batches]


@dataclass(frozen=True)
class Job:
    """What a loader is to do."""

    root: str  # a folder, or the URL of one: files/000000.jpg and so on, and the folder of each loader's own format
    count: int  # pictures
    maxbytes: int  # of memory that may hold data, in all processes together
    scratch: str  # an empty folder on the local disk, for what a loader keeps there
    batch: int = 32
    side: int = 224  # pixels that pictures are resized to, both ways
    workers: int = 2
    seed: int = 0

    @property
    def paths(self) -> list[str]:
        """The files, a path or a URL each; the label of a file is its place."""
        return [f"{self.root}/files/{index:06d}.jpg" for index in range(self.count)]

    @property
    def remote(self) -> bool:
        """Whether the files are read over HTTP."""
        return self.root.startswith("http")


class Loader(NamedTuple):
    """Where a loader's code is, what it needs, and the format it reads, where it does not read the files."""

    function: str  # "module:name", a function of a Job that gives Epochs
    packages: tuple[str, ...]  # to be imported
    format: str = ""  # the folder beside files/; the module's `convert(files, folder, count)` fills it
    cases: str = "warm half http"  # those in which it has something to show
    few: str = "warm half http"  # of these, the ones in which it runs when there is little time

    def absent(self) -> list[str]:
        """The packages that are not installed."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]

    def load(self) -> Callable[[Job], Epochs]:
        """Imports the loader."""
        module, name = self.function.split(":")
        return getattr(importlib.import_module(f"benchmarks.loaders.{module}"), name)  # type: ignore[no-any-return]

    def convert(self, files: str, folder: str, count: int) -> None:
        """Writes the pictures in the loader's own format."""
        importlib.import_module(f"benchmarks.loaders.{self.function.split(':')[0]}").convert(files, folder, count)


TORCH = ("torch", "PIL")
LOADERS = {
    "DataLoader, Pillow": Loader("plain:pillow", TORCH, few=""),
    "DataLoader, simplejpeg": Loader("plain:simplejpeg", TORCH),
    "bytecache ImageDataset, no cache": Loader("ours:no_cache", TORCH, few=""),
    "bytecache ImageDataset, fill_once": Loader("ours:private", TORCH),
    "bytecache ImageDataset, fill_once(shared=True), 2 workers": Loader("ours:shared", TORCH),
    "bytecache ImageDataset, fill_once, shrunk": Loader("ours:shrunk", TORCH),
    "bytecache ImageDataset, fill_once, decoded": Loader("ours:decoded", TORCH, few="warm"),
    "bytecache ImageDataset, SharedStore on disk": Loader("ours:on_disk", TORCH, cases="http", few=""),
    "bytecache keras.ImageDataset, fill_once": Loader("ours_keras:private", ("keras", "PIL"), few=""),
    "tf.data": Loader("tf_data:plain", ("tensorflow",), few="warm"),
    "tf.data, .cache()": Loader("tf_data:cached", ("tensorflow",), few=""),
    "tf.data, not antialiased": Loader("tf_data:aliased", ("tensorflow",), few=""),
    "MONAI CacheDataset": Loader("monai_cache:decoded", ("monai", *TORCH), few="warm"),
    "stocaching": Loader("stochastic:decoded", ("stocaching", *TORCH), few="warm half"),
    "MosaicML Streaming": Loader("mosaic:shards", ("streaming", *TORCH), "mds"),
    "LitData": Loader("lit:chunks", ("litdata", *TORCH), "litdata"),
    "WebDataset": Loader("tars:shards", ("webdataset", *TORCH), "tar"),
    "WebDataset, cache_dir": Loader("tars:kept", ("webdataset", *TORCH), "tar", cases="http", few=""),
    "Hugging Face datasets": Loader("hugging:arrow", ("datasets", *TORCH), "arrow", few="warm"),
}
