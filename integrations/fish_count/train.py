"""``train``: train a network to count fish in JPEG files that it reads through a cache.

Read from ``run`` downward: the files, the cached read function, the data sets, the model, training, the report.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import bytecache

from . import common
from .data import Split, find_images, image_size, split_images
from .errors import UserError
from .keras_import import import_keras
from .seconds import EpochClock
from .skipped import record_skipped


def run(args: argparse.Namespace) -> None:
    """Train, and write RUN/: model.keras, history.csv, summary.json, report.png, TensorBoard logs."""
    common.check_options(args)
    train, val, test = split_images(find_images(args.data), args.seed)
    size = common.parse_size(args.size) or image_size(train.paths, args.on_error)
    training_bytes = train.nbytes  # asks for each file's size: once is enough
    with common.run_folder(args, "last.keras") as history, common.open_storage(args) as storage:
        read_train = cached(storage, args.cache, args.maxbytes, training_bytes)
        read_other = cached(storage, "none")  # has its own counters and takes none of the budget
        if args.on_error == "skip":
            record_skipped(args.out)
        maxbytes = read_train.cache_stats().maxbytes or 0
        summary = common.start_summary(args, (train, val, test), maxbytes, training_bytes)
        predicted = summary["predicted_hit_rate"]
        clock = EpochClock(storage.now)
        summary["history"] = fit(args, (train, val), (read_train, read_other), clock, size, predicted, history)
        summary["cache_stats"] = vars(read_train.cache_stats())
        summary["storage"] = storage.summary()
        evaluate(args, (train, test), read_other, summary)


def cached(storage: common.Storage, policy: str, budget: str = "", training_bytes: int = 0) -> Any:
    """Read through the cache that the user chose; `budget` may be a percentage of the training data."""
    read, batched = storage.read, storage.batched
    if policy == "none":
        return bytecache.fill_once(maxsize=0, batched=batched)(read)  # stores nothing but still counts
    maxbytes = common.parse_budget(budget, training_bytes)
    if policy == "lru":
        return bytecache.lru_cache(maxsize=None, maxbytes=maxbytes, batched=batched)(read)
    return bytecache.fill_once(maxbytes=maxbytes, batched=batched)(read)


def fit(
    args: argparse.Namespace, splits: tuple[Split, Split], reads: tuple[Any, Any], clock: EpochClock,
    size: tuple[int, int], predicted: float, history: common.History,
) -> common.History:  # fmt: skip
    """Train, from the last epoch of `history` on, and return the whole history: a row of metrics per epoch."""
    keras = import_keras()
    from .callbacks import TimedDataset
    from .model import build_model

    (train, val), (read_train, read_val) = splits, reads
    keras.utils.set_random_seed(args.seed)
    train_set = make_dataset(train, args, read_train, TimedDataset, shuffle=True, workers=args.workers, clock=clock)
    val_set = make_dataset(val, args, read_val)
    train_set.epoch = len(history)
    model = (
        load_model(args.out / "last.keras")
        if history
        else build_model(size, float(train.counts.mean()), common.LEARNING_RATE)
    )
    callbacks = metric_callbacks(args, len(history), len(train.paths), reads, clock, predicted)
    try:
        model.fit(
            train_set, validation_data=val_set, epochs=args.epochs, initial_epoch=len(history), verbose=0,
            callbacks=callbacks + file_callbacks(args.out, history),
        )  # fmt: skip
    except Exception:
        raise_sample_error(train_set, val_set)
        raise
    return common.read_history(args.out)


def metric_callbacks(
    args: argparse.Namespace, first_epoch: int, images: int, reads: tuple[Any, Any], clock: EpochClock, predicted: float
) -> list[Any]:
    """Return the callbacks that add metrics to the logs and print them; each needs what those before it add."""
    from bytecache.keras import CacheReport

    from .callbacks import CosineDecay, EpochLine, EpochMetrics, StopOnCtrlC

    read_train, read_val = reads
    return [
        CacheReport(read_train),
        EpochMetrics(images, read_val, clock, args.latency_ms),
        CosineDecay(args.epochs),
        StopOnCtrlC(),
        EpochLine(first_epoch, args.epochs, predicted),
    ]


def file_callbacks(out: Path, history: common.History) -> list[Any]:
    """Return the callbacks that write into RUN/, and the one that stops training when it no longer improves."""
    keras = import_keras()
    best = min((row["val_mae"] for row in history), default=None)
    callbacks = [
        keras.callbacks.CSVLogger(out / "history.csv", append=bool(history)),
        keras.callbacks.ModelCheckpoint(
            out / "model.keras", monitor="val_mae", save_best_only=True, initial_value_threshold=best
        ),
        keras.callbacks.ModelCheckpoint(out / "last.keras"),
        keras.callbacks.EarlyStopping("val_mae", patience=common.PATIENCE),
    ]
    if keras.backend.backend() == "tensorflow":  # the callback needs tensorflow to write its files
        callbacks.append(keras.callbacks.TensorBoard(out / "tensorboard"))
    return callbacks


def load_model(path: Path) -> Any:
    """Load a model that ``train`` saved."""
    try:
        return import_keras().models.load_model(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be loaded: {error}: train again into another --out") from None


def make_dataset(split: Split, args: argparse.Namespace, read: Any, kind: Any = None, **options: Any) -> Any:
    """Return a data set for Keras, an ImageDataset or a `kind` of it; it resizes only if --size is given."""
    from bytecache.keras import ImageDataset

    return (kind or ImageDataset)(
        split.paths, split.counts, batch_size=args.batch_size, load=read, size=common.parse_size(args.size),
        seed=args.seed, on_error=args.on_error, read_ahead=args.read_ahead, **{"shuffle": False, **options},
    )  # fmt: skip


def raise_sample_error(*datasets: Any) -> None:
    """Raise UserError if a bad image ended a pass over one of the data sets."""
    from bytecache.keras import SampleError

    for data in datasets:
        if isinstance(data.error, SampleError):
            raise UserError(f"{data.error}; {common.BAD_IMAGE_REMEDY}") from None


def evaluate(args: argparse.Namespace, splits: tuple[Split, Split], read: Any, summary: dict[str, Any]) -> None:
    """Test the best model, and write the results."""
    keras = import_keras()
    train, test = splits
    best = args.out / "model.keras"
    model = load_model(best if best.exists() else args.out / "last.keras")  # no best model if every loss was NaN
    test_set = make_dataset(test, args, read)
    try:
        batches = [
            (model.predict_on_batch(images)[:, 0], counts)
            for images, counts in map(test_set.__getitem__, range(len(test_set)))
        ]
    except Exception:
        raise_sample_error(test_set)
        raise
    predictions, counts = map(np.concatenate, zip(*batches, strict=True))  # (n,) both, without what was left out
    common.write_results(args, train, predictions, counts, summary, {"keras": keras.__version__})
