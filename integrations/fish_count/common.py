"""What ``train`` and ``train_torch`` have in common: options, the run's folder, schedule, printed lines, results."""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import bytecache

from .data import Split, read_file, read_remote, storage_note
from .errors import UserError
from .requirements import require
from .skipped import read_skipped
from .storage import Storage, remote_storage

LEARNING_RATE = 3e-3
History = list[dict[str, float]]  # a row of metrics per epoch
BAD_IMAGE_REMEDY = "remove or replace the file, pass --size HxW if sizes differ, or --on-error skip to leave it out"
PATIENCE = 6  # epochs without a better val_mae after which training stops


def check_options(args: argparse.Namespace, min_workers: int = 1) -> None:
    """Raise UserError if an option is not valid."""
    for name, minimum in (("epochs", 1), ("batch_size", 1), ("workers", min_workers), ("seed", 0), ("parallel", 1)):
        if getattr(args, name) < minimum:
            raise UserError(f"--{name.replace('_', '-')} must be {minimum} or more, got {getattr(args, name)}")
    if args.read_ahead is not None and args.read_ahead < 0:
        raise UserError(f"--read-ahead must be 0 or more, got {args.read_ahead}")
    if not 0 <= args.latency_ms < 10_000:
        raise UserError(f"--latency-ms must be at least 0 and below 10000, got {args.latency_ms}")
    if args.latency_ms:
        require("bytecache.http")
    if args.remote:
        args.remote = open_remote(args)
    parse_size(args.size)


def open_remote(args: argparse.Namespace) -> bytecache.RemoteStore:
    """Return the store at --remote, which as a text has no password, unlike the URL."""
    if args.cache != "fill_once":
        raise UserError(f"--remote is for --cache fill_once, got --cache {args.cache}: leave one of them out")
    try:
        return bytecache.RemoteStore(args.remote)
    except (ImportError, TypeError, ValueError) as error:
        raise UserError(f"--remote: {error}") from None


@contextmanager
def open_storage(args: argparse.Namespace) -> Iterator[Storage]:
    """Give what to read from: the folder, or a server that runs meanwhile."""
    if args.latency_ms:
        with remote_storage(args.data, args.latency_ms, args.parallel) as traffic:
            yield Storage(read_remote, True, traffic)
    else:
        yield Storage(read_file, False)


