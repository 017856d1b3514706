"""Data loaders, ours and those that people use today, all behind one function.

A loader is a function of a Job that returns a function of the epoch's number, which returns the batches of that epoch:
`(images, labels)`, images uint8 (n, side, side, 3) or (n, 3, side, side), or float32 from 0 to 1 if a loader gives no
other, labels the indices of the files. Every epoch has each file once, shuffled the loader's own way.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from ctypes.util import find_library
from dataclasses import dataclass
from typing import Any, NamedTuple

Batches = Iterable[tuple[Any, Any]]
Epochs = Callable[[int], Batches]


CASES = {
    "warm": "Memory for everything: files in a warm page cache, a limit above what any loader uses",
    "half": "A memory limit of half the data, page cache included, files on the local disk",
    "http": "The same limit, files behind HTTP: nginx on loopback",
    "http-5": "The same limit, files behind HTTP: nginx on loopback, which waits 5 ms before it answers",
    "http-20": "The same limit, files behind HTTP: nginx on loopback, which waits 20 ms before it answers",
}
LATENCY_MS = {"http": 0, "http-5": 5, "http-20": 20}
DISK, HTTP = ("warm", "half"), tuple(LATENCY_MS)
ALL = DISK + HTTP
MAX_DIFFERENCE = 6.0  # mean, in levels of 255; other decoders and resizes differ by less, other images by more


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
    our_resizer: bool = False  # for loaders that let the user choose: bytecache's instead of Pillow's
    our_reader: bool = False  # the same over HTTP: HttpReader instead of fsspec

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
    cases: tuple[str, ...] = ALL  # those in which it differs from the other loaders
    few: tuple[str, ...] = ALL  # those of them to run without --all
    our_resizer: bool = False
    our_reader: bool = False
    libraries: tuple[str, ...] = ()  # shared ones that its packages load and do not bring
    tolerance: float = MAX_DIFFERENCE  # of its pixels to those of the file

    def absent(self) -> list[str]:
        """Return the packages and shared libraries that are not installed."""
        packages = [name for name in self.packages if importlib.util.find_spec(name) is None]
        return packages + [f"lib{name}" for name in self.libraries if find_library(name) is None]

    def runs(self, case: str, every: bool) -> bool:
        """Return whether to run it in a case; every: also if it differs little from others there."""
        return case in self.cases and (every or case in self.few)

    def load(self) -> Callable[[Job], Epochs]:
        """Import and return the loader."""
        module, name = self.function.split(":")
        return getattr(importlib.import_module(f"benchmarks.loaders.{module}"), name)  # type: ignore[no-any-return]

    def convert(self, files: str, folder: str, count: int) -> None:
        """Write the images in the loader's own format."""
        importlib.import_module(f"benchmarks.loaders.{self.function.split(':')[0]}").convert(files, folder, count)


TORCH = ("torch", "PIL")
OURS = (*TORCH, "pycurl")
# Those that leave the decoding to the user have a row with Pillow's resize, and one with the resize of bytecache.
CHOOSE_RESIZER = {
    "DataLoader, simplejpeg": Loader("plain:simplejpeg", TORCH),
    "MONAI CacheDataset": Loader("monai_cache:decoded", ("monai", *TORCH), few=("warm",)),
    "stocaching": Loader("stochastic:decoded", ("stocaching", *TORCH)),
    "MosaicML Streaming": Loader("mosaic:shards", ("streaming", *TORCH), "mds"),
    "LitData": Loader("lit:chunks", ("litdata", *TORCH), "litdata"),
    "LitData StreamingRawDataset": Loader("lit_raw:files", ("litdata", "zstd", "obstore", *TORCH)),
    "LitData StreamingRawDataset, cache_files": Loader(
        "lit_raw:cached", ("litdata", "zstd", "obstore", *TORCH), cases=HTTP
    ),
    "SPDL, simplejpeg": Loader("spdl_pipeline:simplejpeg", ("spdl", "PIL")),
    "WebDataset": Loader("tars:shards", ("webdataset", *TORCH), "tar"),
    "WebDataset, cache_dir": Loader("tars:cached", ("webdataset", *TORCH), "tar", cases=HTTP, few=()),
    "Hugging Face datasets": Loader("hugging:arrow", ("datasets", *TORCH), "arrow", few=("warm",)),
}
WITH_RESIZER = {
    f"{name}, our resizer": loader._replace(our_resizer=True, packages=(*loader.packages, "cykooz_resizer"))
    for name, loader in CHOOSE_RESIZER.items()
}
# Of these, those that read a file, or the files of a batch, by a function of the user's.
CHOOSE_READER = ("DataLoader, simplejpeg, our resizer", "stocaching, our resizer", "SPDL, simplejpeg, our resizer")
LOADERS = {
    "bytecache ImageDataset, no cache": Loader("ours:no_cache", OURS, few=()),
    "bytecache ImageDataset, maxbytes=, shared=False": Loader("ours:automatic", OURS),
    "bytecache ImageDataset, maxbytes=, 2 workers": Loader("ours:automatic_shared", OURS),
    "bytecache ImageDataset, fill_once": Loader("ours:private", OURS),
    "bytecache ImageDataset, fill_once, read by fsspec": Loader("ours:by_fsspec", OURS, cases=HTTP),
    "bytecache ImageDataset, fill_once(shared=True), 2 workers": Loader("ours:shared", OURS),
    "bytecache ImageDataset, fill_once, shrunk": Loader("ours:shrunk", OURS),
    "bytecache ImageDataset, fill_once, decoded": Loader("ours:decoded", OURS),
    "bytecache ImageDataset, fill_once(shared=True), decoded, 2 workers": Loader("ours:shared_decoded", OURS),
    "bytecache ImageDataset, SharedStore on disk": Loader("ours:on_disk", OURS, cases=HTTP),
    "bytecache keras.ImageDataset, fill_once": Loader("ours_keras:private", ("keras", "PIL", "pycurl"), few=()),
    "bytecache keras.ImageDataset, maxbytes=": Loader("ours_keras:automatic", ("keras", "PIL", "pycurl"), few=()),
    "DataLoader, Pillow": Loader("plain:pillow", TORCH, few=()),
    "tf.data": Loader("tf_data:plain", ("tensorflow",), few=("warm",)),
    "tf.data, .cache()": Loader("tf_data:cached", ("tensorflow",), few=()),
    "tf.data, not antialiased": Loader("tf_data:aliased", ("tensorflow",), few=()),
    "SPDL": Loader("spdl_pipeline:ffmpeg", ("spdl", "PIL"), libraries=("avutil",)),
    "TurboLoader, antialiased": Loader("turbo:antialiased", ("turboloader", "PIL"), "one_tar", cases=DISK),
    "TurboLoader, not antialiased": Loader("turbo:aliased", ("turboloader", "PIL"), "one_tar", tolerance=12.0),
    **CHOOSE_RESIZER,
    **WITH_RESIZER,
    **{
        f"{name} and reader": WITH_RESIZER[name]._replace(
            our_reader=True, packages=(*WITH_RESIZER[name].packages, "pycurl"), cases=HTTP
        )
        for name in CHOOSE_READER
    },
}
