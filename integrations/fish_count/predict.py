"""``predict``: how many fish a trained model sees in pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import bytecache

from .problem import Problem
from .train import load_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``predict`` to its parser."""
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="model.keras of a run of train")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="JPEG files")


def run(args: argparse.Namespace) -> None:
    """Prints a count and a path per picture, which is resized to what the model was trained on."""
    if not args.model.is_file():
        raise Problem(f"--model must be the model.keras of a finished run, {args.model} is no file")
    model = load_model(args.model)
    size = model.input_shape[1:3]
    for path in args.images:
        print(f"{model.predict(pixels(path, size), verbose=0)[0, 0]:6.1f}  {path}")


def pixels(path: str, size: tuple[int, int]) -> np.ndarray:
    """The picture as a batch of one, uint8 (1, h, w, 3)."""
    try:
        data = Path(path).read_bytes()
        same = bytecache.jpeg_header(data)[:2] == size
        return bytecache.decode_batch([data], size=None if same else size)
    except (OSError, bytecache.JpegError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Problem(f"{path}: {reason}: give JPEG files") from None
