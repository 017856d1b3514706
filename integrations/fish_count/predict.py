"""``predict``: count the fish in images with a trained model."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import bytecache

from .errors import UserError
from .train import load_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``predict`` to its parser."""
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="model.keras of a run of train")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="JPEG file")


def run(args: argparse.Namespace) -> None:
    """Print a count and a path per image, resized to the size that the model was trained on."""
    if not args.model.is_file():
        raise UserError(f"--model must be the model.keras of a finished run, {args.model} is not a file")
    model = load_model(args.model)
    size = model.input_shape[1:3]
    for path in args.images:
        print(f"{model.predict(load_image(path, size), verbose=0)[0, 0]:6.1f}  {path}")


def load_image(path: str, size: tuple[int, int]) -> np.ndarray:
    """Return the image as a batch of one, uint8 (1, h, w, 3)."""
    try:
        data = Path(path).read_bytes()
        same_size = bytecache.jpeg_header(data)[:2] == size
        return bytecache.decode_batch([data], size=None if same_size else size)
    except (OSError, bytecache.JpegError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"{path}: {reason}: pass JPEG files") from None
