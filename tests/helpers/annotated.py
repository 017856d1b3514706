"""Annotated pictures whose pixels tell whether boxes and masks still belong to them, and a random flip of both."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

SIDE, N = 32, 24
MOST = 3  # boxes in a picture


def write_pictures(folder: Path) -> list[Path]:
    """Write N black pictures with 0 to 3 bright boxes, and beside each a PNG mask: 1 in the boxes, palette colors."""
    from PIL import Image

    paths = [folder / f"{i:02}.jpg" for i in range(N)]
    for path, boxes in zip(paths, all_boxes(), strict=True):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        for left, top, right, bottom in boxes.astype(int):
            mask[top:bottom, left:right] = 1
        path.write_bytes(simplejpeg.encode_jpeg(np.repeat(mask[..., None] * 255, 3, axis=2), 95))
        palette = Image.fromarray(mask).convert("P")
        palette.putdata(mask.ravel().tolist())
        palette.putpalette([0, 0, 0, 200, 30, 30])
        file = io.BytesIO()
        palette.save(file, "PNG")
        path.with_suffix(".png").write_bytes(file.getvalue())
    return paths


def all_boxes() -> list[Any]:
    """Return the boxes of each picture, float32 (k, 4): left, top, right, bottom; every fourth picture has none."""
    boxes = []
    for i in range(N):
        lefts = [(1, 12, 23)[(i + j) % 3] for j in range(i % (MOST + 1))]
        boxes.append(np.array([(x, 2 + i % 8, x + 6, 12 + i % 8) for x in lefts], np.float32).reshape(-1, 4))
    return boxes


def flip_boxes(boxes: Any) -> Any:
    """Mirror boxes (k, 4) in place, as a picture of SIDE pixels that is mirrored, and return them."""
    lefts = boxes[:, 0] + 0
    boxes[:, 0] = SIDE - boxes[:, 2]
    boxes[:, 2] = SIDE - lefts
    return boxes


def boxes_fit(image: Any, boxes: Any) -> bool:
    """Return whether these are the bright boxes of a picture (H, W, 3): all of them, and nowhere else is light."""
    bright = image.mean(axis=2) > 128
    expected = np.zeros_like(bright)
    for left, top, right, bottom in np.asarray(boxes).astype(int):
        expected[top:bottom, left:right] = True
    return bool((bright != expected).mean() < 0.03) and bool(bright.any()) == (len(boxes) > 0)


def mask_fits(image: Any, mask: Any) -> bool:
    """Return whether a mask (H, W) is that of the picture, and has no numbers but its classes."""
    return bool(((image.mean(axis=2) > 128) != mask).mean() < 0.03) and set(np.unique(mask).tolist()) <= {0, 1}
