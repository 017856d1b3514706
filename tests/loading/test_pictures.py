"""Samples of several pictures: (image, mask), (left, right), (low, high), in batches of numpy arrays."""

from __future__ import annotations

import io

import numpy as np
import pytest
from helpers.images import exif_segment, insert, make_image, make_jpeg

pytest.importorskip("PIL", reason="masks are decoded, and images resized, by Pillow")
from PIL import Image, ImageOps  # noqa: E402

import bytecache  # noqa: E402
from bytecache.loading.batches import BatchLoader  # noqa: E402
from bytecache.loading.samples import SampleError  # noqa: E402

# An image whose pixels tell their place: red is the row, green the column. Its mask has the same numbers.
HEIGHT, WIDTH = 40, 60


def place_image(height=HEIGHT, width=WIDTH):
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 4, columns * 4, rows * 0], axis=2).astype(np.uint8)


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def mask_of(image):
    """Return the mask of the image: class 1 where it is red above 80, 2 where it is green above 120, 3 if both."""
    return ((image[..., 0] > 80) + 2 * (image[..., 1] > 120)).astype(np.uint8)


def load_batch(sample, targets=None, n=4, **options):
    """Return a batch of n samples that are all this one."""
    loader = BatchLoader(range(n), targets, batch_size=n, load=lambda _: sample, shuffle=False, **options)
    return loader.load(0, 0)


def test_without_targets_the_mask_is_the_target():
    """Images (n, H, W, 3), masks (n, H, W), with the numbers of the file."""
    image, mask = make_jpeg(20, 30), np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    batch = load_batch((image, png(mask)), masks=1)
    assert np.array_equal(batch.images[3], bytecache.decode_jpeg(image))
    assert batch.targets.shape == (4, 20, 30) and np.array_equal(batch.targets[3], mask)


def test_with_targets_both_pictures_are_inputs():
    """As for a pair of photographs and whether they match."""
    left, right = make_jpeg(20, 30, 0), make_jpeg(10, 12, 1)
    batch = load_batch((left, right), targets=[0, 1, 0, 1])
    assert [images.shape for images in batch.images] == [(4, 20, 30, 3), (4, 10, 12, 3)]
    assert np.array_equal(batch.images[1][2], bytecache.decode_jpeg(right)) and batch.targets.tolist() == [0, 1, 0, 1]


def test_of_three_pictures_the_last_is_the_target():
    """Two inputs, one mask."""
    pictures = make_jpeg(20, 30, 0), make_jpeg(20, 30, 1), png(np.full((20, 30), 7, np.uint8))
    batch = load_batch(pictures, masks=(2,))
    assert len(batch.images) == 2 and set(batch.targets.flat) == {7}


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad", "random_crop"])
@pytest.mark.parametrize("scale", [1, 2], ids=["same size", "half the size"])
def test_a_mask_gets_the_box_of_its_image(resize, scale):
    """It agrees with the mask computed from the resized image, but for pixels at edges of classes."""
    image = place_image()
    mask = mask_of(image)[::scale, ::scale]
    batch = load_batch((png(image), png(mask)), masks=1, size=(48, 48), resize=resize, n=8)
    assert batch.targets.shape == (8, 48, 48) and set(batch.targets.flat) <= {0, 1, 2, 3}
    wrong = (mask_of(batch.images) != batch.targets).mean(axis=(1, 2))
    assert wrong.max() < 0.06 * scale
    if resize == "random_crop":
        assert len({targets.tobytes() for targets in batch.targets}) == 8


