"""``train``: a network learns to count fish in JPEG files that it reads through a cache.

Read from ``run`` downward: the files, the cached read function, the data sets, the model, training, the report.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import bytecache

from . import job
from .data import Split, find_images, image_size, reader, split_images
from .problem import Problem
from .quiet import load_keras


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``train`` to its parser."""
    job.add_options(parser, ["fill_once", "lru", "none"], 1, "threads")


def run(args: argparse.Namespace) -> None:
    """Trains and writes RUN/: model.keras, history.csv, summary.json, report.png, TensorBoard logs."""
    job.check_options(args)
    train, val, test = split_images(find_images(args.data), args.seed)
    size = job.parse_size(args.size) or image_size(train.paths[0])
    training_bytes = train.nbytes  # asks the file system for each file: once is enough
    read_train = cached(reader(args.storage_ms), args.cache, args.maxbytes, training_bytes)
    read_other = cached(reader(args.storage_ms), "none")  # counted apart, and takes none of the budget
    history = job.open_out(args, "last.keras")
    summary = job.introduce(args, (train, val, test), read_train.cache_stats().maxbytes or 0, training_bytes)
    predicted = summary["predicted_hit_rate"]
    summary["history"] = fit(args, (train, val), (read_train, read_other), size, predicted, history)
    summary["cache_stats"] = vars(read_train.cache_stats())
    finish(args, (train, test), read_other, summary)


def cached(read: Any, policy: str, budget: str = "", training_bytes: int = 0) -> Any:
    """The read function behind the cache that the user chose; `budget` may be a share of the training data."""
    if policy == "none":
        return bytecache.fill_once(maxsize=0)(read)  # keeps nothing, counts all the same
    maxbytes = job.parse_budget(budget, training_bytes)
    if policy == "lru":
        return bytecache.lru_cache(maxsize=None, maxbytes=maxbytes)(read)
    return bytecache.fill_once(maxbytes=maxbytes)(read)


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
        load_model(args.out / "last.keras")
        if history
        else build_model(size, float(train.counts.mean()), job.LEARNING_RATE)
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
    return job.read_history(args.out)


def figures(args: argparse.Namespace, images: int, read_train: Any, read_val: Any, predicted: float) -> list[Any]:
    """The callbacks that put figures into the logs and show them, in the order in which they need each other."""
    from bytecache.keras import CacheReport

    from .callbacks import EndOnCtrlC, EpochLine, Rates, StepDown

    return [
        CacheReport(read_train),
        Rates(images, read_val, args.storage_ms),
        StepDown(args.epochs),
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
        keras.callbacks.EarlyStopping("val_mae", patience=job.PATIENCE),
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
        split.paths, split.counts, batch_size=args.batch_size, load=read, size=job.parse_size(args.size),
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
    train, test = splits
    best = args.out / "model.keras"
    model = load_model(best if best.exists() else args.out / "last.keras")  # no best one where every loss was NaN
    test_set = dataset(test, args, read)
    try:
        answers = model.predict(test_set, verbose=0)[:, 0]  # (n,)
    except Exception:
        blame(test_set)
        raise
    job.conclude(args, (train, test), answers, summary, {"keras": keras.__version__})
