"""Images stretched, cropped, padded and randomly cropped to one size: pixels are those of Pillow's resize(box=)."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
import simplejpeg
from helpers.images import difference, exif_segment, insert, make_image, make_jpeg

from bytecache import decode_batch, decode_jpeg, random_crops
from bytecache.images.batch import fit_spec
from bytecache.images.crops import DRAWS, Fit, draws_of_samples, place_crops
from bytecache.images.jpeg import JpegSpec
from bytecache.images.segments import Frame

pytest.importorskip("PIL", reason="Pillow resizes what the crops are compared with")
from PIL import Image, ImageOps  # noqa: E402

SIZE = (40, 56)
SIDES = [(40, 56), (48, 64), (64, 48), (56, 40), (41, 300), (300, 41), (20, 30), (1, 1), (77, 77)]


def by_pillow(image: np.ndarray[Any, Any], size: tuple[int, int], box: Any = None) -> np.ndarray[Any, Any]:
    """Return the box (top, left, height, width) resized by Pillow."""
    top, left, height, width = box or (0, 0, *image.shape[:2])
    corners = (left, top, left + width, top + height)
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR, corners))


def furthest(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> int:
    """Return the greatest difference of two images of one shape."""
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b).max())


@pytest.fixture(params=["cykooz", "Pillow"])
def _resizer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resize by either of the packages."""
    from bytecache.images import resize

    if request.param == "Pillow":
        monkeypatch.setattr(resize, "_implementation", lambda: resize._by_pillow)
    else:
        pytest.importorskip("cykooz_resizer")


@pytest.mark.usefixtures("_resizer")
@pytest.mark.parametrize("sides", SIDES, ids=str)
def test_crop_takes_the_largest_part_in_the_centre(sides: tuple[int, int]) -> None:
    """Of the result's proportions; no scaled decode is large enough here."""
    data = make_jpeg(*sides)
    whole, scale = decode_jpeg(data), min(sides[0] / SIZE[0], sides[1] / SIZE[1])
    height, width = SIZE[0] * scale, SIZE[1] * scale
    box = ((sides[0] - height) / 2, (sides[1] - width) / 2, height, width)
    assert furthest(decode_batch([data], size=SIZE, resize="crop")[0], by_pillow(whole, SIZE, box)) <= 2


@pytest.mark.usefixtures("_resizer")
@pytest.mark.parametrize("pad_value", [0, 255, (10, 20, 30)], ids=str)
@pytest.mark.parametrize("sides", [sides for sides in SIDES if max(sides) < 100], ids=str)  # those decoded whole
def test_pad_keeps_the_proportions(sides: tuple[int, int], pad_value: Any) -> None:
    """All of the image is in the middle, and the rest has the value."""
    data = make_jpeg(*sides)
    image = decode_batch([data], size=SIZE, resize="pad", pad_value=pad_value)[0]
    inside = Image.new("RGB", sides[::-1])
    inside = ImageOps.contain(inside, SIZE[::-1])
    height, width = inside.size[::-1]
    top, left = (SIZE[0] - height) // 2, (SIZE[1] - width) // 2
    part = image[top : top + height, left : left + width]
    assert furthest(part, by_pillow(decode_jpeg(data), (height, width))) <= 2
    padding = np.ones(SIZE, bool)
    padding[top : top + height, left : left + width] = False
    assert (image[padding] == pad_value).all()


@pytest.mark.usefixtures("_resizer")
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_crops_are_boxes_of_the_upright_image(orientation: int) -> None:
    """Pixels are those of Pillow's resize of the box; around it they count as well, as they do for Pillow."""
    data = insert(make_jpeg(110, 78), exif_segment(orientation))  # half of it is smaller than SIZE
    upright = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data))))
    sides = upright.shape[:2]
    boxes = [
        (0, 0, *sides),
        (0, 0, 60, 60),
        (28, 8, 50, 70),
        (7, 3, 41, 57),
        (20, 20, 40, 56),
        (sides[0] - 9, 0, 9, 5),
    ]
    batch = decode_batch([data] * len(boxes), size=SIZE, crops=boxes, orient=True, resize="random_crop")
    for image, box in zip(batch, boxes, strict=True):
        assert furthest(image, by_pillow(upright, SIZE, box)) <= 2


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_scaled_decode_is_used_in_each_mode(resize: str, orientation: int) -> None:
    """Its pixels are near those of a whole decode, and the smallest that is large enough is taken."""
    data = insert(make_jpeg(480, 640), exif_segment(orientation))
    upright = decode_jpeg(data, orient=True)
    sides = upright.shape[:2]
    image = decode_batch([data], size=SIZE, resize=resize, orient=True)[0]
    (box, target, _) = Fit(SIZE, resize).place(*sides)
    top, left, height, width = target
    part = image[top : top + height, left : left + width]
    assert difference(part, by_pillow(upright, (height, width), box)) < 3