def test_class_numbers_are_never_blended():
    """Neither eight bits nor sixteen, however much smaller the result is; arrays as well."""
    for numbers in (np.tile([0, 200], (30, 20)).astype(np.uint8), np.tile([1, 60000], (30, 20)).astype(np.uint16)):
        for mask in (png(numbers), numbers):
            targets = load_batch((make_jpeg(30, 40), mask), masks=1, size=(11, 13)).targets
            assert set(targets.flat) == set(numbers.flat)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orient_turns_a_mask_as_its_image(orientation):
    """A mask of the stored image has no tag of its own."""
    image = make_image(16, 24)
    stored = insert(make_jpeg(16, 24), exif_segment(orientation))
    mask = mask_of(image)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(stored)))
    with Image.open(io.BytesIO(png(mask))) as file:
        file.getexif()[0x0112] = orientation
        expected = np.asarray(ImageOps.exif_transpose(file))
    batch = load_batch((stored, png(mask)), masks=1, orient=True)
    assert batch.images.shape[1:3] == (upright.height, upright.width)
    assert np.array_equal(batch.targets[0], expected)
    assert np.array_equal(load_batch((stored, png(mask)), masks=1).targets[0], mask)


def test_a_mask_of_the_upright_image_is_not_turned_again():
    """One that was drawn on the upright picture has its sides, not those of the file."""
    stored = insert(make_jpeg(16, 24), exif_segment(6))
    mask = np.arange(24 * 16, dtype=np.uint8).reshape(24, 16)
    assert np.array_equal(load_batch((stored, png(mask)), masks=1, orient=True).targets[0], mask)


@pytest.mark.parametrize("as_array", [True, False])
@pytest.mark.parametrize("options", [{}, {"size": (8, 8)}], ids=["as they are", "resized"])
def test_a_mask_that_lies_crosswise_is_an_error(as_array, options):
    """It was drawn on the upright picture, of which the file has an orientation that is not applied."""
    stored = insert(make_jpeg(16, 24), exif_segment(6))
    mask = np.arange(24 * 16, dtype=np.uint8).reshape(24, 16)
    with pytest.raises(SampleError, match="the mask has 24 x 16 pixels, its image 16 x 24: pass orient=True"):
        load_batch((stored, mask if as_array else png(mask)), masks=1, **options)


@pytest.mark.parametrize("sides", [(39, 13), (70, 49), (333, 111), (101, 101)], ids=str)
def test_the_box_of_a_smaller_picture_is_within_it(sides):
    """Whatever the proportion of the sizes, which floats cannot hold exactly."""
    large, small = (np.zeros((side, side, 3), np.uint8) for side in sides)
    batch = load_batch((large, small), [0] * 64, size=(8, 8), resize="random_crop", n=64, crop_scale=(0.9, 1))
    assert batch.images[1].shape == (64, 8, 8, 3) and not batch.skipped


def test_pictures_of_one_sample_get_the_same_random_box():
    """Left and right of one size, and a picture of half the size."""
    image = png(place_image())
    small = png(place_image()[::2, ::2])
    batch = load_batch((image, image, small), [0] * 8, size=(32, 32), resize="random_crop", n=8)
    left, right, half = batch.images
    assert np.array_equal(left, right)
    assert np.abs(left.astype(int) - half).mean() < 8
    assert len({each.tobytes() for each in left}) == 8


def test_transform_is_for_the_inputs_alone():
    """Not for a mask, whether it is the target or an input."""
    sample = make_jpeg(20, 30), np.full((20, 30), 3, np.uint8)

    def black(image):
        assert image.flags.writeable and image.ndim == 3
        image[...] = 0
        return image

    batch = load_batch(sample, masks=1, transform=black)
    assert not batch.images.any() and set(batch.targets.flat) == {3}
    images, masks = load_batch(sample, [0] * 4, masks=1, transform=black).images
    assert not images.any() and set(masks.flat) == {3}


def test_transforms_gets_copies_of_image_and_target():
    """What it writes is in no stored array, and its results, of any shape, are the batch."""
    load = bytecache.fill_once(lambda _: (np.full((4, 6, 3), 5, np.uint8), np.full((4, 6), 6, np.uint8)))
    boxes = [np.ones((i, 4)) for i in range(4)]

    def double(image, target):
        image *= 2
        target *= 2
        return image[:2], target[:2] if target.ndim == 2 and len(target) == 4 else target

    for _ in range(2):
        loader = BatchLoader(range(4), None, batch_size=4, load=load, masks=1, transforms=double, shuffle=False)
        batch = loader.load(0, 0)
        assert batch.images.shape == (4, 2, 6, 3) and set(batch.images.flat) == {10}
        assert batch.targets.shape == (4, 2, 6) and set(batch.targets.flat) == {12}
    loader = BatchLoader(range(4), boxes, batch_size=4, load=lambda _: load(0)[0], transforms=double, shuffle=False)
    for _ in range(2):
        assert [target.sum() for target in loader.load(0, 0).targets] == [0, 8, 16, 24]
    assert set(load(0)[0].flat) == {5} and set(load(0)[1].flat) == {6}


