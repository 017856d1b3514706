"""Does maxbytes bound memory, and how many pictures does a budget hold as bytes and as arrays?

    python -m benchmarks.memory [--values N] [--maxbytes SIZE] [--json FILE]

Each cache fills in a process of its own, with values of 8 KB read from a file, and is read for three epochs more.
"""

from __future__ import annotations

import argparse
import gc
import io
import multiprocessing
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import bytecache
from benchmarks import _measure

VALUE_BYTES = 8192
EPOCHS = 4


def resident_bytes() -> int:
    """Memory of this process that is in use, shared pages included (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth(policy: str, values: int, maxbytes: str) -> dict[str, Any]:
    """Growth of resident memory over the budget, at the end of each epoch."""
    decorate = bytecache.fill_once if policy == "fill_once" else bytecache.lru_cache
    with tempfile.NamedTemporaryFile() as file:
        file.write(os.urandom(VALUE_BYTES))
        file.flush()

        @decorate(maxsize=None, maxbytes=maxbytes)
        def read(key: str) -> bytes:
            with open(file.name, "rb") as f:
                return f.read()

        read("warm")
        read.cache_clear()
        keys = [f"/data/train/{i:08d}.jpg" for i in range(values)]
        orders = [np.random.default_rng(epoch).permutation(values) for epoch in range(EPOCHS)]
        gc.collect()
        before, grown = resident_bytes(), []
        for order in orders:
            for i in order:
                read(keys[i])
            grown.append(resident_bytes() - before)
        stats = read.cache_stats()
    ratios = [bytes_ / stats.maxbytes for bytes_ in grown]
    return {"policy": policy, "growth": ratios, "entries": stats.currsize, "held_bytes": stats.currbytes}


def picture_sizes(pictures: int = 60) -> dict[str, float]:
    """Mean bytes of a drawn scene of 256 x 256: as a file, and decoded."""
    from integrations.fish_count.scene import draw_scene

    encoded = []
    for seed in range(pictures):
        file = io.BytesIO()
        rng = np.random.default_rng([0, seed])
        draw_scene(int(rng.integers(0, 21)), 256, rng).save(file, "JPEG", quality=90, subsampling="4:2:0")
        encoded.append(file.getvalue())
    arrays = [bytecache.decode_jpeg(data).nbytes for data in encoded]
    return {"encoded": float(np.mean([len(data) for data in encoded])), "decoded": float(np.mean(arrays))}


def main() -> None:
    """Measures, prints two tables, and writes the figures where --json says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=int, default=100_000, metavar="N", help="of 8 KB (default: %(default)s)")
    parser.add_argument("--maxbytes", default="400 MB", metavar="SIZE", help="the budget (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    about = _measure.environment("numpy")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        jobs = [(policy, options.values, options.maxbytes) for policy in ("fill_once", "lru_cache")]
        grown = pool.starmap(growth, jobs, chunksize=1)
    rows = [(g["policy"], g["entries"], *(f"{ratio:.3f}" for ratio in g["growth"])) for g in grown]
    columns = ("", "entries", *(f"epoch {epoch + 1}" for epoch in range(EPOCHS)), "to reach")
    rows = [
        (*row, f"1.05 {'met' if max(g['growth']) <= 1.05 else 'MISSED'}") for row, g in zip(rows, grown, strict=True)
    ]
    title = f"Growth of resident memory / maxbytes, {options.values} values of 8 KB, {options.maxbytes}"
    _measure.print_table(title, columns, rows)
    sizes = picture_sizes()
    rows = [(kind, f"{size:,.0f}", f"{2**30 / size:,.0f}") for kind, size in sizes.items()]
    _measure.print_table("Drawn scenes of 256 x 256", ("kept", "bytes each", "fit in 1 GiB"), rows)
    _measure.write_json(options.json, {"about": about, "options": vars(options), "memory": grown, "sizes": sizes})


if __name__ == "__main__":
    main()
