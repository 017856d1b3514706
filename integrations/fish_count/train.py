"""``train``: a network learns to count fish in JPEG files that it reads through a cache.

Read from ``run`` downward: the files, the cached read function, the data sets, the model, training, the report.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

import bytecache

from .data import Split, check_storage_ms, find_images, image_size, reader, split_images
from .problem import Problem
from .quiet import load_keras

LEARNING_RATE = 3e-3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``train`` to its parser."""
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="pictures DIR/COUNT/NAME.jpg, as make_data writes them")
    add("--out", type=Path, required=True, metavar="RUN", help="folder for the model, the history and the report")
    add("--cache", choices=["fill_once", "lru", "none"], default="fill_once", help="how reads are cached (%(default)s)")
    add("--maxbytes", default="50%", metavar="SIZE",
        help='budget of the cache: "2 GiB", "50%%" of the free memory, "50%% of data" (%(default)s)')  # fmt: skip
    add("--epochs", type=int, default=10, metavar="N", help="most epochs (%(default)s)")
    add("--batch-size", type=int, default=32, metavar="B", help="images per step (%(default)s)")
    add("--size", metavar="HxW", help="resize pictures to this height and width in pixels (default: as they are)")
    add("--seed", type=int, default=0, metavar="S", help="of the split, the order and the weights (%(default)s)")
    add("--workers", type=int, default=1, metavar="W", help="threads that make batches ahead (%(default)s)")
    add("--storage-ms", type=float, default=0, metavar="MS", help="delay each read, to stand for remote storage")
    add("--resume", action="store_true", help="go on with the run in RUN after its last epoch")


def run(args: argparse.Namespace) -> None:
    """Trains and writes RUN/: model.keras, history.csv, summary.json, report.png, TensorBoard logs."""
    note = check_storage_ms(args.storage_ms)
    history = check_out(args)
    train, val, test = split_images(find_images(args.data), args.seed)
    size = parse_size(args.size) or image_size(train.paths[0])
    training_bytes = train.nbytes  # asks the file system for each file: once is enough
    read_train = cached(reader(args.storage_ms), args.cache, args.maxbytes, training_bytes)
    read_other = cached(reader(args.storage_ms), "none")  # counted apart, and takes none of the budget
    budget = read_train.cache_stats().maxbytes or 0
    fraction = budget / training_bytes
    predicted = bytecache.predict_hit_rate(args.cache, fraction)
    print(
        f"{len(train.paths)} training images, {training_bytes:,} bytes; {len(val.paths)} for validation, "
        f"{len(test.paths)} for test; cache {args.cache}, {budget:,} bytes = {fraction:.3f} of the training data"
        + (f"; {note}" if note else ""),
        flush=True,
    )
    rows = fit(args, (train, val), (read_train, read_other), size, predicted, history)
    finish(args, (train, test), read_other, {
        "budget_bytes": budget,
        "training_bytes": training_bytes,
        "predicted_hit_rate": predicted,
        "cache_stats": vars(read_train.cache_stats()),
        "history": rows,
    })  # fmt: skip


def cached(read: Any, policy: str, budget: str = "", training_bytes: int = 0) -> Any:
    """The read function behind the cache that the user chose; `budget` may be a share of the training data."""
    if policy == "none":
        return bytecache.fill_once(maxsize=0)(read)  # keeps nothing, counts all the same
    share = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*of\s+data\s*", budget)
    maxbytes = int(training_bytes * float(share[1]) / 100) if share else int(budget) if budget.isdigit() else budget
    try:
        if policy == "lru":
            return bytecache.lru_cache(maxsize=None, maxbytes=maxbytes)(read)
        return bytecache.fill_once(maxbytes=maxbytes)(read)
    except ValueError as error:
        raise Problem(f'--{error}; a share of the training files is written "50% of data"') from None


def fit(
    args: argparse.Namespace, splits: tuple[Split, Split], reads: tuple[Any, Any], size: tuple[int, int],
    predicted: float, history: list[dict[str, float]],
) -> list[dict[str, float]]:  # fmt: skip
    """Trains; returns the history, a row of figures per epoch."""
    keras = load_keras()
    from .model import build_model

    (train, val), (read_train, read_val) = splits, reads
    keras.utils.set_random_seed(args.seed)
    train_set = dataset(train, args, read_train, shuffle=True, workers=args.workers)
    val_set = dataset(val, args, read_val)
    train_set.epoch = len(history)
    model = (
        load_model(args.out / "last.keras") if history else build_model(size, float(train.counts.mean()), LEARNING_RATE)
    )
    callbacks = figures(args, len(train.paths), read_train, read_val, predicted) + files(args.out, history)
    try:
        model.fit(
            train_set, validation_data=val_set, epochs=args.epochs, initial_epoch=len(history), verbose=0,
            callbacks=callbacks,
        )  # fmt: skip
    except Exception:
        blame(train_set, val_set)
        raise
    return read_history(args.out)


