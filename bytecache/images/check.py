"""Every image of a data set decoded once before training: which are odd, which cannot be read, what they are like."""

from __future__ import annotations

import math
import os
import threading
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ..system.arguments import check_threads
from ..system.progress import progress_bar
from ..system.threads import cpu_count, run_on_threads
from .arrays import Image, check_size
from .formats import ImageDecoder, is_image
from .jpeg import MAX_PIXELS, JpegSpec, jpeg_header
from .repair import Remark

_MAGIC_BYTES = 512
_MAX_BUFFER = 64 << 20  # bytes of pixels that each thread keeps memory for; a larger image gets memory of its own


class SimilarFiles(NamedTuple):
    """Files with the same remark. files: how many. example: the path of the first."""

    files: int
    example: str


class RefusedFile(NamedTuple):
    """A file that cannot be decoded, or not be read at all, and why."""

    path: str
    reason: str


class ImageReport(NamedTuple):
    """What ``check_images`` has found. Each file is in one of `as_they_are`, `remarks`, `through_pillow`, `refused`.

    files: how many there are. as_they_are: how many libjpeg-turbo decodes without a warning. remarks: those of which
    it warns, by what is odd, and which are decoded in full nevertheless. through_pillow: those that Pillow decodes, by
    format or by sampling factors. refused: those that cannot be decoded, in the order of the paths. orientations (Exif,
    1 to 8), sizes ((height, width) in pixels, as stored), colorspaces: how many of the others have each. Dicts begin
    with what is most frequent.
    """

    files: int
    as_they_are: int
    remarks: dict[str, SimilarFiles]
    through_pillow: dict[str, SimilarFiles]
    refused: list[RefusedFile]
    orientations: dict[int, int]
    sizes: dict[tuple[int, int], int]
    colorspaces: dict[str, int]


def check_images(
    paths: Iterable[str | os.PathLike[str]],
    *,
    size: tuple[int, int] | None = None,
    threads: int | None = None,
    progress: bool = False,
    max_pixels: int | None = MAX_PIXELS,
) -> ImageReport:
    """Decode every file once, as strictly as training does by default, and return what was found: an ImageReport.

    paths: of files of any format that ``decode_image`` takes; the report has them as str. What is not an image, or
    cannot be read, is in `refused` with the reason. size: (height, width) in pixels; decode each image at the smallest
    scale that is large enough, as training with that size does, which takes less time. Without it all pixels are
    decoded. threads: the number of threads that read and decode, including the calling one (default: the processors
    this process may use). progress: show a progress bar on stderr. max_pixels: refuse a larger image.

    Files are read one at a time by each thread. Raises TypeError or ValueError for bad arguments alone. Safe for
    threads and after a fork.
    """
    if isinstance(paths, (str, bytes, os.PathLike)):
        raise TypeError(f"paths must be many paths, got one: {paths!r}; of a folder, pass Path(folder).rglob('*.jpg')")
    names = [os.fsdecode(path) for path in paths]
    check = _Check(None if size is None else check_size(size, "size"), max_pixels)
    with progress_bar("check", len(names), progress) as advance:

        def look(numbered: tuple[int, str]) -> None:
            check.look(*numbered)
            advance(1)

        run_on_threads(look, enumerate(names), min(check_threads(threads, cpu_count()), max(1, len(names))))
    return check.report(names)


class _Finding(NamedTuple):
    """What a file is like that can be decoded; many files are like each other."""

    size: tuple[int, int]
    orientation: int
    colorspace: str
    remark: Remark | None


class _Check:
    """One call of ``check_images``: what has been found so far, and where the threads decode to."""

    def __init__(self, size: tuple[int, int] | None, max_pixels: int | None) -> None:
        self._decoder, self._size = ImageDecoder(orient=True, max_pixels=max_pixels), size
        self._of_thread = threading.local()  # has `buffer`: a new array for each image would be a page fault per 4 KB
        self._lock = threading.Lock()  # guards both below
        self._found: dict[_Finding, tuple[int, int]] = {}  # -> how many files, and the number of the first
        self._refused: dict[int, str] = {}  # the number of the file -> the reason

    def look(self, number: int, path: str) -> None:
        """Read and decode one file, and remember what it is like."""
        try:
            finding = self._decode(path)
        except Exception as exc:
            reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc) or type(exc).__name__
            with self._lock:
                self._refused[number] = reason
        else:
            with self._lock:
                files, first = self._found.get(finding, (0, number))
                self._found[finding] = files + 1, min(first, number)

    def _decode(self, path: str) -> _Finding:
        with open(path, "rb") as file:
            data = file.read(_MAGIC_BYTES)
            if is_image(data):  # anything else, however large, is refused by its first bytes
                data += file.read()
        spec, remarks = self._decoder.spec(data), list[Remark]()
        stored = spec._replace(orientation=1)  # to turn the image upright costs time, and cannot fail
        scaled = stored if self._size is None else stored.scaled(*self._size)
        if isinstance(scaled, JpegSpec):
            colorspace = jpeg_header(data).colorspace
            self._decoder.decode(data, scaled, self._buffer(scaled), remarks.append)
        else:
            colorspace = scaled.colorspace
            self._decoder.decode(data, scaled, None, remarks.append)  # Pillow has an array of its own
        return _Finding(stored.size, spec.orientation, colorspace, remarks[0] if remarks else None)

    def _buffer(self, spec: JpegSpec) -> Image | None:
        shape = (*spec.size, self._decoder.channels)
        nbytes = math.prod(shape)
        if nbytes > _MAX_BUFFER:
            return None
        buffer: Image | None = getattr(self._of_thread, "buffer", None)
        if buffer is None or len(buffer) < nbytes:
            buffer = self._of_thread.buffer = np.empty(nbytes, np.uint8)
        return buffer[:nbytes].reshape(shape)

    def report(self, paths: list[str]) -> ImageReport:
        """Return what was found in all files; the order is that of the paths, whatever thread was first."""
        found = sorted((first, files, finding) for finding, (files, first) in self._found.items())
        remarks: dict[bool, dict[str, SimilarFiles]] = {False: {}, True: {}}
        orientations, sizes, colorspaces = Counter[int](), Counter[tuple[int, int]](), Counter[str]()
        as_they_are = 0
        for first, files, finding in found:
            orientations[finding.orientation] += files
            sizes[finding.size] += files
            colorspaces[finding.colorspace] += files
            if finding.remark is None:
                as_they_are += files
            else:
                similar = remarks[finding.remark.by_pillow]
                before, example = similar.get(finding.remark.kind, (0, paths[first]))
                similar[finding.remark.kind] = SimilarFiles(before + files, example)
        return ImageReport(
            len(paths),
            as_they_are,
            _most_frequent_first(remarks[False]),
            _most_frequent_first(remarks[True]),
            [RefusedFile(paths[number], reason) for number, reason in sorted(self._refused.items())],
            dict(orientations.most_common()),
            dict(sizes.most_common()),
            dict(colorspaces.most_common()),
        )


def _most_frequent_first(remarks: dict[str, SimilarFiles]) -> dict[str, SimilarFiles]:
    return dict(sorted(remarks.items(), key=lambda item: -item[1].files))
