"""``predict``: count the fish in images with a trained model."""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

import bytecache

from .errors import UserError
from .requirements import require

Count = Callable[[np.ndarray], float]  # of an image, uint8 (1, h, w, 3)


def run(args: argparse.Namespace) -> None:
    """Print a count and a path per image, resized to the size that the model was trained on."""
    count, size = load_model(args.model)
    for path in args.images:
        print(f"{count(load_image(path, size)):6.1f}  {path}", flush=True)


def load_model(path: Path) -> tuple[Count, tuple[int, int]]:
    """Return a function that counts, and the (height, width) of its images; a file's content says whose it is."""
    try:
        with zipfile.ZipFile(path) as archive:  # both kinds are
            names, problem = archive.namelist(), ""
    except (OSError, zipfile.BadZipFile) as error:
        names, problem = [], f" ({error})"
    if "config.json" in names:
        return load_keras_model(path)
    if any(name.endswith("/data.pkl") for name in names):
        return load_torch_model(path)
    raise UserError(f"--model must be the model.keras or model.pt of a finished run, {path} is neither{problem}")


def load_keras_model(path: Path) -> tuple[Count, tuple[int, int]]:
    """Return what ``train`` saved."""
    require("keras")
    from .train import load_model

    model = load_model(path)
    return lambda image: float(model.predict_on_batch(image)[0, 0]), model.input_shape[1:3]


def load_torch_model(path: Path) -> tuple[Count, tuple[int, int]]:
    """Return what ``train_torch`` saved."""
    require("torch")
    import torch

    from .checkpoint_torch import load
    from .model_torch import FishCount

    net = FishCount(0.0)
    size = load(path, net=net)
    net.eval()

    @torch.no_grad()
    def count(image: np.ndarray) -> float:
        return float(net(torch.from_numpy(image).permute(0, 3, 1, 2))[0])

    return count, tuple(size)


def load_image(path: str, size: tuple[int, int]) -> np.ndarray:
    """Return the image as a batch of one, uint8 (1, h, w, 3)."""
    try:
        data = Path(path).read_bytes()
        same_size = bytecache.image_size(data)[:2] == size
        return bytecache.decode_batch([data], size=None if same_size else size)
    except (OSError, ImportError, bytecache.JpegError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"{path}: {reason}: pass image files") from None
