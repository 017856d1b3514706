"""Colorspaces: those that images can be decoded to, and arrays converted from one to another."""

from __future__ import annotations

import numpy as np

from .arrays import Array, Image

CHANNELS = {"RGB": 3, "BGR": 3, "GRAY": 1, "CMYK": 4}
_LUMA = (
    np.uint32(19595),
    np.uint32(38470),
    np.uint32(7471),
)  # 0.299, 0.587, 0.114 in 1/65536, as libjpeg has them (jccolor.c)


def check_colorspace(colorspace: str) -> str:
    """Return the colorspace; raise ValueError unless images can be decoded to it."""
    if colorspace not in ("RGB", "BGR", "GRAY"):
        raise ValueError(f'colorspace must be "RGB", "BGR" or "GRAY", got {colorspace!r}')
    return colorspace


def convert_colors(image: Image, colorspace: str) -> Image:
    """Return a gray, RGB or (inverted) CMYK image in "RGB", "BGR" or "GRAY", by libjpeg's weights."""
    if image.shape[2] == 1:
        return image if colorspace == "GRAY" else np.concatenate([image] * 3, axis=2)
    if image.shape[2] == 4:  # as simplejpeg and OpenCV do it
        black = image[..., 3:].astype(np.uint16)
        image = (black - ((255 - image[..., :3]) * black >> 8)).astype(np.uint8)
    if colorspace == "BGR":
        image = image[..., ::-1].copy()
    if colorspace == "GRAY":
        luma: Array = np.full((*image.shape[:2], 1), 32768, np.uint32)
        for channel, weight in enumerate(_LUMA):
            luma += np.multiply(image[..., channel : channel + 1], weight, dtype=np.uint32)  # numpy 1 would take uint16
        gray: Image = (luma >> 16).astype(np.uint8)
        return gray
    return image
