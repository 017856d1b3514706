"""Run as a script: train with two worker processes that share a cache, under each start method; print JSON.

A process of its own, because Keras chooses its backend once, and because a spawned worker imports the main module.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from pathlib import Path

import numpy as np

import bytecache

FOLDER, VALUE_BYTES = Path(sys.argv[1]), int(sys.argv[2])
EPOCHS, N = 3, 100


def read_file(path):
    with open(FOLDER / "log", "ab", buffering=0) as log:
        log.write(b"x")
    return Path(path).read_bytes()


whole = bytecache.fill_once(shared=True, maxbytes=N * VALUE_BYTES, version="whole")(read_file)
half = bytecache.fill_once(shared=True, maxbytes=N // 2 * VALUE_BYTES, version="half")(read_file)


def train(read):
    """Return the misses of each epoch, as the cache counted them for all processes, and the number of actual reads."""
    import keras

    from bytecache.keras import CacheReport, ImageDataset

    paths = sorted(map(str, FOLDER.glob("*.jpg")))
    (FOLDER / "log").write_bytes(b"")
    data = ImageDataset(paths, np.arange(N), batch_size=10, load=read, workers=2, use_multiprocessing=True)
    model = keras.Sequential([keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(data, epochs=EPOCHS, verbose=0, callbacks=[CacheReport(read)]).history
    return {"misses": history["misses"], "logged": (FOLDER / "log").stat().st_size}


def main():
    results = {}
    for method in ("fork", "forkserver", "spawn"):
        multiprocessing.set_start_method(method, force=True)
        whole.cache_clear()
        results[method] = train(whole)
    results["half"] = train(half)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
