"""A detector and a segmenter trained on pictures that are flipped with boxes and masks, through both adapters."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.annotated import SIDE, N, all_boxes, boxes_fit, flip_boxes, mask_fits, write_pictures

pytest.importorskip("PIL", reason="masks are decoded by Pillow")
import bytecache  # noqa: E402

EPOCHS = 2
TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Pictures with no, one, two or three boxes, and their masks."""
    return write_pictures(tmp_path_factory.mktemp("annotated"))


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_keras(backend, paths):
    """Every sample of every epoch comes with its own boxes, or mask, and each file is read once."""
    pytest.importorskip("keras", reason="the Keras adapter needs keras")
    pytest.importorskip(backend, reason=f"the {backend} backend needs {backend}")
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    script = [sys.executable, TESTS / "jobs" / "keras_pictures.py", paths[0].parent]
    run = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.splitlines()[-1])
    for kind, files in (("detector", N), ("segmenter", 2 * N)):
        assert found[kind]["fit"] == [True] * (EPOCHS * N), kind
        assert found[kind]["pictures"] > N * 0.75, kind  # those without boxes are all the same
        assert found[kind]["misses"] == [files, 0], kind


torch = pytest.importorskip("torch", reason="the torch adapter needs torch")
from torch.utils.data import DataLoader  # noqa: E402

from bytecache.torch import EpochSampler, ImageDataset, collate  # noqa: E402


@bytecache.fill_once(shared=True, maxbytes="4 MiB")
def read(path):
    return path.read_bytes()


def read_with_mask(path):
    return read(path), read(path.with_suffix(".png"))


def flip_boxes_too(image, target):
    if random.random() < 0.5:
        return image.flip(-1), {**target, "boxes": flip_boxes(target["boxes"]), "flipped": True}
    return image, {**target, "flipped": False}


def flip_both(image, mask):
    return (image.flip(-1), mask.flip(-1)) if torch.rand(()) < 0.5 else (image, mask)


def epochs(data):
    """Yield the batches of each epoch, made by two worker processes."""
    sampler = EpochSampler(data, seed=0)
    loader = DataLoader(data, batch_size=4, sampler=sampler, num_workers=2, persistent_workers=True, collate_fn=collate)
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        yield list(loader)


@pytest.mark.foreign_threads
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_torch_detector(paths):
    """Every picture comes once per epoch with its own boxes, flipped or not; a model is trained on them."""
    read.cache_clear()
    targets = [{"boxes": torch.from_numpy(boxes), "id": i} for i, boxes in enumerate(all_boxes())]
    data = ImageDataset(paths, targets, load=read, transforms=flip_boxes_too)
    model = torch.nn.Linear(3 * SIDE * SIDE, 4)
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)
    flipped = []
    for batches in epochs(data):
        seen = []
        for images, batch in batches:
            for image, boxes in zip(images, batch["boxes"], strict=True):
                assert boxes_fit(image.permute(1, 2, 0).numpy(), boxes)
            seen += batch["id"].tolist()
            flipped += batch["flipped"].tolist()
            predicted = model(images.flatten(1) / 255)
            loss = sum(
                ((boxes / SIDE - each) ** 2).sum() for boxes, each in zip(batch["boxes"], predicted, strict=True)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert sorted(seen) == list(range(N))
    assert 0 < sum(flipped) < EPOCHS * N
    assert read.cache_stats(scope="all").misses == N


@pytest.mark.foreign_threads
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_torch_segmenter(paths):
    """Every picture comes with its own mask, of class numbers, flipped or not; a model is trained on them."""
    read.cache_clear()
    data = ImageDataset(paths, None, load=read_with_mask, masks=1, transforms=flip_both)
    model = torch.nn.Conv2d(3, 2, 3, padding=1)
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    pictures = set()
    for batches in epochs(data):
        for images, masks in batches:
            for image, mask in zip(images, masks, strict=True):
                assert mask_fits(image.permute(1, 2, 0).numpy(), mask.numpy())
                pictures.add(np.ascontiguousarray(image.numpy()).tobytes())
            loss = torch.nn.functional.cross_entropy(model(images / 255), masks.long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert len(pictures) > N * 0.75
    assert read.cache_stats(scope="all").misses == 2 * N
