"""What happens around an epoch: the learning rate, more metrics in the logs, a line on the screen, Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import keras

from bytecache.keras import ImageDataset

from .common import epoch_line, learning_rate
from .seconds import EpochClock


class TimedDataset(ImageDataset):
    """A data set that tells a clock when a batch is there."""

    def __init__(self, *args: Any, clock: EpochClock, **options: Any) -> None:
        super().__init__(*args, **options)
        self._clock = clock

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        requested = self._clock.now()
        batch = super().__getitem__(index)
        self._clock.batch_ready(requested)
        return batch


class EpochMetrics(keras.callbacks.Callback):
    """Further metrics in the logs: where the seconds of the training part went, misses of validation, the latency."""

    def __init__(self, images: int, read_val: Callable[..., Any], clock: EpochClock, latency_ms: float) -> None:
        super().__init__()
        self._images, self._read_val, self._clock, self._latency_ms = images, read_val, clock, latency_ms
        self._val_before = read_val.cache_stats()

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        # Not earlier: before the first step TensorFlow may wait for seconds until a thread of the last epoch has ended.
        if batch == 0:
            self._clock.begin_epoch()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._clock.batch_used()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        now = self._read_val.cache_stats()
        logs |= self._clock.end_epoch()
        logs["images_per_s"] = self._images / logs["epoch_s"]
        logs["val_misses"] = (now - self._val_before).misses
        logs["latency_ms"] = self._latency_ms
        self._val_before = now


class EpochLine(keras.callbacks.Callback):
    """A line per epoch on the screen, from the logs."""

    def __init__(self, first_epoch: int, epochs: int, predicted_hit_rate: float | None) -> None:
        super().__init__()
        self._first_epoch, self._epochs, self._predicted = first_epoch, epochs, predicted_hit_rate

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        predicted = None if epoch == self._first_epoch else self._predicted
        print(epoch_line(epoch, self._epochs, logs, predicted), flush=True)


class CosineDecay(keras.callbacks.Callback):
    """The learning rate of each epoch."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs = epochs

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.model.optimizer.learning_rate = learning_rate(epoch, self._epochs)


class StopOnCtrlC(keras.callbacks.Callback):
    """A way out: Ctrl-C ends training after the current epoch, a second Ctrl-C at once."""

    def __init__(self) -> None:
        super().__init__()
        self._stop_requested = False

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._previous_handler = signal.signal(signal.SIGINT, self._on_sigint)

    def _on_sigint(self, number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._stop_requested = True
        print("\nCtrl-C: training stops after this epoch and writes the report; press again to stop now", flush=True)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self._stop_requested:  # not earlier: Keras would stop in the middle of the epoch
            self.model.stop_training = True

    def on_train_end(self, logs: dict | None = None) -> None:
        signal.signal(signal.SIGINT, self._previous_handler)
