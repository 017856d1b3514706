"""SPDL: a pipeline of threads, with no cache but the page cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import spdl.io
from spdl.pipeline import PipelineBuilder

from . import Epochs, Job
from .image_files import decoder, reader

THREADS = 8  # the default of its DataLoader
REQUESTS = 16  # concurrent ones over HTTP


def pipeline(job: Job, decode: Callable[[bytes], Any], collate: Callable[[list[Any]], Any]) -> Epochs:
    """Read, decode and batch, each in a stage of its own."""
    paths, read_files = job.paths, reader(job)

    def read(index: int) -> tuple[bytes, int]:
        return read_files([paths[index]])[0], index

    def decode_file(file: tuple[bytes, int]) -> tuple[Any, int]:
        return decode(file[0]), file[1]

    def batch(samples: list[tuple[Any, int]]) -> tuple[Any, np.ndarray[Any, Any]]:
        images, labels = zip(*samples, strict=True)
        return collate(list(images)), np.array(labels)

    def run(epoch: int) -> Iterator[Any]:
        requests = REQUESTS if job.remote else THREADS
        builder = PipelineBuilder().add_source(np.random.default_rng((job.seed, epoch)).permutation(job.count).tolist())
        builder.pipe(read, concurrency=requests, output_order="completion")
        builder.pipe(decode_file, concurrency=job.workers, output_order="completion")
        builder.aggregate(job.batch).pipe(batch).add_sink(3)
        stages = builder.build(num_threads=requests + job.workers + 1)
        with stages.auto_stop():
            yield from stages.get_iterator()

    return run


def ffmpeg(job: Job) -> Epochs:
    """Decode and resize with FFmpeg, as in its documentation, by the filter that all others use."""
    resize = spdl.io.get_video_filter_desc(
        scale_width=job.side, scale_height=job.side, scale_algo="bilinear", scale_mode=None, pix_fmt="rgb24"
    )

    def decode(data: bytes) -> Any:
        return spdl.io.decode_packets(spdl.io.demux_image(data), filter_desc=resize)

    return pipeline(job, decode, lambda frames: spdl.io.to_numpy(spdl.io.convert_frames(frames)))


def simplejpeg(job: Job) -> Epochs:
    """Decode with simplejpeg."""
    return pipeline(job, decoder(job), np.stack)
