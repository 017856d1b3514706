"""Who decodes JPEG: each library by its fastest documented way to RGB arrays, on one thread and in batches on two."""

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
    Way,
    Work,
    check,
    one_by_one,
    pillow_resize,
    right_pictures,
)


def _either(first: str, second: str) -> str:
    """The one that is installed, of two packages that bring the same module; the first if none is."""
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
    """What makes a Way of a Work, and how it shrinks, in words."""

    make: Callable[[Work], Way]
    shrinks: str


# One function per library, which imports it


def _bytecache(work: Work) -> Way:
    def one() -> Iterator[Array]:
        for datas in work.chunks():
            yield from bytecache.decode_batch(datas, size=work.size, threads=1)

    def two() -> Iterator[Array]:
        for datas in work.chunks():
            yield bytecache.decode_batch(datas, size=work.size, threads=THREADS)

    return Way(one if work.size else lambda: map(bytecache.decode_jpeg, work.datas), two)


def _simplejpeg(work: Work) -> Way:
    if not (size := work.size):
        return one_by_one(work, simplejpeg.decode_jpeg)
    height, width = size
    return one_by_one(
        work, lambda data: pillow_resize(simplejpeg.decode_jpeg(data, min_height=height, min_width=width), size)
    )


def _opencv(work: Work) -> Way:
    import cv2

    cv2.setNumThreads(1)  # its resize would take more
    if not (size := work.size):
        return one_by_one(work, lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB))
    flags = {1: cv2.IMREAD_COLOR, **{n: getattr(cv2, f"IMREAD_REDUCED_COLOR_{n}") for n in (2, 4, 8)}}[work.ratio()]

    def decode(data: bytes) -> Array:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        return cv2.cvtColor(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)

    return one_by_one(work, decode)


def _pillow(work: Work) -> Way:
    def whole(data: bytes) -> Array:
        return np.asarray(Image.open(BytesIO(data)))

    def shrunk(data: bytes) -> Array:
        image = Image.open(BytesIO(data))
        image.draft("RGB", size[::-1])
        return np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR))

    size = work.size or (0, 0)
    return one_by_one(work, shrunk if work.size else whole)


def _pyturbojpeg(work: Work) -> Way:
    import turbojpeg

    decoder = turbojpeg.TurboJPEG()  # it raises RuntimeError where the library is not, or too old
    if not (size := work.size):
        return one_by_one(work, lambda data: decoder.decode(data, turbojpeg.TJPF_RGB))
    scale = (1, work.ratio())
    return one_by_one(
        work, lambda data: pillow_resize(decoder.decode(data, turbojpeg.TJPF_RGB, scaling_factor=scale), size)
    )


def _imagecodecs(work: Work) -> Way:
    import imagecodecs

    if not (size := work.size):
        return one_by_one(work, imagecodecs.jpeg8_decode)
    return one_by_one(work, lambda data: pillow_resize(imagecodecs.jpeg8_decode(data), size))


def _kornia(work: Work) -> Way:
    import kornia_rs

    own = threading.local()  # a decoder serves one thread at a time

    def whole(data: bytes) -> Array:
        if not hasattr(own, "decoder"):
            own.decoder = kornia_rs.io.ImageDecoder()
        return np.asarray(own.decoder.decode(data))

    if not (size := work.size):
        return one_by_one(work, whole)
    return one_by_one(work, lambda data: kornia_rs.imgproc.resize(whole(data), size, "bicubic", antialias=True))


@functools.cache
def _tensorflow() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)  # its resize would take more; tf.data has its own threads
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return tf


def _tf_io(work: Work) -> Way:
    tf, ratio = _tensorflow(), work.ratio()

    def decode(data: Any) -> Any:  # its default, INTEGER_FAST, gives other pictures than everybody else
        image = tf.io.decode_jpeg(data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")
        if work.size:
            image = tf.cast(tf.round(tf.image.resize(image, work.size, antialias=True)), tf.uint8)
        return image

    options = tf.data.Options()
    options.threading.private_threadpool_size = THREADS
    files = tf.data.Dataset.from_tensor_slices(list(work.datas)).with_options(options)
    batches = files.map(decode, num_parallel_calls=THREADS).batch(work.batch)
    return Way(lambda: (decode(data).numpy() for data in work.datas), batches.as_numpy_iterator)


def _dali(work: Work) -> Way:
    from nvidia.dali import fn, pipeline_def, types

    # Without pipelining, so that it does nothing while others take their turn.
    @pipeline_def(batch_size=work.batch, device_id=None, exec_pipelined=False, exec_async=False, prefetch_queue_depth=1)
    def build() -> Any:
        files = fn.external_source(name="files", dtype=types.UINT8, no_copy=True)
        images = fn.decoders.image(files, device="cpu", output_type=types.RGB)
        return fn.resize(images, size=work.size) if work.size else images

    def run(pipeline: Any) -> Iterator[Any]:
        for datas in work.chunks():
            pipeline.feed_input("files", [np.frombuffer(data, np.uint8) for data in datas])
            yield pipeline.run()[0]

    pipelines = [build(num_threads=threads) for threads in (1, THREADS)]
    for pipeline in pipelines:
        pipeline.build()
    return Way(
        lambda: (np.asarray(image) for images in run(pipelines[0]) for image in images),
        lambda: (images.as_array() for images in run(pipelines[1])),
    )


CONTENDERS: dict[str, Contender] = {
    "simplejpeg": Contender(_simplejpeg, "min_height=, then Pillow's resize"),
    "bytecache": Contender(_bytecache, "decode_batch(size=)"),
    "OpenCV": Contender(_opencv, "IMREAD_REDUCED_COLOR_4, resize INTER_AREA"),
    "Pillow": Contender(_pillow, "draft, resize BILINEAR"),
    "PyTurboJPEG": Contender(_pyturbojpeg, "scaling_factor=, then Pillow's resize"),
    "imagecodecs": Contender(_imagecodecs, "whole decode, then Pillow's resize"),
    "kornia-rs": Contender(_kornia, "whole decode, resize bicubic, antialias=True"),
    "tf.io": Contender(_tf_io, "ratio=4, tf.image.resize antialias=True"),
    "DALI, CPU": Contender(_dali, "decoders.image, resize"),
}


def way(name: str, work: Work) -> Way:
    """How this library does the work; Absent where it is not here, or lacks what it needs."""
    try:
        return CONTENDERS[name].make(work)
    except ModuleNotFoundError:
        raise Absent("not installed") from None
    except (ImportError, OSError, RuntimeError) as error:
        raise Absent(str(error).partition(".")[0]) from None


def ways(work: Work) -> tuple[dict[str, Way], dict[str, str]]:
    """What does the work here and gives the right pictures; and the reasons why the others do not."""
    right = right_pictures(work)
    found: dict[str, Way] = {}
    absent: dict[str, str] = {}
    for name in CONTENDERS:
        try:
            made = way(name, work)
            check(made, work, right)
            found[name] = made
        except Absent as reason:
            absent[name] = str(reason)
    return found, absent
