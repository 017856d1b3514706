"""Run as a script: train a detector and a segmenter for two epochs on flipped pictures with two worker processes that
share a cache, and print, as JSON, what the models received.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import keras
import numpy as np
from helpers.annotated import MOST, all_boxes, boxes_fit, flip_boxes, mask_fits

import bytecache
from bytecache.keras import CacheReport, ImageDataset

EPOCHS = 2


@bytecache.fill_once(shared=True, maxbytes="4 MiB")
def read(path):
    return Path(path).read_bytes()


def read_with_mask(path):
    return read(path), read(path.with_suffix(".png"))


def flip_and_pad(image, boxes):
    """Flip half of the pictures with their boxes, and pad these to MOST, as fit takes arrays alone."""
    if random.random() < 0.5:
        image, boxes = image[:, ::-1], flip_boxes(boxes)
    padded = np.zeros((MOST, 4), np.float32)
    padded[: len(boxes)] = boxes
    return image, {"boxes": padded, "count": np.float32(len(boxes))}


def flip_both(image, mask):
    return (image[:, ::-1], mask[:, ::-1]) if np.random.random() < 0.5 else (image, mask)


class Recorder(keras.Model):
    """A model that counts the samples it receives, those that fit their target, and those that were flipped."""

    def __init__(self, model, fits):
        super().__init__()
        self.model, self.fits, self.seen = model, fits, []

    def call(self, x):
        return self.model(keras.ops.cast(x, "float32"))

    def train_step(self, data):
        images, targets = keras.tree.map_structure(keras.ops.convert_to_numpy, data)[:2]
        for i, image in enumerate(images):
            target = keras.tree.map_structure(lambda part, i=i: part[i], targets)
            self.seen.append((self.fits(image, target), image.tobytes()))
        return super().train_step(data)


def train(model, fits, loss, data):
    recorder = Recorder(model, fits)
    recorder.compile("sgd", loss, run_eagerly=True)
    history = recorder.fit(data, epochs=EPOCHS, verbose=0, callbacks=[CacheReport(read)]).history
    return {
        "fit": [fits for fits, _ in recorder.seen],
        "pictures": len({pixels for _, pixels in recorder.seen}),
        "misses": history["misses"],
    }


def detector():
    x = keras.Input((32, 32, 3))
    features = keras.layers.Flatten()(x / 255)
    boxes = keras.layers.Reshape((MOST, 4))(keras.layers.Dense(MOST * 4)(features))
    return keras.Model(x, {"boxes": boxes, "count": keras.layers.Dense(1)(features)})


def box_fits(image, target):
    return boxes_fit(image, target["boxes"][: int(target["count"])])


def main(folder):
    paths = sorted(Path(folder).glob("*.jpg"))
    options = {"batch_size": 4, "workers": 2, "use_multiprocessing": True}
    found = {}
    data = ImageDataset(paths, all_boxes(), load=read, transforms=flip_and_pad, **options)
    found["detector"] = train(detector(), box_fits, {"boxes": "mse", "count": "mse"}, data)
    read.cache_clear()
    data = ImageDataset(paths, None, load=read_with_mask, masks=1, transforms=flip_both, **options)
    segmenter = keras.Sequential([keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(2, 3, padding="same")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found["segmenter"] = train(segmenter, mask_fits, loss, data)
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
