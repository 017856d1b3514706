"""Hugging Face datasets: Arrow files, memory-mapped if they are local, streamed if they are remote."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from typing import Any

import datasets
from torch.utils.data import DataLoader

from . import Epochs, Job
from .image_files import decoder, fetch
from .plain import loader
from .shards import buffer, read_files, split

datasets.disable_progress_bars()
BATCH_ROWS = 100  # in a record batch, which streaming reads as a whole


def convert(files: str, folder: str, count: int) -> None:
    """Write shards with `save_to_disk`."""

    def samples(shards: list[range]) -> Iterator[dict[str, Any]]:
        for labels in shards:
            for label, data in read_files(files, labels):
                yield {"image": data, "label": label}

    shards = split(files, count)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        data = datasets.Dataset.from_generator(
            samples, gen_kwargs={"shards": shards}, cache_dir=scratch, writer_batch_size=BATCH_ROWS
        )
        data.save_to_disk(folder, num_shards=len(shards))


def arrow(job: Job) -> Epochs:
    """Read memory-mapped rows in a DataLoader's order; or a stream, shuffled through a buffer."""
    decode = decoder(job)

    def transform(rows: dict[str, Any]) -> dict[str, Any]:
        return {"image": [decode(data) for data in rows["image"]], "label": rows["label"]}

    if not job.remote:
        batches = loader(datasets.load_from_disk(f"{job.root}/arrow").with_transform(transform), job)
        return lambda epoch: ((batch["image"], batch["label"]) for batch in batches)
    names = [file["filename"] for file in json.loads(fetch(f"{job.root}/arrow/state.json"))["_data_files"]]
    urls = [f"{job.root}/arrow/{name}" for name in names]
    stream = datasets.load_dataset("arrow", data_files=urls, split="train", streaming=True, cache_dir=job.scratch)
    data = stream.shuffle(job.seed, buffer_size=buffer(job)).map(transform, batched=True, batch_size=job.batch)
    batches = DataLoader(data, job.batch, num_workers=job.workers, persistent_workers=True)

    def run(epoch: int) -> Any:
        data.set_epoch(epoch)
        return ((batch["image"], batch["label"]) for batch in batches)

    return run