def ramp(height: int, width: int) -> np.ndarray[Any, Any]:
    """Return an image whose first channel rises from left to right, and whose second from top to bottom."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    return np.stack([255 * x / width, 255 * y / height, 0 * x + 128], axis=2).astype(np.uint8)


@pytest.mark.usefixtures("_resizer")
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("sides", [(113, 121), (449, 457), (451, 389), (225, 463)], ids=str)
def test_a_scaled_decode_shifts_nothing(sides: tuple[int, int], orientation: int) -> None:
    """If the sides are no multiples of the scale, the last row and column as stored are only partly of the image."""
    data = insert(simplejpeg.encode_jpeg(ramp(*sides), 100, "RGB", "444"), exif_segment(orientation))
    upright = decode_jpeg(data, orient=True)
    height, width = upright.shape[:2]
    size = (height // 4, width // 4)
    boxes = [(0, 0, height, width), (height // 2, width // 2, height - height // 2, width - width // 2)]
    for box in boxes:
        (image,) = decode_batch([data], size=size, crops=[box], orient=True)
        bias = (image - by_pillow(upright, size, box).astype(float))[2:-2, 2:-2].mean(axis=(0, 1))
        assert np.abs(bias).max() < 0.4, "a shift by half a pixel would be at least one level"
    (image,) = decode_batch([data], size=size, orient=True)
    assert np.abs((image - by_pillow(upright, size).astype(float)).mean(axis=(0, 1))).max() < 0.4


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_every_box_is_within_its_image(resize: str) -> None:
    """Whatever the sides and the scale: a resizer refuses any other."""
    rng = np.random.default_rng(0)
    for height, width in rng.integers(1, 3000, (3000, 2)).tolist():
        frame = Frame(0xC0, 8, height, width, b"\1\x11\0", 0)
        for orientation in (1, 3, 6):
            spec = JpegSpec(frame, height, width, orientation)
            (crop,) = random_crops([spec.size], rng=rng).tolist()
            fits = [fit_spec(Fit((224, 112), resize), spec), fit_spec(Fit((224, 112), "random_crop"), spec, crop)]
            for scaled, placement in fits:
                top, left, box_height, box_width = placement.box
                assert min(top, left) >= 0 < min(box_height, box_width)
                assert top + box_height <= scaled.size[0] and left + box_width <= scaled.size[1]


def test_a_random_crop_is_scaled_from_the_smallest_decode_that_is_large_enough() -> None:
    """Whatever the box, pixels are near those of a whole decode."""
    data = make_jpeg(480, 640)
    whole, boxes = decode_jpeg(data), random_crops([(480, 640)] * 50, rng=np.random.default_rng(1))
    for image, box in zip(decode_batch([data] * 50, size=SIZE, crops=boxes), boxes.tolist(), strict=True):
        assert difference(image, by_pillow(whole, SIZE, box)) < 4


# Boxes


@pytest.mark.parametrize("sides", [(480, 640), (640, 480), (100, 100), (7, 5), (1, 1), (1, 1000), (30, 2000)], ids=str)
def test_random_boxes_are_within_their_image(sides: tuple[int, int]) -> None:
    """And as large, and of the proportions, that were asked for, but for rounding."""
    boxes = random_crops([sides] * 2000, rng=np.random.default_rng(0))
    top, left, height, width = boxes.T
    assert boxes.dtype == np.int64 and boxes.shape == (2000, 4)
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] >= 1).all()
    assert (top + height <= sides[0]).all() and (left + width <= sides[1]).all()
    if min(sides) >= 100:
        assert (height * width >= 0.08 * sides[0] * sides[1] * 0.95).all()
        assert ((width + 0.5) / (height - 0.5) >= 3 / 4).all() and ((width - 0.5) / (height + 0.5) <= 4 / 3).all()


def test_random_boxes_are_evenly_distributed() -> None:
    """Areas over `scale`, the logarithm of the proportions over `ratio`, and positions over the room that is left."""
    boxes = random_crops([(10_000, 10_000)] * 20_000, scale=(0.1, 0.5), ratio=(0.5, 2), rng=np.random.default_rng(0))
    top, left, height, width = boxes.T.astype(float)
    for values, low, high in (
        (height * width / 1e8, 0.1, 0.5),
        (np.log(width / height), -np.log(2), np.log(2)),
        (top / (10_000 - height), 0, 1),
        (left / (10_000 - width), 0, 1),
    ):
        deciles = np.quantile((values - low) / (high - low), np.linspace(0.1, 0.9, 9))
        assert np.abs(deciles - np.linspace(0.1, 0.9, 9)).max() < 0.02


def test_where_no_box_fits_the_largest_one_in_the_centre_is_taken() -> None:
    """An image much wider than it is high has no box of the asked area and proportions."""
    assert random_crops([(100, 10_000)], scale=(0.9, 1)).tolist() == [[0, (10_000 - 133) // 2, 100, 133]]
    assert random_crops([(10_000, 100)], scale=(0.9, 1)).tolist() == [[(10_000 - 133) // 2, 0, 133, 100]]


def test_boxes_are_a_function_of_the_generator() -> None:
    """The same seed gives the same boxes; without one they differ."""
    sides = [(480, 640)] * 9
    seeded = [random_crops(sides, rng=np.random.default_rng(5)).tolist() for _ in range(2)]
    assert seeded[0] == seeded[1]
    assert random_crops(sides).tolist() != random_crops(sides).tolist()
    assert random_crops(np.empty((0, 2), int)).shape == (0, 4)


def test_draws_are_a_function_of_seed_epoch_and_sample() -> None:
    """Whatever samples come with it, a sample has its own; all of them are uniform."""
    draws = draws_of_samples(3, 1, np.arange(5000))
    assert draws.shape == (5000, DRAWS) and draws.dtype == np.float64
    assert np.array_equal(draws_of_samples(3, 1, np.array([4321, 7]))[0], draws[4321])
    for other in (draws_of_samples(3, 2, np.arange(5000)), draws_of_samples(4, 1, np.arange(5000)), draws[::-1]):
        assert not (other == draws).any()
        assert abs(np.corrcoef(other.ravel(), draws.ravel())[0, 1]) < 0.02
    assert draws_of_samples(2**70, 0, np.arange(2)).shape == (2, DRAWS)
    assert np.abs(np.quantile(draws, [0.0001, 0.25, 0.5, 0.75, 0.9999]) - [0, 0.25, 0.5, 0.75, 1]).max() < 0.01
    boxes = place_crops(np.full((5000, 2), 1000), (0.08, 1.0), (3 / 4, 4 / 3), draws)
    assert len(np.unique(boxes, axis=0)) > 4900


# Errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resize": "squash"}, "resize must be one of .*'stretch', 'crop', 'pad', 'random_crop'.*, got 'squash'"),
        ({"resize": "crop", "size": None}, "resize='crop' needs size="),
        ({"resize": "random_crop"}, "needs the boxes: pass crops=bytecache.random_crops"),
        ({"crops": [(0, 0, 1, 1)], "size": None}, "crops needs size="),
        ({"crops": [(0, 0, 1, 1)], "resize": "pad"}, "pass them without resize='pad'"),
        ({"crops": [(0, 0, 1, 1)] * 2}, r"crops must be ints of shape \(1, 4\).*got int64 \(2, 4\)"),
        ({"crops": [(0.5, 0, 1, 1)]}, r"crops must be ints of shape \(1, 4\).*got float64"),
        ({"crops": [(0, 0, 49, 1)]}, r"crops\[0\] is not within the image of 48 x 64 pixels: \(0, 0, 49, 1\)"),
        ({"crops": [(-1, 0, 9, 1)]}, r"crops\[0\] is not within"),
        ({"crops": [(0, 0, 0, 1)]}, r"crops\[0\] is not within"),
        (
            {"resize": "pad", "pad_value": 256},
            "pad_value must be an int from 0 to 255, or one for each of 3 channels, got 256",
        ),
        ({"pad_value": 9}, """pad_value is for resize="pad", got 9 with resize='stretch'"""),
        ({"resize": "pad", "pad_value": (1, 2)}, "pad_value must be"),
        ({"resize": "pad", "pad_value": 0.5}, "pad_value must be"),
        (
            {"resize": "pad", "pad_value": (1, 2, 3), "colorspace": "GRAY"},
            "pad_value must be one int for images of 1 channels",
        ),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    """Each is refused with what was expected and what came."""
    with pytest.raises(ValueError, match=message):
        decode_batch([make_jpeg(48, 64)], **{"size": SIZE, **options})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sides": [(1, 2, 3)]}, r"sides must be positive ints \(N, 2\)"),
        ({"sides": [(0, 2)]}, "sides must be positive ints"),
        ({"sides": [(1.5, 2)]}, "sides must be positive ints"),
        ({"scale": (0, 1)}, r"scale must be \(low, high\) with 0 < low <= high <= 1, got \(0, 1\)"),
        ({"scale": (0.5, 1.1)}, "scale must be"),
        ({"ratio": (2, 1)}, r"ratio must be \(low, high\) with 0 < low <= high, got \(2, 1\)"),
        ({"ratio": 1}, "ratio must be"),
    ],
)
def test_bad_arguments_of_random_crops(arguments: dict[str, Any], message: str) -> None:
    """Each is refused with what was expected and what came."""
    with pytest.raises(ValueError, match=message):
        random_crops(**{"sides": [(480, 640)], **arguments})


def test_a_batch_of_no_images() -> None:
    """With size= its shape is known."""
    assert decode_batch([], size=SIZE, crops=[]).shape == (0, *SIZE, 3)


def test_an_image_that_needs_no_resizing_is_as_decoded() -> None:
    """In each mode, whatever the package."""
    data = make_jpeg(*SIZE)
    for resize in ("stretch", "crop", "pad"):
        assert np.array_equal(decode_batch([data], size=SIZE, resize=resize)[0], decode_jpeg(data))
    image = make_image(*SIZE)
    assert Fit(SIZE, "pad").place(*image.shape[:2]).target == (0, 0, *SIZE)
