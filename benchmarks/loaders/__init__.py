"""Data loaders, ours and those that people use today, all behind one function.

A loader is a function of a Job that returns a function of the epoch's number, which returns the batches of that epoch:
`(images, labels)`, images uint8 (n, side, side, 3) or (n, 3, side, side), labels the indices of the files. Every epoch
has each file once, shuffled the loader's own way.
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
    """The task of a loader."""

    root: str  # a folder or its URL: files/000000.jpg and so on, and a folder per format
    count: int  # files
    maxbytes: int  # the cache's budget, for all processes together
    scratch: str  # an empty folder on the local disk
    batch: int = 32
    side: int = 224  # height and width of the resized images
    workers: int = 2
    seed: int = 0

    @property
    def paths(self) -> list[str]:
        """The paths or URLs of the files; the label of a file is its index."""
        return [f"{self.root}/files/{index:06d}.jpg" for index in range(self.count)]

    @property
    def remote(self) -> bool:
        """Whether the files are read over HTTP."""
        return self.root.startswith("http")


class Loader(NamedTuple):
    """Where a loader is defined, what it needs, and which format it reads."""

    function: str  # "module:name", a function of a Job that returns Epochs
    packages: tuple[str, ...]  # import names
    format: str = ""  # the folder next to files/ that the module's `convert(files, folder, count)` fills; "": files/
    cases: str = "warm half http"  # those in which it differs from the other loaders
    few: str = "warm half http"  # the subset of cases to run without --all

    def absent(self) -> list[str]:
        """Return the packages that are not installed."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]

    def load(self) -> Callable[[Job], Epochs]:
        """Import and return the loader."""
        module, name = self.function.split(":")
        return getattr(importlib.import_module(f"benchmarks.loaders.{module}"), name)  # type: ignore[no-any-return]

    def convert(self, files: str, folder: str, count: int) -> None:
        """Write the images in the loader's own format."""
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
    "WebDataset, cache_dir": Loader("tars:cached", ("webdataset", *TORCH), "tar", cases="http", few=""),
    "Hugging Face datasets": Loader("hugging:arrow", ("datasets", *TORCH), "arrow", few="warm"),
}
