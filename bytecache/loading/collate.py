"""Samples of torch tensors made a batch, without a copy if they are rows of one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import default_collate


def collate(samples: Sequence[Any]) -> Any:
    """Return a batch of ImageDataset's samples: images (N, C, H, W) in channels-last memory, and targets (N, ...).

    A ``collate_fn`` that copies nothing if the samples are consecutive in one array, as ImageDataset's are unless its
    transform made new ones; ``default_collate`` transposes all pixels into another memory format. Apart from that the
    results are equal, and anything but tensors and tuples of them is passed to ``default_collate``.
    """
    first = samples[0]
    if isinstance(first, tuple) and not hasattr(first, "_fields"):
        return [collate(parts) for parts in zip(*samples, strict=True)]
    if isinstance(first, Tensor):
        channels_last = first.dim() == 3 and first.permute(1, 2, 0).is_contiguous()
        step, start = first.numel(), int(first.storage_offset())
        consecutive = (_is_at(start + i * step, sample, first) for i, sample in enumerate(samples))
        if (channels_last or first.is_contiguous()) and all(consecutive):
            return first.as_strided((len(samples), *first.shape), (step, *first.stride()), start)
        if channels_last and not first.is_contiguous():
            return default_collate([sample.permute(1, 2, 0) for sample in samples]).permute(0, 3, 1, 2)
    return default_collate(samples)  # type: ignore[arg-type]  # it accepts any sequence


def _is_at(offset: int, sample: Tensor, first: Tensor) -> bool:
    """Return whether a sample is at this offset of the first one's memory, in the same layout."""
    return (
        sample.storage_offset() == offset
        and sample.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        and (sample.dtype, sample.shape, sample.stride()) == (first.dtype, first.shape, first.stride())
    )
