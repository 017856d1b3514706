"""The resize: Pillow's pixels within 1, from either package, on threads and in forked children."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers.images import make_image
from helpers.processes import in_child
from helpers.threads import together

from bytecache.images import resize as module
from bytecache.images.resize import resize

pillow = pytest.importorskip("PIL.Image", reason="Pillow is the oracle")


@pytest.fixture(params=["cykooz_resizer", "Pillow"])
def package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each implementation in turn."""
    if request.param == "Pillow":
        monkeypatch.setattr(module, "_implementation", lambda: module._by_pillow)
    else:
        pytest.importorskip("cykooz_resizer", reason="it has no wheel for this platform")
    yield request.param


def by_pillow(image: np.ndarray[Any, Any], size: tuple[int, int]) -> np.ndarray[Any, Any]:
    source = pillow.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    return np.asarray(source.resize(size[::-1], pillow.Resampling.BILINEAR)).reshape(*size, image.shape[2])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "sizes",
    [
        ((375, 500), (224, 224)),
        ((256, 256), (224, 224)),
        ((97, 131), (33, 200)),
        ((20, 30), (75, 41)),
        ((9, 7), (1, 1)),
    ],
    ids=str,
)
def test_pixels_are_pillows_within_one(package: str, sizes: Any, channels: int) -> None:
    """Smaller, larger, out of proportion and to a single pixel, gray and color."""
    image, out = make_image(*sizes[0], channels=channels), np.zeros((*sizes[1], channels), np.uint8)
    resize(image, out)
    assert np.abs(out.astype(int) - by_pillow(image, sizes[1])).max() <= 1


def test_sources_and_targets_that_are_views(package: str) -> None:
    """A mirrored image is resized as it looks, into a part of a larger array; nothing else there changes."""
    image, batch = make_image(60, 80)[::-1, ::-1], np.full((3, 30, 40, 3), 7, np.uint8)
    resize(image, batch[1])
    assert np.abs(batch[1].astype(int) - by_pillow(np.ascontiguousarray(image), (30, 40))).max() <= 1
    assert (batch[[0, 2]] == 7).all()


def test_threads_and_forked_children(package: str) -> None:
    """Each thread has what it needs for itself, and so has a child that is forked while others resize."""
    image = make_image(120, 160)

    def work(height: int) -> np.ndarray[Any, Any]:
        out = np.zeros((height, 50, 3), np.uint8)
        for _ in range(20):
            resize(image, out)
        return out

    expected = [by_pillow(image, (height, 50)) for height in (40, 41, 42)]
    for results in together(*[lambda: [work(height) for height in (40, 41, 42)]] * 3):
        assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(results, expected, strict=True))
    assert np.array_equal(in_child(lambda: work(40)), work(40))
