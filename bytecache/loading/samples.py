"""Single samples: read, decoded, resized, and what becomes of those that fail; shared by the framework adapters."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..images.batch import decode_into
from ..images.jpeg import DecodeSpec, JpegDecoder, check_size
from ..images.resize import resize
from ..system.threads import run_on_threads
from .buffers import Array

logger = logging.getLogger("bytecache")


class SampleError(RuntimeError):
    """A sample that could not be read, decoded or transformed; ``path`` names it, ``__cause__`` is why.

    From a torch DataLoader's worker it comes without ``__cause__``, and ``path`` is a str: torch makes it anew from
    the text of the worker's traceback, which is then its message.
    """

    def __init__(self, path: Any, reason: str | None = None) -> None:
        if reason is None:  # torch's way: the text alone
            super().__init__(path)
            self.path, self.reason = _parse_message(path)
        else:
            super().__init__(path, reason)
            self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if len(self.args) == 2 else str(self.args[0])


def _parse_message(text: str) -> tuple[str, str]:
    """Path and reason of the last SampleError in a printed traceback."""
    *_, last = re.split(r"^(?:[\w.]+\.)?SampleError: ", str(text), flags=re.MULTILINE)
    path, _, reason = last.rstrip().partition(": ")
    return path, reason


class SampleSpec(NamedTuple):
    """What a sample will be once decoded and resized: shape (H, W, C), dtype; plan: its decode, None for an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    plan: DecodeSpec | None


class SampleLoader:
    """Reads samples with the user's `load`, and makes arrays of them. Picklable where `load` is; safe for threads.

    load: cached or not; gives JPEG bytes or an array (H, W, C). size: (height, width) in pixels, None to leave each
    as it is.
    """

    def __init__(self, load: Callable[[Any], Any], size: tuple[int, int] | None) -> None:
        self._load = load
        self.size = None if size is None else check_size(size, "size")
        self._decoder = JpegDecoder(min_size=self.size)

    def load(self, paths: list[Any]) -> list[Any]:
        """What `load` gives for each path, or the exception it raised; a cached function reads misses on threads.

        Bytes of a shared store come as views of it, so that they are decoded without a copy.
        """
        if hasattr(self._load, "cache_stats") and not inspect.ismethod(self._load):
            return self._load.map(paths, return_exceptions=True, copy=False)  # type: ignore[attr-defined, no-any-return]
        samples: list[Any] = []
        for path in paths:
            try:
                samples.append(self._load(path))
            except Exception as exc:
                samples.append(exc)
        return samples

    def form(self, sample: Any) -> SampleSpec:
        """From the header alone; raises JpegError or TypeError for what is no image."""
        if isinstance(sample, np.ndarray):
            shape = (*self.size, sample.shape[2]) if self.size and sample.ndim == 3 else sample.shape
            return SampleSpec(shape, sample.dtype, None)
        plan = self._decoder.spec(sample)
        return SampleSpec((*(self.size or plan.size), self._decoder.channels), np.dtype(np.uint8), plan)

    def image(self, sample: Any, form: SampleSpec, out: Array | None = None) -> Array:
        """The decoded and resized sample: written into `out` where that has its form, else another array.

        A loaded array that needs no resizing is returned as it is: the caller copies it.
        """
        if form.plan is None and sample.shape == form.shape:
            return sample  # type: ignore[no-any-return]
        if out is None or out.shape != form.shape or out.dtype != form.dtype:
            out = np.empty(form.shape, form.dtype)
        if form.plan is None:
            resize(sample, out)
        else:
            decode_into(self._decoder, sample, form.plan, out)
        return out

    def decode(
        self,
        samples: Sequence[Any],
        failed: dict[int, Exception],
        take: Callable[[tuple[int, ...], np.dtype[Any]], Array],
        threads: int,
    ) -> tuple[dict[int, Array], Array | None]:
        """The samples by number, and the array (n, H, W, C) that `take` gave for them where all have one form.

        Where they differ each has an array of its own, and there is None. A sample that is an exception, or becomes
        one, is put into `failed`, and its row may be missing or hold anything.
        """
        failed.update((number, sample) for number, sample in enumerate(samples) if isinstance(sample, Exception))
        good = {number: sample for number, sample in enumerate(samples) if number not in failed}
        forms = map_collecting_errors(self._image_form, good, failed)
        batch = None
        if len({(form.shape, form.dtype) for form in forms.values()}) == 1:
            form = next(iter(forms.values()))
            batch = take((len(forms), *form.shape), form.dtype)
        own = (np.empty(form.shape, form.dtype) for form in forms.values())
        rows = dict(zip(forms, own if batch is None else batch, strict=True))

        def write(number: int) -> None:
            try:
                image = self.image(samples[number], forms[number], rows[number])
                if image is not rows[number]:
                    rows[number][...] = image
            except Exception as exc:
                failed[number] = exc

        run_on_threads(write, forms, min(threads, max(1, len(forms))))
        return rows, batch

    def _image_form(self, sample: Any) -> SampleSpec:
        form = self.form(sample)
        if len(form.shape) != 3:
            raise ValueError(f"an array must have the shape (height, width, channels), got {form.shape}")
        return form


def map_collecting_errors(
    function: Callable[[Any], Any], items: dict[int, Any], failed: dict[int, Exception]
) -> dict[int, Any]:
    """``function(item)`` of each, one after the other; what it raises is put into `failed` instead."""
    done: dict[int, Any] = {}
    for number, item in items.items():
        try:
            done[number] = function(item)
        except Exception as exc:
            failed[number] = exc
    return done


def check_samples(paths: Sequence[Any], targets: Any, load: Any, transform: Any, on_error: str) -> None:
    """Raises TypeError or ValueError for what no data set can be made of; targets: something with a length, or None."""
    if not paths:
        raise ValueError("paths is empty: there is nothing to read")
    if targets is not None and len(targets) != len(paths):
        raise ValueError(f"targets must have one entry per path, got {len(targets)} for {len(paths)}")
    if on_error not in ("raise", "skip"):
        raise ValueError(f'on_error must be "raise" or "skip", got {on_error!r}')
    if not callable(load) or not (transform is None or callable(transform)):
        raise TypeError(f"load and transform must be functions, got {load!r} and {transform!r}")


def check_skipped(paths: Sequence[Any], failed: dict[int, Exception], skip: bool) -> list[tuple[Any, str]]:
    """(path, reason) of each sample of a batch that failed; raises SampleError where none may, or all did.

    paths: those of the batch; failed: by place in it. A missing package is no fault of the sample, and always raised.
    """
    left = [(paths[place], f"{type(exc).__name__}: {exc}") for place, exc in sorted(failed.items())]
    missing_package = any(isinstance(exc, ImportError) for exc in failed.values())
    if left and (not skip or missing_package or len(left) == len(paths)):
        path, reason = left[0]
        if skip and not missing_package:
            reason = f"every sample of this batch failed, this one first: {reason}"
        raise SampleError(path, reason) from failed[min(failed)]
    return left


def log_skipped(left: list[tuple[Any, str]], logged: set[Any]) -> None:
    """One warning for each path that is not in `logged` yet, which is then."""
    for path, reason in left:
        if path not in logged:
            logged.add(path)
            logger.warning("left out %s: %s", path, reason)
