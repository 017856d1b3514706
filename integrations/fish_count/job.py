"""What ``train`` and ``train_torch`` have in common: options, the run's folder, the words and figures of a run."""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

import bytecache

from .data import Split, check_storage_ms
from .problem import Problem

LEARNING_RATE = 3e-3
PATIENCE = 6  # epochs without a better val_mae, after which training ends


def add_options(parser: argparse.ArgumentParser, caches: list[str], workers: int, workers_are: str) -> None:
    """Adds the options that every trainer has to its parser."""
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="pictures DIR/COUNT/NAME.jpg, as make_data writes them")
    add("--out", type=Path, required=True, metavar="RUN", help="folder for the model, the history and the report")
    add("--cache", choices=caches, default="fill_once", help="how reads are cached (%(default)s)")
    add("--maxbytes", default="50%", metavar="SIZE",
        help='budget of the cache: "2 GiB", "50%%" of the free memory, "50%% of data" (%(default)s)')  # fmt: skip
    add("--epochs", type=int, default=10, metavar="N", help="most epochs (%(default)s)")
    add("--batch-size", type=int, default=32, metavar="B", help="images per step (%(default)s)")
    add("--size", metavar="HxW", help="resize pictures to this height and width in pixels (default: as they are)")
    add("--seed", type=int, default=0, metavar="S", help="of the split, the order and the weights (%(default)s)")
    add(
        "--workers", type=int, default=workers, metavar="W", help=f"{workers_are} that make batches ahead (%(default)s)"
    )
    add("--storage-ms", type=float, default=0, metavar="MS", help="delay each read, to stand for remote storage")
    add("--resume", action="store_true", help="go on with the run in RUN after its last epoch")


def check_options(args: argparse.Namespace, least_workers: int = 1) -> None:
    """Raises Problem for options that no run can have."""
    for name, least in (("epochs", 1), ("batch_size", 1), ("workers", least_workers), ("seed", 0)):
        if getattr(args, name) < least:
            raise Problem(f"--{name.replace('_', '-')} must be {least} or more, got {getattr(args, name)}")
    check_storage_ms(args.storage_ms)
    parse_size(args.size)


def open_out(args: argparse.Namespace, last: str) -> list[dict[str, float]]:
    """Makes RUN/; returns the history of the run that is to go on from the file `last`, empty for a new one."""
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        in_use = any(args.out.iterdir())
    except OSError as error:
        raise Problem(f"--out {args.out} must be a folder that can be written: {error}") from None
    same = {name: str(getattr(args, name)) for name in ("data", "seed", "size", "batch_size")}
    if not args.resume:
        if in_use:
            raise Problem(f"--out {args.out} is in use: choose another, remove it, or go on with it by --resume")
        (args.out / "options.json").write_text(json.dumps(same, indent=2) + "\n", encoding="utf-8")
        return []
    return check_resume(args, last, same)


def check_resume(args: argparse.Namespace, last: str, same: dict[str, str]) -> list[dict[str, float]]:
    """The history so far, where the run can go on with the options that decide its split and its order."""
    try:
        before = json.loads((args.out / "options.json").read_text(encoding="utf-8"))
        history = read_history(args.out)
    except (OSError, ValueError):
        before, history = None, []
    if not history or not (args.out / last).is_file():
        raise Problem(f"--resume needs a run in {args.out} that has finished an epoch: none is there")
    changed = [f"--{name.replace('_', '-')} {before[name]}" for name in same if before[name] != same[name]]
    if changed:
        raise Problem(
            f"--resume: the run in {args.out} was begun with {', '.join(changed)}: give the same, or a new --out"
        )
    if len(history) >= args.epochs:
        raise Problem(f"--resume: the run in {args.out} has done {len(history)} epochs: give a larger --epochs")
    return history


def read_history(out: Path) -> list[dict[str, float]]:
    """history.csv, a row of figures per epoch."""
    with open(out / "history.csv", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def parse_size(text: str | None) -> tuple[int, int] | None:
    """(height, width) from "HxW", None for None."""
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d*)[xX]([1-9]\d*)", text)
    if match is None or min(int(match[1]), int(match[2])) < 16:
        raise Problem(f"--size must be HEIGHTxWIDTH in pixels, 16x16 or more, such as 256x256, got {text!r}")
    return int(match[1]), int(match[2])


def parse_budget(text: str, training_bytes: int) -> int | str:
    """What ``maxbytes=`` takes, from --maxbytes, which may be a share of the training data."""
    share = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*of\s+data\s*", text)
    maxbytes = int(training_bytes * float(share[1]) / 100) if share else int(text) if text.isdigit() else text
    try:
        bytecache.fill_once(maxbytes=maxbytes)  # looks at the size, makes no cache yet
    except ValueError as error:
        raise Problem(f'--{error}; a share of the training files is written "50% of data"') from None
    return maxbytes


def introduce(
    args: argparse.Namespace, splits: tuple[Split, Split, Split], budget: int, training_bytes: int
) -> dict[str, Any]:
    """Prints what is read through which cache; returns the beginnings of the summary."""
    train, val, test = splits
    fraction, note = budget / training_bytes, check_storage_ms(args.storage_ms)
    print(
        f"{len(train.paths)} training images, {training_bytes:,} bytes; {len(val.paths)} for validation, "
        f"{len(test.paths)} for test; cache {args.cache}, {budget:,} bytes = {fraction:.3f} of the training data"
        + (f"; {note}" if note else ""),
        flush=True,
    )
    predicted = bytecache.predict_hit_rate(args.cache, fraction)
    return {"budget_bytes": budget, "training_bytes": training_bytes, "predicted_hit_rate": predicted}


def learning_rate(epoch: int, epochs: int) -> float:
    """That of an epoch: half a cosine from LEARNING_RATE to nearly 0, a function of the epoch alone."""
    share = min(1.0, epoch / epochs)
    return LEARNING_RATE * (0.02 + 0.98 * (1 + math.cos(math.pi * share)) / 2)


def epoch_line(epoch: int, epochs: int, logs: dict[str, float], predicted_hit_rate: float) -> str:
    """The figures of an epoch for the screen; `epoch` counts from 0."""
    return (
        f"epoch {epoch + 1:>2}/{epochs}  loss {logs['loss']:6.3f}  val MAE {logs['val_mae']:6.3f}  "
        f"hit rate {logs['hit_rate']:.3f} (predicted {predicted_hit_rate:.3f})  "
        f"{logs['images_per_s']:5.0f} images/s  reading {logs['read_s']:5.1f} s"
    )


def conclude(
    args: argparse.Namespace, splits: tuple[Split, Split], answers: np.ndarray, summary: dict[str, Any],
    framework: dict[str, str],
) -> None:  # fmt: skip
    """Writes the report of the answers (n,) for the test pictures, beside the answer that needs no network."""
    from .report import write_report

    train, test = splits
    median = float(np.median(train.counts))
    summary |= {
        "test_mae": float(np.abs(answers - test.counts).mean()),
        "median_mae": float(np.abs(median - test.counts).mean()),
        "options": {name: str(value) for name, value in vars(args).items()},
        "versions": {"bytecache": bytecache.__version__, **framework, "numpy": np.__version__},
    }
    write_report(args.out, summary, answers, test.counts)
    print(
        f"test MAE {summary['test_mae']:.3f}, always answering the training median {median:g}: "
        f"{summary['median_mae']:.3f}; written: {args.out}/"
    )
