"""``train_torch``: the job of ``train`` in plain PyTorch, in one process, with worker processes, or on several ranks.

    python -m integrations.fish_count train_torch --data fish --out run --workers 2
    torchrun --nproc-per-node 2 -m integrations.fish_count train_torch --data fish --out run

Read from ``run`` downward: the files, the cached read function, the data set, the epochs, the report. All processes,
workers and ranks alike, read through one cache. Each rank learns from its share of every batch; rank 0 validates,
prints, and writes the files. With equal options the losses are equal to the last bit, whatever the cache does.
"""

from __future__ import annotations

import argparse
import functools
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

import bytecache
from bytecache.torch import CacheReport, EpochSampler, ImageDataset, SampleError, collate

from . import job
from .data import Split, find_images, image_size, reader, split_images
from .model_torch import FishCount
from .problem import Problem
from .state_torch import History, epochs_since_best, load, save

RANK, WORLD = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))  # torchrun sets them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``train_torch`` to its parser."""
    job.add_options(parser, ["fill_once", "none"], 0, "processes")
    add = parser.add_argument
    add("--start-method", choices=["fork", "spawn", "forkserver"], help="of these processes (default: Python's)")
    add("--store", type=Path, metavar="DIR", help="keep the cache there, for the next run to start with")


def run(args: argparse.Namespace) -> None:
    """Trains and writes RUN/: model.pt, last.pt, history.csv, summary.json, report.png."""
    try:
        count_fish(args)
    except SampleError as error:  # also from a worker process
        remedy = "remove the file, make it anew, or give --size HxW for other sizes"
        raise Problem(f"{error.path}: {error.reason}; {remedy}") from None
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # one is enough
        if RANK == 0:
            print(f"\nstopped: {args.out} holds the epochs that are done, --resume goes on", file=sys.stderr)
        raise SystemExit(130) from None


def count_fish(args: argparse.Namespace) -> None:
    """The whole job of one rank."""
    with rank_0_first():
        check(args)
        train, val, test = split_images(find_images(args.data), args.seed)
        size = job.parse_size(args.size) or image_size(train.paths[0])
        training_bytes = train.nbytes  # asks the file system for each file: once is enough
        read_train = cached(reader(args.storage_ms), args, training_bytes)
        if RANK == 0:
            history = job.open_out(args, "last.pt")
        else:
            history = job.read_history(args.out) if args.resume else []
    read_other = bytecache.fill_once(maxsize=0)(reader(args.storage_ms))  # counted apart, takes none of the budget
    budget = 0 if args.cache == "none" else read_train.cache_stats().maxbytes
    summary = job.introduce(args, (train, val, test), budget, training_bytes) if RANK == 0 else {}
    before = read_train.cache_stats(scope="all")  # a store that is kept has the figures of earlier runs, too

    make_deterministic(args.seed)
    net = FishCount(float(train.counts.mean())).to(memory_format=torch.channels_last)
    data = dataset(train, read_train, args, size), dataset(val, read_other, args, size)
    fit(args, net, data, (read_train, read_other), history, summary)
    if RANK == 0:
        summary["history"] = history
        summary["cache_stats"] = vars(read_train.cache_stats(scope="all") - before)
        load(args.out / "model.pt", net=net)
        answers, _ = answer(net, dataset(test, read_other, args, size), args.batch_size)
        job.conclude(args, (train, test), answers.numpy(), summary, {"torch": torch.__version__})