def test_transform_comes_before_transforms():
    """Both may be given."""
    batch = load_batch(
        np.ones((2, 2, 3), np.uint8), [1] * 4, transform=lambda x: x + 1, transforms=lambda x, y: (x * 10, y + 1)
    )
    assert set(batch.images.flat) == {20} and batch.targets.tolist() == [2] * 4


@pytest.mark.parametrize(
    "sample, options, reason",
    [
        (
            np.ones((2, 2, 3)),
            {"transforms": lambda x, y: (x, y)},
            "transforms is a function of .image, target., and there",
        ),
        (
            (np.ones((2, 2, 3)),) * 2,
            {"transforms": lambda x, y: x},
            "transforms must return .image, target., got ndarray",
        ),
        (np.ones((2, 2, 3)), {"masks": 1}, "a picture at each position of masks=.1,., got 1 in all"),
        ((np.ones((2, 2, 3)), b"no picture"), {"masks": 1}, "expected the bytes of an image"),
        ((np.ones((2, 2, 3)), np.ones((0, 2))), {"masks": 1}, "an array must have pixels"),
        ((np.ones((2, 2, 3)), np.ones(3)), {"size": (2, 2)}, "an array must have the shape"),
    ],
)
def test_a_sample_that_cannot_be_made_names_the_reason(sample, options, reason):
    """And the path, as any sample that fails."""
    with pytest.raises(SampleError, match=f"^0: .*{reason}"):
        load_batch(sample, dtype="float64", **options)


def test_a_sample_with_another_number_of_pictures_is_left_out():
    """It may be skipped as any that fails."""
    image = np.ones((2, 2, 3), np.uint8)
    samples = [(image, image), image, (image, image), (image, image)]
    for transforms in (None, lambda x, y: (x, y)):
        loader = BatchLoader(
            range(4), [0, 1, 2, 3], batch_size=4, load=samples.__getitem__, on_error="skip", shuffle=False,
            transforms=transforms,
        )  # fmt: skip
        batch = loader.load(0, 0)
        assert batch.targets.tolist() == [0, 2, 3] and [path for path, _ in batch.skipped] == [1]
        assert "2" in batch.skipped[0][1] and "1" in batch.skipped[0][1]


@pytest.mark.parametrize("masks", [0, -1, (0,), True, "1", 1.5, None], ids=repr)
def test_positions_of_masks_are_checked(masks):
    """The image is no mask."""
    with pytest.raises(ValueError, match="masks must be positions in the tuple that load returns, from 1 on"):
        load_batch((b"", b""), masks=masks)


def test_sample_weights_come_with_their_samples():
    """In the order of the batch; without a target they have nothing to weigh."""
    image, weights = np.ones((2, 2, 3), np.uint8), np.arange(4) / 10
    loader = BatchLoader(range(4), range(4), batch_size=4, load=lambda _: image, sample_weight=weights)
    batch = loader.load(0, 0)
    assert np.array_equal(batch.weights, batch.targets / 10)
    with pytest.raises(ValueError, match="sample_weight must have one entry per path, got 3 for 4"):
        load_batch(image, [0] * 4, sample_weight=[1, 2, 3])
    with pytest.raises(TypeError, match="sample_weight must have one number per path, got None among them"):
        load_batch(image, [0] * 4, sample_weight=[1, 2, None, 4])
    with pytest.raises(ValueError, match="sample_weight= weights targets, and there are none"):
        load_batch(image, sample_weight=weights)
