"""``train_torch``: what ``train`` does in plain PyTorch, in one process, with worker processes, or on several ranks.

    python -m integrations.fish_count train_torch --data fish --out run --workers 2
    torchrun --nproc-per-node 2 -m integrations.fish_count train_torch --data fish --out run

Read from ``run`` downward: the files, the cached read function, the data set, the epochs, the report. All processes of
a host, workers and ranks alike, read through one cache, and with ``--remote`` those of all hosts. Each rank trains on
its part of every batch; rank 0 validates, prints, and writes the files. Equal options give losses that are equal to the
last bit, whatever the cache does.
"""

from __future__ import annotations

import argparse
import functools
import os
import signal
import sys
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from bytecache.torch import CacheReport, EpochSampler, ImageDataset, SampleError, collate

from . import caches, common
from .checkpoint_torch import epochs_since_best, load, save
from .common import History
from .data import Split, find_images, image_size, split_images
from .errors import UserError
from .model_torch import FishCount
from .ranks import (
    IS_FIRST_OF_HOST,
    RANK,
    WORLD,
    end_process_group,
    of_all_hosts,
    of_all_ranks,
    rank_0_decides,
    rank_0_first,
)
from .seconds import EpochClock
from .skipped import record_skipped
from .storage import of_all_servers


def run(args: argparse.Namespace) -> None:
    """Train, and write RUN/: model.pt, last.pt, history.csv, summary.json, report.png."""
    try:
        with ExitStack() as stack:
            train(args, stack)
    except SampleError as error:  # also from a worker process
        raise UserError(f"{error.path}: {error.reason}; {common.BAD_IMAGE_REMEDY}") from None
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # one is enough
        if RANK == 0:
            resumable = (args.out / "last.pt").exists()
            left = "has the finished epochs, --resume continues after them" if resumable else "is not left behind"
            print(f"\nstopped: {args.out} {left}", file=sys.stderr)
        raise SystemExit(130) from None


def train(args: argparse.Namespace, stack: ExitStack) -> None:
    """Do everything that one rank does, from the files to the report; `stack` ends what it begins."""
    with rank_0_first():
        check_options(args)
        splits = train_split, val_split, test_split = split_images(find_images(args.data), args.seed)
        size = common.parse_size(args.size) or image_size(train_split.paths, args.on_error)
        training_bytes = train_split.nbytes  # asks for each file's size: once is enough
        storage = stack.enter_context(common.open_storage(args))
        train_set = make_dataset(train_split, args, size, **caches.of_all_processes(storage, args, training_bytes))
        read_train = train_set.load
        if RANK == 0:
            history = stack.enter_context(common.run_folder(args, "last.pt"))
        else:
            history = common.read_history(args.out) if args.resume else []
    if args.on_error == "skip":
        record_skipped(args.out)
    # Has its own counters and takes none of the budget.
    read_other = caches.counted(storage)
    maxbytes = 0 if args.cache == "none" else caches.budget(read_train)
    summary = common.start_summary(args, splits, maxbytes, training_bytes) if RANK == 0 else {}
    before = read_train.cache_stats(scope="all")  # a persistent store also counts earlier runs

    make_deterministic(args.seed)
    net = FishCount(float(train_split.counts.mean())).to(memory_format=torch.channels_last)
    data = train_set, make_dataset(val_split, args, size, load=read_other)
    fit(args, net, size, data, EpochClock(storage.now), history, summary)
    of_ranks = of_all_ranks((IS_FIRST_OF_HOST, read_train.cache_stats(scope="all") - before, storage.summary()))
    end_process_group()
    if RANK == 0:
        common.add_cache_stats(summary, [stats for is_first, stats, _ in of_ranks if is_first])
        summary["storage"] = of_all_servers([counted for *_, counted in of_ranks])
        summary["history"] = history
        load(args.out / "model.pt", net=net)
        predictions, counts = predict(net, make_dataset(test_split, args, size, load=read_other), args.batch_size)
        common.write_results(
            args, train_split, predictions.numpy(), counts.numpy(), summary, {"torch": torch.__version__}
        )


