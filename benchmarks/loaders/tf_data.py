"""tf.data: native ops, each map on as many threads as AUTOTUNE finds best."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import tensorflow as tf  # noqa: E402

from . import Epochs, Job  # noqa: E402
from .image_files import read  # noqa: E402

AUTOTUNE = tf.data.AUTOTUNE
REQUESTS = 16  # at a time over HTTP: they wait and take no processor, which AUTOTUNE can't know
BUFFER = 1000  # as TensorFlow's tutorials put it after cache()


def files(job: Job) -> Any:
    """Paths and labels."""
    return tf.data.Dataset.from_tensor_slices((job.paths, np.arange(job.count)))


def read_files(paths: Any, job: Job) -> Any:
    """Paths become the bytes of the files, in no order of their own."""

    def read_url(path: Any, label: Any) -> Any:
        data = tf.numpy_function(lambda url: read(url.decode()), [path], tf.string)
        return tf.ensure_shape(data, ()), label

    if job.remote:
        return paths.map(read_url, num_parallel_calls=REQUESTS, deterministic=False)
    return paths.map(lambda path, label: (tf.io.read_file(path), label), AUTOTUNE, deterministic=False)


def batches(encoded: Any, job: Job, antialias: bool = True) -> Epochs:
    """The rest, from bytes to batches: the pixels that simplejpeg and Pillow give, to within rounding."""

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
    """No cache but the operating system's; all paths are shuffled."""
    paths = files(job).shuffle(job.count, job.seed)
    return batches(read_files(paths, job), job)


def aliased(job: Job) -> Epochs:
    """The same, resized as tf.image.resize does where one does not ask: faster, and other pixels than all others'."""
    paths = files(job).shuffle(job.count, job.seed)
    return batches(read_files(paths, job), job, antialias=False)


def cached(job: Job) -> Epochs:
    """Bytes are cached, in memory or, where they come over HTTP, in a file on disk; there is no limit to either.

    What is cached comes in one order, paths shuffled once, and each epoch shuffles that through a buffer.
    """
    paths = files(job).shuffle(job.count, job.seed, reshuffle_each_iteration=False)
    encoded = read_files(paths, job).cache(f"{job.scratch}/cache" if job.remote else "")
    return batches(encoded.shuffle(BUFFER, job.seed), job)
