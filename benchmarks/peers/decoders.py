"""JPEG decoders: each library's fastest documented way to RGB arrays, on one thread and in batches on two."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import simplejpeg
from PIL import Image

import bytecache
from benchmarks.harness.measure import Absent
from benchmarks.workloads.decode_tasks import (
    THREADS,
    Array,
    Decoder,
    DecodeTask,
    check,
    expected_images,
    one_by_one,
    pillow_resize,
)


def _either(first: str, second: str) -> str:
    """Return which of two packages with the same module is installed; the first if neither is."""
    try:
        importlib.metadata.version(second)
    except importlib.metadata.PackageNotFoundError:
        return first
    return second


PACKAGES = (
    *("simplejpeg", "numpy", "pillow", "opencv-python-headless", "PyTurboJPEG", "imagecodecs", "kornia-rs"),
    _either("tensorflow-cpu", "tensorflow"),
    _either("nvidia-dali-cuda120", "nvidia-dali-cuda130"),
    "scikit-image",
)


class Contender(NamedTuple):
    """How to make a library's Decoder for a task, and a description of how it resizes."""

    make: Callable[[DecodeTask], Decoder]
    resize: str


# One function per library, which imports it


def _bytecache(task: DecodeTask) -> Decoder:
    def one() -> Iterator[Array]:
        for files in task.batches():
            yield from bytecache.decode_batch(files, size=task.size, threads=1)

    def two() -> Iterator[Array]:
        for files in task.batches():
            yield bytecache.decode_batch(files, size=task.size, threads=THREADS)

    return Decoder(one if task.size else lambda: map(bytecache.decode_jpeg, task.files), two)


def _simplejpeg(task: DecodeTask) -> Decoder:
    if not (size := task.size):
        return one_by_one(task, simplejpeg.decode_jpeg)
    height, width = size
    return one_by_one(
        task, lambda file: pillow_resize(simplejpeg.decode_jpeg(file, min_height=height, min_width=width), size)
    )


def _opencv(task: DecodeTask) -> Decoder:
    import cv2

    cv2.setNumThreads(1)  # its resize would use more
    if not (size := task.size):
        return one_by_one(task, lambda file: cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR_RGB))
    flags = {1: cv2.IMREAD_COLOR, **{n: getattr(cv2, f"IMREAD_REDUCED_COLOR_{n}") for n in (2, 4, 8)}}[task.ratio()]

    def decode(file: bytes) -> Array:
        image = cv2.imdecode(np.frombuffer(file, np.uint8), flags)
        return cv2.cvtColor(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)

    return one_by_one(task, decode)


def _pillow(task: DecodeTask) -> Decoder:
    def full(file: bytes) -> Array:
        return np.asarray(Image.open(BytesIO(file)))

    def shrunk(file: bytes) -> Array:
        image = Image.open(BytesIO(file))
        image.draft("RGB", size[::-1])
        return np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR))

    size = task.size or (0, 0)
    return one_by_one(task, shrunk if task.size else full)


def _pyturbojpeg(task: DecodeTask) -> Decoder:
    import turbojpeg

    decoder = turbojpeg.TurboJPEG()  # raises RuntimeError if the library is missing or too old
    if not (size := task.size):
        return one_by_one(task, lambda file: decoder.decode(file, turbojpeg.TJPF_RGB))
    scale = (1, task.ratio())
    return one_by_one(
        task, lambda file: pillow_resize(decoder.decode(file, turbojpeg.TJPF_RGB, scaling_factor=scale), size)
    )


def _imagecodecs(task: DecodeTask) -> Decoder:
    import imagecodecs

    if not (size := task.size):
        return one_by_one(task, imagecodecs.jpeg8_decode)
    return one_by_one(task, lambda file: pillow_resize(imagecodecs.jpeg8_decode(file), size))


def _kornia(task: DecodeTask) -> Decoder:
    import kornia_rs

    own = threading.local()  # a decoder is not safe for threads

    def full(file: bytes) -> Array:
        if not hasattr(own, "decoder"):
            own.decoder = kornia_rs.io.ImageDecoder()
        return np.asarray(own.decoder.decode(file))

    if not (size := task.size):
        return one_by_one(task, full)
    return one_by_one(task, lambda file: kornia_rs.imgproc.resize(full(file), size, "bicubic", antialias=True))


