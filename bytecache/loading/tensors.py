"""Batches and targets as torch tensors, and pictures as those of torchvision for its transforms."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from ..images.arrays import Array, is_numeric
from ..images.crops import DRAWS
from ..system.threads import processors
from .buffers import BufferPool
from .prefetching.read_ahead import ReadAhead
from .sampler import Key
from .samples import Loaded, SampleLoader
from .targets import Fields, copied, native

# The pictures of each sample, and what failed, by position in the batch.
Decoded: TypeAlias = tuple[dict[int, list[Tensor]], dict[int, Exception]]


class BatchDecoder:
    """A reader and decoder of batches in one process, in arrays that are reused later.

    It does not refer to the dataset, so that what is made ahead does not keep that alive.
    """

    def __init__(self, samples: SampleLoader, paths: Sequence[Any], read_ahead: int | None) -> None:
        worker = get_worker_info()
        self._samples = samples
        self._buffers: dict[int, BufferPool] = defaultdict(BufferPool)  # for each picture of a sample
        read = partial(_read, samples, paths)
        workers = 1 if worker is None else worker.num_workers
        self._reads: ReadAhead[Key] = ReadAhead(read, read_ahead, workers, samples.function)

    def prepare(self, key: Key, following: Iterator[Key] | None = None) -> Callable[[], Decoded]:
        """Return a function that reads and decodes these samples, and begins to read those that follow."""
        draws = None
        if self._samples.crops_at_random:
            # From this process's generator, which torch seeds in each worker; a row for each sample, failed or not.
            draws = torch.rand(len(key), DRAWS, dtype=torch.float64).numpy()
        return partial(self._decode, key, following, draws)

    def _decode(self, key: Key, following: Iterator[Key] | None, draws: Array | None) -> Decoded:
        samples, failed = self._reads.take(key, following)
        try:
            columns = self._samples.decode_all(samples, failed, self._borrow, processors(), draws)
        finally:
            samples.clear()
        tensors = [_pictures_as_tensors(*column) for column in columns]
        good = [i for i in tensors[0] if i not in failed]
        return {i: [column[i] for column in tensors if i in column] for i in good}, failed

    def _borrow(self, position: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        return self._buffers[position].borrow(shape, dtype)


def _read(samples: SampleLoader, paths: Sequence[Any], key: Key) -> Loaded:
    return samples.load([paths[i] for i in key])


def _pictures_as_tensors(pictures: dict[int, Array], batch: Array | None) -> dict[int, Tensor]:
    """Return images as tensors (C, H, W), masks as (H, W); those in one array as views of one tensor."""
    if batch is None:
        return {
            i: torch.from_numpy(each if each.ndim == 2 else each.transpose(2, 0, 1)) for i, each in pictures.items()
        }
    rows = torch.from_numpy(batch if batch.ndim == 3 else batch.transpose(0, 3, 1, 2)).unbind()
    return dict(zip(pictures, rows, strict=True))


def as_tensors(targets: Any, name: str = "targets") -> Any:
    """Return targets as ``as_targets`` holds them with arrays of numbers as tensors, which worker processes share.

    Raises TypeError for a dtype that torch has not.
    """
    if isinstance(targets, Fields):
        fields = targets.fields
        if isinstance(fields, dict):
            return Fields({key: as_tensors(field, f"{name}[{key!r}]") for key, field in fields.items()})
        return Fields(tuple(as_tensors(field, f"{name}[{i}]") for i, field in enumerate(fields)))
    if not isinstance(targets, np.ndarray) or not is_numeric(targets):
        return targets
    try:
        return torch.as_tensor(
            targets if targets.flags.writeable else targets.copy()
        )  # torch warns about read-only ones
    except TypeError as exc:
        raise TypeError(f"{name} must be of a dtype that torch has, got {targets.dtype}: {exc}") from None


def take_tensors(targets: Any, indices: Sequence[int]) -> list[Any]:
    """Return the targets of these samples, numbers and arrays of numbers as tensors; none shares memory with the held.

    Rows of a tensor come consecutive in one new tensor. Dicts and the like come as they are, their arrays copied.
    """
    if isinstance(targets, Tensor):
        return list(targets[list(indices)].unbind())
    if isinstance(targets, Fields):
        if isinstance(targets.fields, dict):
            columns = [take_tensors(field, indices) for field in targets.fields.values()]
            return [dict(zip(targets.fields, row, strict=True)) for row in zip(*columns, strict=True)]
        return list(zip(*(take_tensors(field, indices) for field in targets.fields), strict=True))
    return [_as_tensor(copied(targets[index])) for index in indices]


def _as_tensor(target: Any) -> Any:
    return torch.as_tensor(native(target)) if isinstance(target, np.ndarray) and is_numeric(target) else target


class TypedPictures:
    """Transforms of image and target that are told which tensors are images and which masks.

    torchvision's v2 transforms take the first plain tensor for the image and leave others alone: a mask would not be
    flipped with its image. So pictures come as ``torchvision.tv_tensors``, if that is imported, and go as plain ones.
    Picklable if `transforms` is.
    """

    def __init__(self, transforms: Callable[[Any, Any], Any], masks: Sequence[int], has_targets: bool) -> None:
        self._transforms, self._masks, self._has_targets = transforms, masks, has_targets

    def __call__(self, inputs: Any, target: Any) -> Any:
        """Return what the transforms return of an image, or a tuple of pictures, and its target."""
        types = sys.modules.get("torchvision.tv_tensors")
        if types is None:
            return self._transforms(inputs, target)
        pictures = inputs if isinstance(inputs, tuple) else (inputs,)
        if not self._has_targets:
            target = self._typed(types, target, len(pictures))
        typed = tuple(self._typed(types, picture, p) for p, picture in enumerate(pictures))
        result = self._transforms(typed if isinstance(inputs, tuple) else typed[0], target)
        return _plain(types, result)

    def _typed(self, types: Any, picture: Any, position: int) -> Any:
        if type(picture) is not Tensor:
            return picture
        return (types.Mask if position in self._masks else types.Image)(picture)


def _plain(types: Any, value: Any) -> Any:
    """Return images and masks as plain tensors, also within tuples."""
    if isinstance(value, (types.Image, types.Mask)):
        return value.as_subclass(Tensor)
    return tuple(_plain(types, part) for part in value) if type(value) is tuple else value
