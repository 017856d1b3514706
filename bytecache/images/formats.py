"""Images that libjpeg-turbo's API has no name for, decoded by Pillow if it is installed."""

from __future__ import annotations

import io

import numpy as np

from .arrays import Image
from .segments import JpegData, JpegError


def decode_by_pillow(data: JpegData, size: tuple[int, int], gray: bool, reason: str) -> Image:
    """Return a JPEG image as stored, uint8 (H, W, 1) if `gray`, else RGB, (H, W, 3).

    size: (height, width) in pixels, a whole, a half, a quarter or an eighth of the image's. Raises JpegError if Pillow
    cannot decode it, or is not installed. reason: why TurboJPEG does not decode it.
    """
    try:
        from PIL import Image as pillow, UnidentifiedImageError
    except ImportError:
        raise JpegError(f"{reason}; Pillow decodes it: pip install 'bytecache[images]'") from None
    try:
        with pillow.open(io.BytesIO(data)) as opened:
            mode = "L" if gray else "RGB"
            width, height = opened.size
            scale = next(n for n in (1, 2, 4, 8) if (-(-height // n), -(-width // n)) == size)
            # libjpeg scales, and gives the luma for gray. Pillow divides rounding down, libjpeg rounds up.
            opened.draft(mode, (max(1, width // scale), max(1, height // scale)))
            image: Image = np.array(opened.convert(mode))  # writable, unlike np.asarray of Pillow's memory
    except UnidentifiedImageError:  # whose message has the address of our buffer
        raise JpegError(f"{reason}; nor can Pillow identify it") from None
    except Exception as exc:  # on damaged data its plugins raise almost anything
        raise JpegError(f"{reason}; nor can Pillow: {exc}") from None
    if image.shape[:2] != size:
        raise JpegError(f"{reason}; Pillow decodes it to {image.shape[:2]} pixels, not {size}")
    return image[..., np.newaxis] if gray else image
