"""``train``: train a network to count fish in JPEG files that it reads through a cache.

Read from ``run`` downward: the files, the cached read function, the data sets, the model, training, the report.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from . import caches, common
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
        clock = EpochClock(storage.now)
        train_set = make_training_set(train, args, clock, caches.in_this_process(storage, args, training_bytes))
        read_other = caches.counted(storage)  # has its own counters and takes none of the budget
        if args.on_error == "skip":
            record_skipped(args.out)
        summary = common.start_summary(args, (train, val, test), caches.budget(train_set.load), training_bytes)
        predicted = summary["predicted_hit_rate"]
        data = train_set, make_dataset(val, args, {"load": read_other})
        summary["history"] = fit(args, train, data, clock, size, predicted, history)
        common.add_cache_stats(summary, [train_set.load.cache_stats()])
        summary["storage"] = storage.summary()
        evaluate(args, (train, test), read_other, summary)


def fit(
    args: argparse.Namespace, train: Split, data: tuple[Any, Any], clock: EpochClock, size: tuple[int, int],
    predicted: float | None, history: common.History,
) -> common.History:  # fmt: skip
    """Train, from the last epoch of `history` on, and return the whole history: a row of metrics per epoch."""
    keras = import_keras()
    from .model import build_model

    train_set, val_set = data
    keras.utils.set_random_seed(args.seed)
    train_set.epoch = len(history)
    model = (
        load_model(args.out / "last.keras")
        if history
        else build_model(size, float(train.counts.mean()), common.LEARNING_RATE)
    )
    reads = train_set.load, val_set.load
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
    args: argparse.Namespace,
    first_epoch: int,
    images: int,
    reads: tuple[Any, Any],
    clock: EpochClock,
    predicted: float | None,
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


def make_training_set(split: Split, args: argparse.Namespace, clock: EpochClock, caching: dict[str, Any]) -> Any:
    """Return the data set of training, which tells the clock when a batch is there."""
    import_keras()
    from .callbacks import TimedDataset

    return make_dataset(split, args, caching, TimedDataset, shuffle=True, workers=args.workers, clock=clock)


def make_dataset(
    split: Split, args: argparse.Namespace, caching: dict[str, Any], kind: Any = None, **options: Any
) -> Any:
    """Return a data set for Keras, an ImageDataset or a `kind` of it; it resizes only if --size is given."""
    from bytecache.keras import ImageDataset

    return (kind or ImageDataset)(
        split.paths, split.counts, batch_size=args.batch_size, size=common.parse_size(args.size), seed=args.seed,
        on_error=args.on_error, read_ahead=args.read_ahead, **{"shuffle": False, **caching, **options},
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
    test_set = make_dataset(test, args, {"load": read})
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
