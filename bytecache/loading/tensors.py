"""Targets as torch tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .targets import Fields, copied


def as_tensors(targets: Any, name: str = "targets") -> Any:
    """Return targets as ``as_targets`` holds them with arrays of numbers as tensors, which worker processes share.

    Raises TypeError for a dtype that torch has not.
    """
    if isinstance(targets, Fields):
        fields = targets.fields
        if isinstance(fields, dict):
            return Fields({key: as_tensors(field, f"{name}[{key!r}]") for key, field in fields.items()})
        return Fields(tuple(as_tensors(field, f"{name}[{i}]") for i, field in enumerate(fields)))
    if not isinstance(targets, np.ndarray) or targets.dtype.kind not in "biufc":
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
    return torch.as_tensor(target) if isinstance(target, np.ndarray) and target.dtype.kind in "biufc" else target