@contextmanager
def run_folder(args: argparse.Namespace, checkpoint: str) -> Iterator[History]:
    """Create RUN/ and give an empty history; with --resume give that of the run in it.

    checkpoint: the name of the file from which a run is resumed. A run that fails before it has one leaves nothing.
    """
    options = {name: str(getattr(args, name)) for name in ("data", "seed", "size", "batch_size")}
    if args.resume:
        yield _resumed_history(args, checkpoint, options)
        return
    existed = args.out.exists()
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        in_use = any(args.out.iterdir())
        if not in_use:
            (args.out / "options.json").write_text(json.dumps(options, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {args.out} must be a writable folder: {error}") from None
    if in_use:
        raise UserError(f"--out {args.out} is not empty: choose another folder, remove this one, or add --resume")
    try:
        yield []
    finally:
        if not (args.out / checkpoint).exists():
            shutil.rmtree(args.out, ignore_errors=True)
            if existed:
                args.out.mkdir(exist_ok=True)


def _resumed_history(args: argparse.Namespace, checkpoint: str, options: dict[str, str]) -> History:
    """Return the history so far, or raise UserError if the run does not continue with these options.

    options: those that decide the split and the order.
    """
    try:
        original = json.loads((args.out / "options.json").read_text(encoding="utf-8"))
        history = read_history(args.out)
    except (OSError, ValueError):
        original, history = None, []
    if not history or not (args.out / checkpoint).is_file():
        raise UserError(f"--resume needs a run that has finished an epoch, {args.out} does not contain one")
    changed = [f"--{name.replace('_', '-')} {original[name]}" for name in options if original[name] != options[name]]
    if changed:
        raise UserError(
            f"--resume: the run in {args.out} was started with {', '.join(changed)}: use the same, or a new --out"
        )
    if len(history) >= args.epochs:
        raise UserError(f"--resume: the run in {args.out} already has {len(history)} epochs: use a larger --epochs")
    return history


def read_history(out: Path) -> History:
    """Return the rows of history.csv, one per epoch."""
    with open(out / "history.csv", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Return (height, width) for "HxW", None for None."""
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d*)[xX]([1-9]\d*)", text)
    if match is None or min(int(match[1]), int(match[2])) < 16:
        raise UserError(f"--size must be HEIGHTxWIDTH in pixels, at least 16x16, such as 256x256, got {text!r}")
    return int(match[1]), int(match[2])


def parse_budget(text: str, training_bytes: int) -> int | str:
    """Return what ``maxbytes=`` takes for --maxbytes, which may be a percentage of the training data."""
    percentage = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*of\s+data\s*", text)
    maxbytes: int | str = int(text) if text.isdigit() else text
    if percentage:
        maxbytes = int(training_bytes * float(percentage[1]) / 100)
    try:
        bytecache.fill_once(maxbytes=maxbytes)  # checks the size, creates no cache yet
    except ValueError as error:
        raise UserError(f'--{error}; a part of the training files is written "50% of data"') from None
    return maxbytes


def start_summary(
    args: argparse.Namespace, splits: tuple[Split, Split, Split], maxbytes: int, training_bytes: int
) -> dict[str, Any]:
    """Print what is read through which cache; return the first entries of the summary."""
    train, val, test = splits
    fraction, note = maxbytes / training_bytes, storage_note(args.latency_ms, args.parallel)
    share = "all" if fraction >= 1 else f"{fraction:.3f}"
    print(
        f"{len(train.paths)} training images, {training_bytes:,} bytes; {len(val.paths)} for validation, "
        f"{len(test.paths)} for test; cache {args.cache}, {maxbytes:,} bytes = {share} of the training data"
        + (f", over {args.remote}" if args.remote else "")
        + (f"; read {note}" if note else ""),
        flush=True,
    )
    # What auto keeps follows from what reading and decoding cost, which is known later: its plan is printed then. How
    # much other machines have room for nobody knows.
    unknown = args.cache == "auto" or args.remote
    predicted = None if unknown else bytecache.predict_hit_rate(args.cache, fraction)
    return {"maxbytes": maxbytes, "training_bytes": training_bytes, "predicted_hit_rate": predicted}


def learning_rate(epoch: int, epochs: int) -> float:
    """Return the learning rate of an epoch, a function of it alone: half a cosine from LEARNING_RATE to nearly 0."""
    progress = min(1.0, epoch / epochs)
    return LEARNING_RATE * (0.02 + 0.98 * (1 + math.cos(math.pi * progress)) / 2)


def epoch_line(epoch: int, epochs: int, logs: dict[str, float], predicted_hit_rate: float | None) -> str:
    """Format an epoch's metrics for the screen; `epoch` counts from 0.

    predicted_hit_rate: None in the first epoch of a run, which fills the cache.
    """
    predicted = "" if predicted_hit_rate is None else f"(predicted {predicted_hit_rate:.3f})"
    return (
        f"epoch {epoch + 1:>2}/{epochs}  loss {logs['loss']:6.3f}  val MAE {logs['val_mae']:6.3f}  "
        f"hit rate {logs['hit_rate']:.3f} {predicted:<17}  "
        f"{logs['epoch_s']:5.1f} s: model {logs['model_s']:.1f}, reading {logs['reading_s']:.1f}, "
        f"decoding {logs['decoding_s']:.1f}"
    )


def add_cache_stats(summary: dict[str, Any], hosts: Sequence[bytecache.CacheStats]) -> None:
    """Write into the summary what the caches of all hosts did, and the hits of each tier, if there are several."""
    first, *others = hosts
    summary["cache_stats"], summary["other_hosts"] = asdict(first), [asdict(host) for host in others]
    of_tiers = list(zip(*(host.tiers for host in hosts), strict=True))
    summary["tier_hits"] = {tiers[0].name: sum(tier.hits for tier in tiers) for tiers in of_tiers}
    if of_tiers:
        found = ", ".join(f"{name} {hits:,}" for name, hits in summary["tier_hits"].items())
        print(f"hits: {found}; misses, read from storage: {sum(host.misses for host in hosts):,}", flush=True)


def write_results(
    args: argparse.Namespace, train: Split, predictions: np.ndarray, counts: np.ndarray, summary: dict[str, Any],
    framework: dict[str, str],
) -> None:  # fmt: skip
    """Write and print how good the predictions for the test images are, compared with the training median.

    predictions, counts: what the model says and what is true, float32 (n,) both.
    """
    from .report import write_report

    median = float(np.median(train.counts))
    skipped = read_skipped(args.out)
    summary |= {
        "test_mae": float(np.abs(predictions - counts).mean()),
        "median_mae": float(np.abs(median - counts).mean()),
        "skipped": {"files": len(skipped), "reasons": skipped},
        "options": {name: str(value) for name, value in vars(args).items()},
        "versions": {"bytecache": bytecache.__version__, **framework, "numpy": np.__version__},
    }
    write_report(args.out, summary, predictions, counts)
    if skipped:
        print(f"{len(skipped)} bad images were left out: {args.out}/summary.json lists them with the reasons")
    print(
        f"test MAE {summary['test_mae']:.3f}; always predicting the training median, {median:g}: "
        f"{summary['median_mae']:.3f}; results in {args.out}/"
    )
