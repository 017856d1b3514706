"""tf.data: native ops, with the parallelism that AUTOTUNE chooses for each map."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import tensorflow as tf  # noqa: E402

from . import Epochs, Job  # noqa: E402
from .image_files import read  # noqa: E402

AUTOTUNE = tf.data.AUTOTUNE
REQUESTS = 16  # concurrent ones over HTTP: they wait and use no processor, which AUTOTUNE cannot know
BUFFER = 1000  # as in TensorFlow's tutorials, after cache()


def files(job: Job) -> Any:
    """Return paths and labels."""
    return tf.data.Dataset.from_tensor_slices((job.paths, np.arange(job.count)))


def read_files(paths: Any, job: Job) -> Any:
    """Replace paths by the bytes of their files, in any order."""

    def read_url(path: Any, label: Any) -> Any:
        data = tf.numpy_function(lambda url: read(url.decode()), [path], tf.string)
        return tf.ensure_shape(data, ()), label

    if job.remote:
        return paths.map(read_url, num_parallel_calls=REQUESTS, deterministic=False)
    return paths.map(lambda path, label: (tf.io.read_file(path), label), AUTOTUNE, deterministic=False)


def batches(encoded: Any, job: Job, antialias: bool = True) -> Epochs:
    """Decode, resize and batch, to the pixels of simplejpeg and Pillow within rounding."""

    def decode(data: Any, label: Any) -> Any:
        image = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
        image = tf.image.resize(image, (job.side, job.side), antialias=antialias)
        return tf.cast(tf.round(image), tf.uint8), label

    options = tf.data.Options()
    options.deterministic = False
    if job.remote:
        options.threading.private_threadpool_size = REQUESTS
    decoded = encoded.map(decode, AUTOTUNE).batch(job.batch).prefetch(AUTOTUNE).with_options(options)
    return lambda epoch: decoded.as_numpy_iterator()


def plain(job: Job) -> Epochs:
    """Use no cache but the page cache, and shuffle all paths."""
    paths = files(job).shuffle(job.count, job.seed)
    return batches(read_files(paths, job), job)


def aliased(job: Job) -> Epochs:
    """Do the same with the default of tf.image.resize: faster, and pixels that differ from all other loaders'."""
    paths = files(job).shuffle(job.count, job.seed)
    return batches(read_files(paths, job), job, antialias=False)


def cached(job: Job) -> Epochs:
    """Cache the bytes in memory, or on disk if they come over HTTP, both without a limit.

    The cache has one order, that of the paths shuffled once; each epoch shuffles it through a buffer.
    """
    paths = files(job).shuffle(job.count, job.seed, reshuffle_each_iteration=False)
    encoded = read_files(paths, job).cache(f"{job.scratch}/cache" if job.remote else "")
    return batches(encoded.shuffle(BUFFER, job.seed), job)
