"""A folder with a file of every odd kind: what Pillow reads is read, and training goes on over it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from bytecache import JpegError, decode_image, fill_once, shrink_jpeg

pytest.importorskip("PIL", reason="Pillow makes and reads the odd files")
from helpers.odd_files import READABLE, UNREADABLE  # noqa: E402
from PIL import Image  # noqa: E402

SIZE, BATCH, EPOCHS = (32, 40), 8, 2


@pytest.fixture
def folder(tmp_path: Path) -> tuple[list[Path], list[Path]]:
    """The paths of the readable files, and of the others, each named after its kind and not after its format."""
    paths: list[list[Path]] = []
    for files in (READABLE, UNREADABLE):
        paths.append([])
        for number, data in enumerate(files.values()):
            paths[-1].append(tmp_path / f"{'un' * (files is UNREADABLE)}readable {number}.jpg")
            paths[-1][-1].write_bytes(data)
    return paths[0], paths[1]


@pytest.mark.parametrize("data", READABLE.values(), ids=READABLE)
def test_what_pillow_reads_is_read(data: bytes) -> None:
    """Pixels are Pillow's within 1; of CMYK within 2, which it converts by another rounding."""
    image = Image.open(BytesIO(data))
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image.info.pop("transparency", None)
    expected = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(decode_image(data) - expected).max() <= (2 if image.mode == "CMYK" else 1)
    assert decode_image(shrink_jpeg(data, max_side=24)).ndim == 3


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_refused_is_refused_with_a_reason(data: bytes) -> None:
    """Pillow refuses it as well, or knows that it is not whole."""
    with pytest.raises(JpegError):
        decode_image(data)
    with pytest.raises((OSError, SyntaxError, ValueError)):
        Image.open(BytesIO(data)).load()


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad", "random_crop"])
def test_training_with_torch_goes_on(folder: tuple[list[Path], list[Path]], resize: str) -> None:
    """Over all files with on_error="skip", and over the readable ones with "raise": the counts agree."""
    pytest.importorskip("torch", reason="the torch adapter needs torch")
    from torch.utils.data import DataLoader

    from bytecache.torch import EpochSampler, ImageDataset

    counts = []
    for paths, on_error in ((folder[0] + folder[1], "skip"), (folder[0], "raise")):
        read = fill_once(Path.read_bytes)
        data = ImageDataset(paths, None, load=read, size=SIZE, resize=resize, orient=True, on_error=on_error)
        sampler = EpochSampler(data, seed=0)
        for epoch in range(EPOCHS):
            sampler.set_epoch(epoch)
            counts.append(sum(map(len, DataLoader(data, batch_size=BATCH, sampler=sampler))))
        assert data.skipped == (EPOCHS * len(folder[1]) if on_error == "skip" else 0)
    assert counts == [len(folder[0])] * 2 * EPOCHS


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad", "random_crop"])
@pytest.mark.filterwarnings("ignore")  # TensorFlow's own, while it is imported
def test_training_with_keras_goes_on(folder: tuple[list[Path], list[Path]], resize: str) -> None:
    """Over all files with on_error="skip", and over the readable ones with "raise": the counts agree."""
    pytest.importorskip("keras", reason="the Keras adapter needs keras")
    from bytecache.keras import ImageDataset

    counts = []
    for paths, on_error in ((folder[0] + folder[1], "skip"), (folder[0], "raise")):
        read = fill_once(Path.read_bytes)
        options = {"size": SIZE, "resize": resize, "orient": True, "on_error": on_error, "batch_size": BATCH}
        data = ImageDataset(paths, None, load=read, **options)
        counts += [sum(len(images) for (images,) in data) for _ in range(EPOCHS)]
        assert data.skipped == (EPOCHS * len(folder[1]) if on_error == "skip" else 0)
    assert counts == [len(folder[0])] * 2 * EPOCHS
