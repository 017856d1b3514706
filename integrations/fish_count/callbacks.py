"""What happens around an epoch: figures into the logs, a line on the screen, Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import keras

from .job import epoch_line, learning_rate


class Rates(keras.callbacks.Callback):
    """Puts images per second of the training part, and reads made for validation, into the logs."""

    def __init__(self, images: int, read_val: Callable[..., Any], storage_ms: float) -> None:
        super().__init__()
        self._images, self._read_val, self._storage_ms = images, read_val, storage_ms
        self._started = self._trained_s = 0.0
        self._val_then = read_val.cache_stats()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._started = time.perf_counter()

    def on_test_begin(self, logs: dict | None = None) -> None:
        self._trained_s = time.perf_counter() - self._started

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        now = self._read_val.cache_stats()
        logs["images_per_s"] = self._images / self._trained_s
        logs["val_reads"] = (now - self._val_then).misses
        logs["storage_ms"] = self._storage_ms
        self._val_then = now


class EpochLine(keras.callbacks.Callback):
    """Prints one line per epoch, from the logs."""

    def __init__(self, epochs: int, predicted_hit_rate: float) -> None:
        super().__init__()
        self._epochs, self._predicted = epochs, predicted_hit_rate

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        print(epoch_line(epoch, self._epochs, logs, self._predicted), flush=True)


class StepDown(keras.callbacks.Callback):
    """Sets the learning rate of each epoch."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs = epochs

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.model.optimizer.learning_rate = learning_rate(epoch, self._epochs)


class EndOnCtrlC(keras.callbacks.Callback):
    """The first Ctrl-C ends training when the epoch is over; the second one at once."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = False

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._before = signal.signal(signal.SIGINT, self._heard)

    def _heard(self, number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._asked = True
        print("\nCtrl-C: training ends with this epoch, then the report; again to leave at once", flush=True)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self._asked:  # not before: Keras would break off in the middle of the epoch
            self.model.stop_training = True

    def on_train_end(self, logs: dict | None = None) -> None:
        signal.signal(signal.SIGINT, self._before)
