"""The options of every command, apart from the commands: ``--help`` needs none of their packages."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def make_data_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``make_data`` to its parser."""
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder to create: DIR/COUNT/NAME.jpg")
    add("--images", type=int, default=1800, metavar="N", help="number of images (%(default)s)")
    add("--size", type=int, default=256, metavar="PX", help="width and height in pixels (%(default)s)")
    add("--seed", type=int, default=0, metavar="S", help="equal seeds give equal bytes (%(default)s)")
    add("--max-count", type=int, default=20, metavar="N", help="most fish per image (%(default)s)")
    add("--quality", type=int, default=90, metavar="Q", help="JPEG quality, 1 to 95 (%(default)s)")
    add("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (%(default)s)")
    add("--stamps", type=Path, metavar="DIR", help="PNG cut-outs to paste instead of drawn fish")
    add("--backgrounds", type=Path, metavar="DIR", help="photographs to paste them over")


def train_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``train`` to its parser."""
    _trainer_options(parser, ["auto", "fill_once", "lru", "none"], 1, "threads")


def train_torch_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``train_torch`` to its parser."""
    _trainer_options(parser, ["auto", "fill_once", "none"], 0, "processes")
    add = parser.add_argument
    add("--start-method", choices=["fork", "spawn", "forkserver"], help="how workers are started (default: Python's)")
    add("--store", type=Path, metavar="DIR", help="keep the cache in this folder for later runs")


def _trainer_options(parser: argparse.ArgumentParser, caches: list[str], workers: int, worker_kind: str) -> None:
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="images DIR/COUNT/NAME.jpg, as make_data writes them")
    add("--out", type=Path, required=True, metavar="RUN", help="folder for the model, the history and the report")
    add("--cache", choices=caches, default="fill_once", help="how reads are cached (%(default)s)")
    add("--maxbytes", default="50%", metavar="SIZE",
        help='budget of the cache: "2 GiB", "50%%" of the available memory, "50%% of data" (%(default)s)')  # fmt: skip
    add("--remote", metavar="URL",
        help='keep what machines share in a Redis or Valkey server, or a cluster: "redis://host:6379"')  # fmt: skip
    add("--epochs", type=int, default=10, metavar="N", help="maximum number of epochs (%(default)s)")
    add("--batch-size", type=int, default=32, metavar="B", help="images per step (%(default)s)")
    add("--size", metavar="HxW", help="resize images to this height and width in pixels (default: as they are)")
    add("--seed", type=int, default=0, metavar="S", help="of the split, the order and the weights (%(default)s)")
    add("--workers", type=int, default=workers, metavar="W", help=f"{worker_kind} that prefetch batches (%(default)s)")
    add("--read-ahead", type=int, metavar="N",
        help="batches to read ahead of time (default: as many as keep the storage busy)")  # fmt: skip
    add("--latency-ms", type=float, default=0, metavar="MS",
        help="read from an HTTP server that takes MS for each request (default: from the folder)")  # fmt: skip
    add("--parallel", type=int, default=4, metavar="N", help="requests that the server answers at a time (%(default)s)")
    add("--on-error", choices=["raise", "skip"], default="raise",
        help="a bad image ends the run, or is left out and listed in the summary (%(default)s)")  # fmt: skip
    add("--resume", action="store_true", help="continue the run in RUN after its last epoch")


def predict_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``predict`` to its parser."""
    parser.add_argument(
        "--model", type=Path, required=True, metavar="FILE", help="model.keras or model.pt of a finished run"
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image file")


def compare_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``compare`` to its parser."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder that train or train_torch wrote")
    parser.add_argument("--out", type=Path, metavar="FILE", help="draw the comparison into this PNG file")
