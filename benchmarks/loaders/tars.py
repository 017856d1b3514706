"""WebDataset: tar files that are read sequentially."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import webdataset
from torch.utils.data import default_collate

from . import Epochs, Job
from .image_files import decoder, fetch
from .shards import buffer, read_files, split

if shutil.which("curl") is None:  # which it runs for each shard that it reads over HTTP
    webdataset.gopen_schemes["http"] = lambda url, mode, bufsize: urlopen(url)


def convert(files: str, folder: str, count: int) -> None:
    """Write shards with a member per image, named by its label, and a list of them, as it cannot list a folder."""
    shards = {f"{number:06d}.tar": labels for number, labels in enumerate(split(files, count))}
    for shard, labels in shards.items():
        with webdataset.TarWriter(f"{folder}/{shard}") as writer:
            for label, data in read_files(files, labels):
                writer.write({"__key__": f"{label:06d}", "jpg": data})
    Path(f"{folder}/shards.json").write_text(json.dumps(list(shards)), encoding="utf-8")


def epochs(job: Job, **options: Any) -> Epochs:
    """Give each worker its own shards, in a new order every epoch, and shuffle their images through a buffer."""

    decode = decoder(job)

    def sample(members: dict[str, Any]) -> Any:
        return decode(members["jpg"]), int(members["__key__"])

    urls = [f"{job.root}/tar/{shard}" for shard in json.loads(fetch(f"{job.root}/tar/shards.json"))]
    data = webdataset.WebDataset(urls, shardshuffle=len(urls), detshuffle=True, seed=job.seed, **options)
    data = data.compose(webdataset.detshuffle(buffer(job), seed=job.seed)).map(sample)
    data = data.batched(job.batch, collation_fn=default_collate)
    batches = webdataset.WebLoader(data, batch_size=None, num_workers=job.workers, persistent_workers=True)
    return lambda epoch: batches


def shards(job: Job) -> Epochs:
    """Stream the shards from storage in every epoch."""
    return epochs(job)


def cached(job: Job) -> Epochs:
    """Stream the shards from storage in the first epoch, and from the local disk afterwards."""
    if not job.remote:
        raise NotImplementedError("the shards are on the local disk already")
    return epochs(job, cache_dir=job.scratch)