def make_deterministic(seed: int) -> None:
    """Make equal options give equal bits; the number of threads matters too: it decides the order of additions."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))


def check_options(args: argparse.Namespace) -> None:
    """Raise UserError if an option is not valid."""
    common.check_options(args, min_workers=0)
    if WORLD > 1 and "LOCAL_RANK" not in os.environ:
        raise UserError(
            f"the launcher of {WORLD} ranks must set LOCAL_RANK, the number of a rank on its host, as torchrun does: "
            "without it each rank counts the cache of its host"
        )
    if args.batch_size % WORLD:
        raise UserError(f"--batch-size must be a multiple of the number of ranks, {WORLD}, got {args.batch_size}")
    if args.store and args.cache != "fill_once":
        why = "stores nothing" if args.cache == "none" else "does not see that a file has changed since the last run"
        raise UserError(f"--store is for --cache fill_once, but --cache {args.cache} {why}: leave one of them out")


def make_dataset(split: Split, args: argparse.Namespace, size: tuple[int, int], **caching: Any) -> ImageDataset:
    """Return samples of an image, uint8 (3, h, w), and its count, float32 (); resized only if --size is given."""
    same_size = functools.partial(check_size, size)
    return ImageDataset(
        split.paths, split.counts, size=common.parse_size(args.size), transform=same_size, on_error=args.on_error,
        read_ahead=args.read_ahead, **caching,
    )  # fmt: skip


def check_size(size: tuple[int, int], image: Tensor) -> Tensor:
    """Return the image, or raise ValueError if its (height, width) is not `size`."""
    if image.shape[1:] != size:
        expected, actual = ("x".join(map(str, sides)) for sides in (size, image.shape[1:]))
        raise ValueError(f"all images must have one size, the first is {expected}, this one {actual}")
    return image


def fit(
    args: argparse.Namespace, net: FishCount, size: tuple[int, int], data: tuple[ImageDataset, ImageDataset],
    clock: EpochClock, history: History, summary: dict[str, Any],
) -> None:  # fmt: skip
    """Train `net`; append a row per epoch to `history` and to history.csv."""
    train_set, val_set = data
    optimizer = torch.optim.Adam(net.parameters())
    if history:
        load(args.out / "last.pt", net=net, optimizer=optimizer)
    sampler = EpochSampler(train_set, seed=args.seed, rank=RANK, world=WORLD)
    loader = DataLoader(
        train_set, args.batch_size // WORLD, sampler=sampler, collate_fn=collate, num_workers=args.workers,
        persistent_workers=args.workers > 0, worker_init_fn=functools.partial(start_worker, args),
        multiprocessing_context=args.start_method if args.workers else None,
        generator=torch.Generator(),  # leaves the global generator to the flips
    )  # fmt: skip
    report, val_report = CacheReport(train_set.load), CacheReport(val_set.load)
    model = DistributedDataParallel(net) if WORLD > 1 else net  # no rank reads before all are here
    first_epoch = len(history)
    for epoch in range(first_epoch, args.epochs):
        sampler.set_epoch(epoch)
        loss, mae = train_epoch(args, epoch, model, optimizer, loader, clock)
        seconds, counted = clock.end_epoch(), of_all_hosts(report.end_epoch())
        if RANK == 0:
            row = {"epoch": epoch, **counted, **seconds, "loss": loss, "mae": mae}
            row |= {"images_per_s": len(train_set) / seconds["epoch_s"], "latency_ms": args.latency_ms}
            row |= validate(net, val_set, args.batch_size)
            row |= {"val_misses": val_report.end_epoch()["misses"]}
            history.append(row)
            save(args.out, history, size, net=net, optimizer=optimizer)
            predicted = None if epoch == first_epoch else summary["predicted_hit_rate"]
            print(common.epoch_line(epoch, args.epochs, row, predicted), flush=True)
        if rank_0_decides(epochs_since_best(history) >= common.PATIENCE):
            break


def train_epoch(
    args: argparse.Namespace, epoch: int, model: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader,
    clock: EpochClock,
) -> tuple[float, float]:  # fmt: skip
    """Train for one epoch; return loss and mean absolute error, means over the samples of all ranks."""
    for group in optimizer.param_groups:
        group["lr"] = common.learning_rate(epoch, args.epochs)
    torch.manual_seed(int(np.random.SeedSequence((args.seed, epoch, RANK)).generate_state(1)[0]))  # for the flips
    model.train()
    sums = torch.zeros(3, dtype=torch.float64)  # of losses, of absolute errors, and the number of samples
    requested = clock.begin_epoch()
    for images, counts in loader:  # uint8 (n, 3, h, w), float32 (n,)
        clock.batch_ready(requested)
        predictions = model(images)  # (n,)
        loss = nn.functional.huber_loss(predictions, counts)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        n, mae = len(counts), nn.functional.l1_loss(predictions.detach(), counts)
        sums += torch.tensor([n * loss.item(), n * mae.item(), n], dtype=sums.dtype)
        requested = clock.batch_used()
    if WORLD > 1:
        dist.all_reduce(sums)  # also a barrier: no rank continues before all are here
    return float(sums[0] / sums[2]), float(sums[1] / sums[2])


def validate(net: FishCount, data: ImageDataset, batch_size: int) -> dict[str, float]:
    """Return loss and mean absolute error on the validation data."""
    predictions, counts = predict(net, data, batch_size)
    huber, l1 = nn.functional.huber_loss(predictions, counts), nn.functional.l1_loss(predictions, counts)
    return {"val_loss": huber.item(), "val_mae": l1.item()}


@torch.no_grad()
def predict(net: FishCount, data: ImageDataset, batch_size: int) -> tuple[Tensor, Tensor]:
    """Return the predicted and the true counts: float32 (n,) both."""
    net.eval()
    batches = [(net(images), counts) for images, counts in DataLoader(data, batch_size, collate_fn=collate)]
    predictions, counts = zip(*batches, strict=True)
    return torch.cat(predictions), torch.cat(counts)


def start_worker(args: argparse.Namespace, worker: int) -> None:
    """Prepare a worker process: Ctrl-C, which the terminal also sends it, is left to the main process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if args.on_error == "skip":
        record_skipped(args.out)