def make_deterministic(seed: int) -> None:
    """Equal options give equal bits, of which the number of threads is one: it decides the order of additions."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))


@contextmanager
def rank_0_first() -> Iterator[None]:
    """Rank 0 runs the body, then the others do; where it finds a problem it says so alone, and torchrun ends all."""
    if RANK > 0:
        join()  # waits for rank 0
    yield
    if RANK == 0 and WORLD > 1:
        join()


def join() -> None:
    # DistributedDataParallel would import it later, with the group as a default of its functions, which keep it alive;
    # threads of a group that outlive the interpreter hang or abort it (pytorch issues 56297 and 190489).
    import torch.distributed.nn  # noqa: F401

    dist.init_process_group("gloo")


def check(args: argparse.Namespace) -> None:
    """Raises Problem for options that no run can have."""
    job.check_options(args, least_workers=0)
    if args.batch_size % WORLD:
        raise Problem(f"--batch-size must be a multiple of the {WORLD} ranks that share a batch, got {args.batch_size}")
    if args.store and args.cache == "none":
        raise Problem("--store keeps what --cache fill_once holds; --cache none holds nothing: leave one of them out")


def cached(read: Any, args: argparse.Namespace, training_bytes: int) -> Any:
    """The read function behind one cache for all processes of the machine."""
    maxbytes = job.parse_budget(args.maxbytes, training_bytes)
    try:
        if args.cache == "none":
            return bytecache.fill_once(0, shared=True, maxbytes=1)(read)  # keeps nothing, counts all the same
        if args.store is None:
            return bytecache.fill_once(shared=True, maxbytes=maxbytes)(read)
        store = bytecache.SharedStore(args.store, maxbytes=maxbytes)
    except (OSError, ValueError) as error:
        raise Problem(f"the cache cannot be made: {error}; --store DIR names a folder on a local disk") from None
    # The next run may find other pictures under the same names.
    return bytecache.fill_once(store=store, key=bytecache.file_key, version="JPEG")(read)


def dataset(split: Split, read: Any, args: argparse.Namespace, size: tuple[int, int]) -> ImageDataset:
    """Samples of an image, uint8 (3, h, w), and its count, float32 (); all of one size, resized only where asked."""
    one_size = functools.partial(check_size, size)
    return ImageDataset(split.paths, split.counts, load=read, size=job.parse_size(args.size), transform=one_size)


def check_size(size: tuple[int, int], image: Tensor) -> Tensor:
    if image.shape[1:] != size:
        raise ValueError(f"the picture is {'x'.join(map(str, image.shape[1:]))}, others are {'x'.join(map(str, size))}")
    return image


def fit(
    args: argparse.Namespace, net: FishCount, data: tuple[ImageDataset, ImageDataset], reads: tuple[Any, Any],
    history: History, summary: dict[str, Any],
) -> None:  # fmt: skip
    """Trains `net`; adds a row per epoch to `history`, and to history.csv."""
    (train_set, val_set), (read_train, read_val) = data, reads
    optimizer = torch.optim.Adam(net.parameters())
    if history:
        load(args.out / "last.pt", net=net, optimizer=optimizer)
    sampler = EpochSampler(len(train_set), seed=args.seed, rank=RANK, world=WORLD)
    loader = DataLoader(
        train_set, args.batch_size // WORLD, sampler=sampler, collate_fn=collate, num_workers=args.workers,
        persistent_workers=args.workers > 0, worker_init_fn=ignore_ctrl_c,
        multiprocessing_context=args.start_method if args.workers else None,
        generator=torch.Generator(),  # leaves the global one to the flips
    )  # fmt: skip
    report, val_report = CacheReport(read_train), CacheReport(read_val)
    model = DistributedDataParallel(net) if WORLD > 1 else net  # no rank reads before all have come here
    for epoch in range(len(history), args.epochs):
        sampler.set_epoch(epoch)
        started = time.perf_counter()
        loss, mae = train_epoch(args, epoch, model, optimizer, loader)
        images_per_s = len(train_set) / (time.perf_counter() - started)
        if RANK == 0:
            row = {"epoch": epoch, **report.epoch(), "images_per_s": images_per_s, "loss": loss, "mae": mae}
            row |= validate(net, val_set, args.batch_size)
            row |= {"val_reads": val_report.epoch()["reads"], "storage_ms": args.storage_ms}
            history.append(row)
            save(args.out, history, net=net, optimizer=optimizer)
            print(job.epoch_line(epoch, args.epochs, row, summary["predicted_hit_rate"]), flush=True)
        if rank_0_says(epochs_since_best(history) >= job.PATIENCE):
            break
    if WORLD > 1:
        del model  # which holds the group, too
        dist.destroy_process_group()


def train_epoch(
    args: argparse.Namespace, epoch: int, model: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader
) -> tuple[float, float]:
    """One pass over the data; returns loss and mean absolute error, means over all ranks' samples."""
    for group in optimizer.param_groups:
        group["lr"] = job.learning_rate(epoch, args.epochs)
    torch.manual_seed(int(np.random.SeedSequence((args.seed, epoch, RANK)).generate_state(1)[0]))  # for the flips
    model.train()
    sums = torch.zeros(3, dtype=torch.float64)  # of losses, of absolute errors, and the number of samples
    for images, counts in loader:  # uint8 (n, 3, h, w), float32 (n,)
        answers = model(images)  # (n,)
        loss = nn.functional.huber_loss(answers, counts)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        n, mae = len(counts), nn.functional.l1_loss(answers.detach(), counts)
        sums += torch.tensor([n * loss.item(), n * mae.item(), n], dtype=sums.dtype)
    if WORLD > 1:
        dist.all_reduce(sums)  # and no rank goes on before all are here
    return float(sums[0] / sums[2]), float(sums[1] / sums[2])


def validate(net: FishCount, data: ImageDataset, batch_size: int) -> dict[str, float]:
    """Loss and mean absolute error of the network as it is."""
    answers, counts = answer(net, data, batch_size)
    huber, l1 = nn.functional.huber_loss(answers, counts), nn.functional.l1_loss(answers, counts)
    return {"val_loss": huber.item(), "val_mae": l1.item()}


@torch.no_grad()
def answer(net: FishCount, data: ImageDataset, batch_size: int) -> tuple[Tensor, Tensor]:
    """What the network says to each picture, and the true counts: float32 (n,) both."""
    net.eval()
    batches = [(net(images), counts) for images, counts in DataLoader(data, batch_size, collate_fn=collate)]
    answers, counts = zip(*batches, strict=True)
    return torch.cat(answers), torch.cat(counts)


def rank_0_says(yes: bool) -> bool:
    """The same answer on all ranks, which wait for it."""
    said = torch.tensor(yes)
    if WORLD > 1:
        dist.broadcast(said, 0)
    return bool(said)


def ignore_ctrl_c(worker: int) -> None:
    """In a worker process, which also gets what is typed: the main process ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
