"""The ranks that a launcher such as torchrun has started together, on one host or several, and what they exchange."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

RANK, WORLD = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))  # torchrun sets them
IS_FIRST_OF_HOST = os.environ.get("LOCAL_RANK", "0") == "0"  # its counters of the cache are those of all of the host


@contextmanager
def rank_0_first() -> Iterator[None]:
    """Run the body on rank 0, then on the others: an error is reported by rank 0 alone, and torchrun stops them all."""
    if RANK > 0:
        join_process_group()  # waits for rank 0
    yield
    if RANK == 0 and WORLD > 1:
        join_process_group()


def join_process_group() -> None:
    """Join the group of all ranks, and wait until they all have."""
    # DistributedDataParallel would import it later, with the group as a default argument of its functions, which keeps
    # the group alive; threads of a group that outlive the interpreter hang or abort it (pytorch issues 56297, 190489).
    import torch.distributed.nn  # noqa: F401

    dist.init_process_group("gloo")


def end_process_group() -> None:
    """Leave the group of all ranks."""
    if WORLD > 1:
        # The model of the epochs, which also refers to the group, is part of a cycle. Now: a collection later would end
        # the group's threads while they may wait for Python's lock.
        gc.collect()
        dist.destroy_process_group()


def of_all_hosts(counted: dict[str, float]) -> dict[str, float]:
    """Return the counters of an epoch, which are those of a host, with the calls and seconds of all hosts."""
    names = "hits", "misses", "load_s"
    sums = torch.tensor([counted[name] for name in names], dtype=torch.float64) * IS_FIRST_OF_HOST
    if WORLD > 1:
        dist.all_reduce(sums)  # also a barrier: no rank begins an epoch before all hosts have counted this one
    hits, misses, load_s = sums.tolist()
    return counted | {
        "hits": int(hits), "misses": int(misses), "load_s": load_s, "hit_rate": hits / max(1, hits + misses)
    }  # fmt: skip


def of_all_ranks(value: Any) -> list[Any]:
    """Return the values of all ranks, in their order."""
    values = [value] * WORLD
    if WORLD > 1:
        dist.all_gather_object(values, value)
    return values


def rank_0_decides(value: bool) -> bool:
    """Return rank 0's value on all ranks, which wait for it."""
    decision = torch.tensor(value)
    if WORLD > 1:
        dist.broadcast(decision, 0)
    return bool(decision)