def figures(args: argparse.Namespace, images: int, read_train: Any, read_val: Any, predicted: float) -> list[Any]:
    """The callbacks that put figures into the logs and show them, in the order in which they need each other."""
    from bytecache.keras import CacheReport

    from .callbacks import EndOnCtrlC, EpochLine, Rates, StepDown

    return [
        CacheReport(read_train),
        Rates(images, read_val, args.storage_ms),
        StepDown(LEARNING_RATE, args.epochs),
        EndOnCtrlC(),
        EpochLine(args.epochs, predicted),
    ]


def files(out: Path, history: list[dict[str, float]]) -> list[Any]:
    """The callbacks that write into RUN/, and the one that ends training when it gets no better."""
    keras = load_keras()
    best = min((row["val_mae"] for row in history), default=None)
    callbacks = [
        keras.callbacks.CSVLogger(out / "history.csv", append=bool(history)),
        keras.callbacks.ModelCheckpoint(
            out / "model.keras", monitor="val_mae", save_best_only=True, initial_value_threshold=best
        ),
        keras.callbacks.ModelCheckpoint(out / "last.keras"),
        keras.callbacks.EarlyStopping("val_mae", patience=6),
    ]
    if keras.backend.backend() == "tensorflow":  # the callback needs tensorflow to write its files
        callbacks.append(keras.callbacks.TensorBoard(out / "tensorboard"))
    return callbacks


def load_model(path: Path) -> Any:
    """A model that train has saved."""
    try:
        return load_keras().models.load_model(path)
    except (OSError, ValueError) as error:
        raise Problem(f"{path} cannot be loaded: {error}: train anew into another --out") from None


def dataset(split: Split, args: argparse.Namespace, read: Any, **options: Any) -> Any:
    """A data set for Keras; it resizes only where the user gave a size."""
    from bytecache.keras import ImageDataset

    return ImageDataset(
        split.paths, split.counts, batch_size=args.batch_size, load=read, size=parse_size(args.size),
        seed=args.seed, **{"shuffle": False, **options},
    )  # fmt: skip


def blame(*datasets: Any) -> None:
    """Raises Problem where a picture was the reason that a pass over the data ended."""
    from bytecache.keras import SampleError

    for data in datasets:
        if isinstance(data.error, SampleError):
            raise Problem(f"{data.error}; remove the file, make it anew, or give --size HxW for other sizes") from None


def finish(args: argparse.Namespace, splits: tuple[Split, Split], read: Any, summary: dict[str, Any]) -> None:
    """Tests the best model beside the answer that needs none, and writes the report."""
    keras = load_keras()
    from .report import write_report

    train, test = splits
    best = args.out / "model.keras"
    model = load_model(best if best.exists() else args.out / "last.keras")  # no best one where every loss was NaN
    test_set = dataset(test, args, read)
    try:
        answers = model.predict(test_set, verbose=0)[:, 0]  # (n,)
    except Exception:
        blame(test_set)
        raise
    median = float(np.median(train.counts))
    summary |= {
        "test_mae": float(np.abs(answers - test.counts).mean()),
        "median_mae": float(np.abs(median - test.counts).mean()),
        "options": {name: str(value) for name, value in vars(args).items()},
        "versions": {"bytecache": bytecache.__version__, "keras": keras.__version__, "numpy": np.__version__},
    }
    write_report(args.out, summary, answers, test.counts)
    print(
        f"test MAE {summary['test_mae']:.3f}, always answering the training median {median:g}: "
        f"{summary['median_mae']:.3f}; written: {args.out}/"
    )


def check_out(args: argparse.Namespace) -> list[dict[str, float]]:
    """Makes RUN/; returns the history of the run that is to go on, empty for a new one."""
    for name, least in (("epochs", 1), ("batch_size", 1), ("workers", 1), ("seed", 0)):
        if getattr(args, name) < least:
            raise Problem(f"--{name.replace('_', '-')} must be {least} or more, got {getattr(args, name)}")
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
    return check_resume(args, same)


def check_resume(args: argparse.Namespace, same: dict[str, str]) -> list[dict[str, float]]:
    """The history so far, where the run can go on with the options that decide its split and its order."""
    try:
        before = json.loads((args.out / "options.json").read_text(encoding="utf-8"))
        history = read_history(args.out)
    except (OSError, ValueError):
        before, history = None, []
    if not history or not (args.out / "last.keras").is_file():
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