@functools.cache
def _tensorflow() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)  # its resize would use more; tf.data has its own threads
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return tf


def _tf_io(task: DecodeTask) -> Decoder:
    tf, ratio = _tensorflow(), task.ratio()

    def decode(file: Any) -> Any:  # the default, INTEGER_FAST, gives other pixels than the rest
        image = tf.io.decode_jpeg(file, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")
        if task.size:
            image = tf.cast(tf.round(tf.image.resize(image, task.size, antialias=True)), tf.uint8)
        return image

    options = tf.data.Options()
    options.threading.private_threadpool_size = THREADS
    encoded = tf.data.Dataset.from_tensor_slices(list(task.files)).with_options(options)
    batches = encoded.map(decode, num_parallel_calls=THREADS).batch(task.batch)
    return Decoder(lambda: (decode(file).numpy() for file in task.files), batches.as_numpy_iterator)


def _dali(task: DecodeTask) -> Decoder:
    from nvidia.dali import fn, pipeline_def, types

    # Without pipelining, so that it does no work while other contenders are timed.
    @pipeline_def(batch_size=task.batch, device_id=None, exec_pipelined=False, exec_async=False, prefetch_queue_depth=1)
    def build() -> Any:
        encoded = fn.external_source(name="files", dtype=types.UINT8, no_copy=True)
        images = fn.decoders.image(encoded, device="cpu", output_type=types.RGB)
        return fn.resize(images, size=task.size) if task.size else images

    def run(pipeline: Any) -> Iterator[Any]:
        for files in task.batches():
            pipeline.feed_input("files", [np.frombuffer(file, np.uint8) for file in files])
            yield pipeline.run()[0]

    pipelines = [build(num_threads=threads) for threads in (1, THREADS)]
    for pipeline in pipelines:
        pipeline.build()
    return Decoder(
        lambda: (np.asarray(image) for images in run(pipelines[0]) for image in images),
        lambda: (images.as_array() for images in run(pipelines[1])),
    )


CONTENDERS: dict[str, Contender] = {
    "simplejpeg": Contender(_simplejpeg, "min_height=, then Pillow's resize"),
    "bytecache": Contender(_bytecache, "decode_batch(size=)"),
    "OpenCV": Contender(_opencv, "IMREAD_REDUCED_COLOR_4, resize INTER_AREA"),
    "Pillow": Contender(_pillow, "draft, resize BILINEAR"),
    "PyTurboJPEG": Contender(_pyturbojpeg, "scaling_factor=, then Pillow's resize"),
    "imagecodecs": Contender(_imagecodecs, "full decode, then Pillow's resize"),
    "kornia-rs": Contender(_kornia, "full decode, resize bicubic, antialias=True"),
    "tf.io": Contender(_tf_io, "ratio=4, tf.image.resize antialias=True"),
    "DALI, CPU": Contender(_dali, "decoders.image, resize"),
}


def make_decoder(name: str, task: DecodeTask) -> Decoder:
    """Return a library's Decoder for the task. Raises Absent if it, or something that it needs, is not installed."""
    try:
        return CONTENDERS[name].make(task)
    except ModuleNotFoundError:
        raise Absent("not installed") from None
    except (ImportError, OSError, RuntimeError) as error:
        raise Absent(str(error).partition(".")[0]) from None


def make_decoders(task: DecodeTask) -> tuple[dict[str, Decoder], dict[str, str]]:
    """Return the decoders that give the expected images here, and the reasons why the others are missing."""
    expected = expected_images(task)
    decoders: dict[str, Decoder] = {}
    absent: dict[str, str] = {}
    for name in CONTENDERS:
        try:
            decoder = make_decoder(name, task)
            check(decoder, task, expected)
            decoders[name] = decoder
        except Absent as reason:
            absent[name] = str(reason)
    return decoders, absent
