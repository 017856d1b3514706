"""Run as a script: train on ten batches with each kind of worker and print, as JSON, what the model received.

A process of its own, because Keras chooses its backend once, on import (``KERAS_BACKEND``).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import keras
import numpy as np

import bytecache
from bytecache.keras import CacheReport, ImageDataset

MODES = {"one worker": {}, "two threads": {"workers": 2}, "two processes": {"workers": 2, "use_multiprocessing": True}}
EPOCHS, SEED = 3, 7


class Recorder(keras.Model):
    """A model that records the target and the first pixel of each sample it receives."""

    def __init__(self):
        super().__init__()
        self.dense, self.seen = keras.layers.Dense(1), []

    def call(self, x):
        return self.dense(keras.ops.mean(keras.ops.cast(x, "float32"), axis=(1, 2)))

    def train_step(self, data):
        x, y = (keras.ops.convert_to_numpy(part) for part in data)
        self.seen.extend(zip(y.astype(int).tolist(), x[:, 0, 0, 0].tolist(), strict=True))
        return super().train_step(data)


def train(paths, **options):
    """Return the samples of each epoch as the model received them, and the cache's counters."""

    @bytecache.fill_once(maxbytes="1 MiB")
    def read(path):
        return Path(path).read_bytes()

    model = Recorder()
    model.compile("sgd", "mse", run_eagerly=True)
    data = ImageDataset(paths, np.arange(len(paths), dtype="float32"), batch_size=4, load=read, seed=SEED, **options)
    report = CacheReport(read)
    history = model.fit(data, epochs=EPOCHS, verbose=0, callbacks=[report]).history
    again = model.fit(data, epochs=1, verbose=0).history  # a second fit continues with the next epoch
    del again
    epochs = np.array(model.seen).reshape(EPOCHS + 1, len(paths), 2).tolist()
    return {"epochs": epochs, "history": history, "misses": read.cache_info().misses}


def train_endless(paths, **options):
    """Return the samples of three epochs of seven batches each, and of a second fit, from an endless dataset of ten."""
    model = Recorder()
    model.compile("sgd", "mse", run_eagerly=True)
    data = ImageDataset(
        paths, np.arange(len(paths), dtype="float32"), batch_size=4, load=read_file, seed=SEED, endless=True, **options
    )
    model.fit(data, epochs=EPOCHS, steps_per_epoch=7, verbose=0)
    n = len(model.seen)
    model.fit(data, epochs=1, steps_per_epoch=2, verbose=0)
    return {"first": [index for index, _ in model.seen[:n]], "second": [index for index, _ in model.seen[n:]]}


def read_file(path):
    return Path(path).read_bytes()


if __name__ == "__main__":
    paths = sorted(map(str, Path(sys.argv[1]).glob("*.jpg")))
    found = {mode: train(paths, **options) for mode, options in MODES.items()}
    for mode, options in MODES.items():
        found[mode]["endless"] = train_endless(paths, **options)
    print(json.dumps(found))
