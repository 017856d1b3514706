"""Samples of torch tensors made a batch, without a copy if they are rows of one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import default_collate

from ..images.arrays import is_numeric


def collate(samples: Sequence[Any]) -> Any:
    """Return a batch of ImageDataset's samples: images (N, C, H, W) in channels-last memory, and targets (N, ...).

    A ``collate_fn`` that copies nothing if the samples are consecutive in one array, as ImageDataset's are unless its
    transform made new ones; ``default_collate`` transposes all pixels into another memory format. Tuples, and dicts of
    the same keys, are batched field by field. What has no common shape, such as the boxes of each image, is the list of
    the samples' own, as are lists, None, and ints beyond int64. Of tensors, arrays, numbers, strings, and tuples and
    dicts of them, the results are equal to those of ``default_collate``, which also gets objects of any other class.
    """
    first = samples[0]
    if isinstance(first, tuple) and _same_length(samples):
        parts = [collate(part) for part in zip(*samples, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else parts
    if type(first) is dict and all(type(sample) is dict and sample.keys() == first.keys() for sample in samples):
        return {key: collate([sample[key] for sample in samples]) for key in first}
    if isinstance(first, Tensor) and _same_shape(samples, Tensor):
        return _collate_tensors(samples, first)
    if _is_batchable(samples, first):
        return default_collate(samples)  # type: ignore[arg-type]  # it accepts any sequence
    return list(samples)


def _is_batchable(samples: Sequence[Any], first: Any) -> bool:
    if isinstance(first, np.ndarray):
        return is_numeric(first) and _same_shape(samples, np.ndarray)
    if isinstance(first, (int, float, np.number, np.bool_)):
        return all(map(_is_number, samples))
    if isinstance(first, (str, bytes)):
        return True
    # Not a list: of labels or boxes, whose number differs, it would be transposed wherever that number is the same.
    return not isinstance(first, (Tensor, tuple, dict, list, np.generic, type(None)))


def _is_number(sample: Any) -> bool:
    """Return whether torch has a dtype for this number."""
    if isinstance(sample, int):
        return -(2**63) <= sample < 2**63
    return isinstance(sample, (float, np.number, np.bool_))


def _same_length(samples: Sequence[Any]) -> bool:
    return all(isinstance(sample, tuple) and len(sample) == len(samples[0]) for sample in samples)


def _same_shape(samples: Sequence[Any], kind: Any) -> bool:
    return all(isinstance(sample, kind) and sample.shape == samples[0].shape for sample in samples)


def _collate_tensors(samples: Sequence[Any], first: Tensor) -> Tensor:
    channels_last = first.dim() == 3 and first.permute(1, 2, 0).is_contiguous()
    step, start = first.numel(), int(first.storage_offset())
    consecutive = (_is_at(start + i * step, sample, first) for i, sample in enumerate(samples))
    if (channels_last or first.is_contiguous()) and all(consecutive):
        return first.as_strided((len(samples), *first.shape), (step, *first.stride()), start)
    if channels_last and not first.is_contiguous():
        batch: Tensor = default_collate([sample.permute(1, 2, 0) for sample in samples])
        return batch.permute(0, 3, 1, 2)
    return default_collate(samples)  # type: ignore[no-any-return, arg-type]


def _is_at(offset: int, sample: Tensor, first: Tensor) -> bool:
    """Return whether a sample is at this offset of the first one's memory, in the same layout."""
    return (
        sample.storage_offset() == offset
        and sample.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        and (sample.dtype, sample.shape, sample.stride()) == (first.dtype, first.shape, first.stride())
    )
