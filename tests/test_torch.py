"""The torch adapter: with real DataLoaders, worker processes and files, and its parts alone."""

from __future__ import annotations

import gc
import logging
import os
import pickle
import resource
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers.images import count_headers, exif_segment, flat_jpeg, insert, make_jpeg, write_gray_files

import bytecache
from bytecache.loading.epochs import epoch_order

torch = pytest.importorskip("torch", reason="the torch adapter needs torch")
from torch.utils.data import (  # noqa: E402
    BatchSampler,
    ConcatDataset,
    DataLoader,
    DistributedSampler,
    SequentialSampler,
    Subset,
    default_collate,
    get_worker_info,
    random_split,
)  # fmt: skip

from bytecache.system.threads import processors  # noqa: E402
from bytecache.torch import CacheReport, EpochSampler, ImageDataset, SampleError, collate  # noqa: E402

# torch's queues keep threads and descriptors open until their loader is collected.
workers = pytest.mark.foreign_threads
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # on a single processor
]
N = 10


@pytest.fixture
def files(tmp_path):
    """Ten JPEG files of 24 x 32 pixels, each of its own gray."""
    return write_gray_files(tmp_path, N)


@bytecache.fill_once
def read(path):
    return Path(path).read_bytes()


@pytest.fixture(autouse=True)
def cold():
    """Each test starts with an empty cache."""
    read.cache_clear()


def dataset(paths, **options):
    return ImageDataset(paths, np.arange(len(paths)), **{"load": read, **options})


def file_numbers(images):
    """Return the number of the file that each image is from."""
    return [round(float(image.float().mean()) / 20) for image in images]


def load_all(loader):
    """Return the targets of every sample that a loader yields, in order; each image must belong to its target."""
    found, targets = [], []
    for images, numbers in loader:
        found += file_numbers(images)
        targets += [int(number) for number in numbers]
    assert found == targets
    return targets


def halve(image):
    return image[:, ::2, ::2]


def as_float(image):
    return image.float() / 255


# samples


def test_an_image_is_a_channels_last_view_of_the_decoded_array(tmp_path):
    """It is uint8 (C, H, W) with the strides of an (H, W, C) array, and has its pixels."""
    path = tmp_path / "a.jpg"
    path.write_bytes(make_jpeg(20, 30))
    image, target = ImageDataset([path], [[1.5, 2.5]], load=read)[0]
    assert (image.dtype, image.shape, image.stride()) == (torch.uint8, (3, 20, 30), (1, 90, 3))
    assert np.array_equal(image.permute(1, 2, 0).numpy(), bytecache.decode_jpeg(path.read_bytes()))
    assert target.tolist() == [1.5, 2.5]


def test_a_batch_is_one_array(files):
    """The samples of __getitems__ are consecutive in one memory."""
    images = [image for image, _ in dataset(files).__getitems__([3, 1, 4, 1])]
    assert file_numbers(images) == [3, 1, 4, 1]
    assert np.diff([image.data_ptr() for image in images]).tolist() == [24 * 32 * 3] * 3
    assert len({image.untyped_storage().data_ptr() for image in images}) == 1


def test_a_batch_is_one_look_up(files):
    """Its misses are read together: no read ends before all have started."""
    barrier = threading.Barrier(4)

    @bytecache.fill_once
    def load(path):
        barrier.wait(20)
        return path.read_bytes()

    assert file_numbers([image for image, _ in dataset(files, load=load).__getitems__(range(4))]) == [0, 1, 2, 3]
    assert load.cache_info().misses == 4


def test_a_batch_that_is_kept_is_not_overwritten(files):
    """Samples do not change while others are loaded, and memory that nothing refers to is reused."""
    data = dataset(files)
    kept = data.__getitems__([0, 1])
    addresses = {data.__getitems__([5, 6])[0][0].data_ptr() for _ in range(20)}
    assert file_numbers([image for image, _ in kept]) == [0, 1]
    assert len(addresses) == 1 and kept[0][0].data_ptr() not in addresses


def test_without_targets_a_sample_is_its_image(files):
    """The image comes alone, singly and in batches."""
    data = ImageDataset(files, None, load=read)
    assert file_numbers([data[7], *data.__getitems__([2, 3])]) == [7, 2, 3]


def test_indices_are_those_of_a_list(files):
    """They may be negative, numpy's or torch's ints; beyond the end an IndexError ends a plain loop."""
    data = dataset(files)
    assert [int(target) for _, target in data] == list(range(N)) and len(data) == N
    assert [int(data[i][1]) for i in (-1, np.int64(3), torch.tensor(4))] == [9, 3, 4]
    assert [int(target) for _, target in data.__getitems__(torch.tensor([2, -2]))] == [2, 8]
    for index in (N, -N - 1):
        with pytest.raises(IndexError, match=f"sample {index} is out of range: the dataset has 10 samples"):
            data[index]
    with pytest.raises(TypeError, match=r"must be an int, got \[1, 2\]: pass a sampler that yields lists"):
        data[[1, 2]]


def test_images_of_unequal_size_get_an_array_each(files):
    """Without size=, for detection, every image has its own size, and none keeps the others alive."""
    files[1].write_bytes(flat_jpeg(50, 40, 20))
    images = [image for image, _ in dataset(files).__getitems__([0, 1, 2])]
    assert [tuple(image.shape) for image in images] == [(3, 24, 32), (3, 50, 40), (3, 24, 32)]
    assert file_numbers(images) == [0, 1, 2]
    assert [image.untyped_storage().nbytes() for image in images] == [24 * 32 * 3, 50 * 40 * 3, 24 * 32 * 3]


def test_with_size_all_images_are_in_one_array(files):
    """With size=, JPEG files of any size and arrays fill the images of one batch."""
    pytest.importorskip("PIL", reason="resizing needs Pillow")
    files[1].write_bytes(flat_jpeg(100, 80, 20))

    def load(i):
        return np.full((30, 20, 3), 40, np.uint8) if i == 2 else files[i].read_bytes()

    images = collate(ImageDataset(range(3), None, load=load, size=(12, 16)).__getitems__([0, 1, 2]))
    assert images.shape == (3, 3, 12, 16) and file_numbers(images) == [0, 1, 2]


def test_an_operation_in_place_changes_no_stored_array():
    """A transform gets tensors of its own, also of arrays that `load` has stored."""
    load = bytecache.fill_once(lambda path: np.full((4, 6, 3), 5, np.uint8))
    data = dataset(["a", "b"], load=load, transform=lambda image: image.mul_(2))
    for _ in range(2):
        assert all(image.unique().tolist() == [10] for image, _ in data.__getitems__([0, 1]))
        data[0][0].zero_()
    assert load("a").max() == load("b").min() == 5


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_loaded_arrays_are_copied_into_the_batch(dtype):
    """Cached arrays, which are read-only, cause no warning and are not exposed to writes."""
    load = bytecache.fill_once(lambda i: np.full((4, 5, 3), i, dtype))
    image, _ = dataset(range(3), load=load)[2]
    image += 1
    assert load(2).max() == 2 and not load(2).flags.writeable
    assert image.stride() == (1, 15, 3)


def test_read_only_targets_are_accepted(files):
    """An array from a cache causes no warning."""
    targets = np.arange(N)
    targets.flags.writeable = False
    assert int(ImageDataset(files, targets, load=read)[3][1]) == 3


@pytest.mark.parametrize(
    "boxes",
    [
        [np.ones((i % 3, 4)) for i in range(N)],
        [[[1, 2, 3, 4]] * (i % 3) for i in range(N)],
        [[7] * (i % 3) for i in range(N)],
        [torch.ones(i % 3, 4) for i in range(N)],
    ],
    ids=["arrays", "lists", "labels", "tensors"],
)
def test_targets_of_unequal_shape_come_whole(files, boxes):
    """As tensors of one dtype; also if the first is empty, where torch would take that shape for all of them."""
    data = ImageDataset(files, boxes, load=read)
    for found in ([target for _, target in data], [target for _, target in data.__getitems__(range(N))]):
        assert [target.tolist() for target in found] == [torch.as_tensor(each).tolist() for each in boxes]
        assert len({target.dtype for target in found if target.numel()}) == 1
        assert all(target.shape[1:] == torch.as_tensor(boxes[1]).shape[1:] for target in found)


@pytest.mark.parametrize("count", [0, 1])
@workers
def test_a_batch_of_any_targets(files, count):
    """Dicts field by field, what has no common shape as a list, names and None as they are."""
    targets = [{"boxes": torch.ones(i % 3, 4), "id": i, "name": str(i), "none": None} for i in range(N)]
    loader = DataLoader(ImageDataset(files, targets, load=read), batch_size=4, num_workers=count, collate_fn=collate)
    images, batch = next(iter(loader))
    assert images.shape == (4, 3, 24, 32) and batch["id"].tolist() == [0, 1, 2, 3]
    assert [boxes.shape for boxes in batch["boxes"]] == [(0, 4), (1, 4), (2, 4), (0, 4)]
    assert batch["name"] == ["0", "1", "2", "3"] and batch["none"] == [None] * 4


@pytest.mark.parametrize("sizes", [(2, 2), (1, 2)], ids=["one shape", "shapes"])
@workers
def test_as_many_tensors_as_targets_reach_a_spawned_worker(sizes):
    """In one array: torch opens a file for each tensor that is sent to another process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    targets = [torch.ones(sizes[i % 2]) * i for i in range(500)]
    data = ImageDataset(range(500), targets, load=small_image)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 300), hard))
    try:
        loader = DataLoader(data, 20, num_workers=1, multiprocessing_context="spawn", collate_fn=collate)
        found = [float(target[0]) for _, batch in loader for target in batch]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == list(range(500))


def small_image(path):
    return np.zeros((2, 2, 3), np.uint8)


@pytest.mark.parametrize("dtype", [">u2", ">f4"])
def test_arrays_of_another_byte_order_are_converted(dtype):
    """As those of FITS files or 16-bit TIFF: torch has none."""
    numbers = np.arange(4).astype(dtype)
    data = ImageDataset(range(4), numbers, load=lambda i: np.full((2, 2, 1), numbers[i]))
    assert load_all_numbers(data) == [(i, i) for i in range(4)]
    data = ImageDataset(range(4), [{"a": numbers}] * 4, load=small_image)
    assert data[0][1]["a"].tolist() == [0, 1, 2, 3]


def load_all_numbers(data):
    return [(int(image[0, 0, 0]), int(target)) for image, target in data.__getitems__(range(len(data)))]


def test_tensors_that_numpy_has_no_dtype_for_stay_tensors(files):
    """As those on a device; dates are listed."""
    data = ImageDataset(files, torch.arange(N, dtype=torch.bfloat16), load=read)
    assert data[3][1].dtype == torch.bfloat16 and collate(data.__getitems__([2, 4]))[1].tolist() == [2, 4]
    data = ImageDataset(files, np.full(N, np.datetime64("2020-01-01")), load=read)
    assert collate(data.__getitems__([2, 4]))[1] == [np.datetime64("2020-01-01")] * 2


def test_a_dict_of_fields_makes_each_target_a_dict(files):
    """As tf.data's users write it: arrays become tensors."""
    data = ImageDataset(files, {"boxes": [np.ones((i, 4)) for i in range(N)], "label": np.arange(N)}, load=read)
    for target in (data[3][1], data.__getitems__([1, 3])[1][1]):
        assert target["boxes"].shape == (3, 4) and target["label"] == torch.tensor(3)


def test_targets_are_copies(files):
    """What a loop or a transform writes is in no stored target."""
    targets = [{"boxes": torch.ones(2, 4)}] * N
    for kind in (targets, np.ones((N, 2)), [np.ones((i % 2 + 1, 2)) for i in range(N)], torch.ones(N, 2)):
        data = ImageDataset(files, kind, load=read, transforms=lambda image, target: (image.add_(1), zeroed(target)))
        for _ in range(2):
            zeroed(data[0][1])
        data = ImageDataset(files, kind, load=read)
        boxes = [target["boxes"] if kind is targets else target for _, target in data.__getitems__([0, 1])]
        assert all(each.min() == 1 for each in boxes)


def zeroed(target):
    (target["boxes"] if isinstance(target, dict) else target).zero_()
    return target


def test_transforms_gets_image_and_target(files):
    """After `transform`, and what it returns is the sample; a target it must have."""
    data = dataset(files, transform=halve, transforms=lambda image, target: (image.flip(-1), -target))
    image, target = data[4]
    assert image.shape == (3, 12, 16) and int(target) == -4
    with pytest.raises(SampleError, match="transforms is a function of .image, target., and there is no target"):
        ImageDataset(files, None, load=read, transforms=lambda image, target: (image, target))[0]
    with pytest.raises(SampleError, match="transforms must return .image, target., got Tensor"):
        dataset(files, transforms=lambda image, target: image)[0]


@pytest.mark.parametrize("count", [0, 2])
@workers
def test_an_image_and_its_mask(files, count):
    """Without targets the mask is one; a batch of both is made without a copy."""
    masks = [np.full((24, 32), i, np.uint8) for i in range(N)]
    load = partial(read_with_mask, files, masks)
    data = ImageDataset(range(N), None, load=load, masks=1)
    image, mask = data[3]
    assert (image.shape, mask.shape, mask.dtype, int(mask.max())) == ((3, 24, 32), (24, 32), torch.uint8, 3)
    numbers = []
    for images, batch in DataLoader(data, batch_size=4, num_workers=count, collate_fn=collate):
        assert images.is_contiguous(memory_format=torch.channels_last) and batch.shape[1:] == (24, 32)
        assert file_numbers(images) == [int(mask.max()) for mask in batch]
        numbers += file_numbers(images)
    assert numbers == list(range(N))
    samples = data.__getitems__([1, 2])
    assert collate(samples)[1].data_ptr() == samples[0][1].data_ptr()
    (left, right), label = ImageDataset(range(N), np.arange(N), load=load, masks=1)[5]
    assert left.shape == (3, 24, 32) and right.shape == (24, 32) and int(label) == 5


@pytest.mark.parametrize("size", [None, (8, 8)])
def test_a_mask_of_odd_dimensions_is_an_error_with_its_path(size):
    """It says what shape a mask has."""
    data = ImageDataset(["a"], None, load=lambda _: (np.zeros((4, 4, 3), np.uint8), np.zeros(4)), masks=1, size=size)
    with pytest.raises(SampleError, match=r"a: ValueError: an array must have the shape \(height, width\), got \(4,\)"):
        data[0]


def read_with_mask(files, masks, index):
    return read(files[index]), masks[index]


@pytest.mark.parametrize("count", [0, 1])
@workers
def test_transforms_of_torchvision_flip_masks_and_boxes_with_their_images(files, count):
    """Its v2 transforms would leave alone a mask that is a plain tensor; what comes out are plain tensors."""
    v2 = pytest.importorskip("torchvision.transforms.v2", reason="the transforms are torchvision's")
    tv_tensors = pytest.importorskip("torchvision.tv_tensors")
    flip, columns = v2.RandomHorizontalFlip(1), np.tile(np.arange(32, dtype=np.uint8), (24, 1))
    data = ImageDataset(range(N), None, load=partial(same, (as_image(columns), columns)), masks=1, transforms=flip)
    for images, masks in DataLoader(data, batch_size=4, num_workers=count, collate_fn=collate):
        assert type(images) is type(masks) is torch.Tensor
        assert torch.equal(images[0, 0], masks[0]) and masks[0, 0].tolist() == list(range(31, -1, -1))
    boxes = tv_tensors.BoundingBoxes([[2, 3, 8, 9]], format="XYXY", canvas_size=(24, 32))
    data = ImageDataset(range(N), [{"boxes": boxes}] * N, load=partial(same, as_image(columns)), transforms=flip)
    for image, target in (data[0], data[0]):
        assert target["boxes"].tolist() == [[24, 3, 30, 9]] and image[0, 0, 0] == 31
    data = ImageDataset(range(N), range(N), load=partial(same, (as_image(columns), columns)), masks=1, transforms=flip)
    (image, mask), target = data[7]
    assert torch.equal(image[0], mask) and mask[0, 0] == 31 and int(target) == 7


def as_image(columns):
    return np.repeat(columns[..., None], 3, axis=2)


@workers
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_worker_draws_its_own_random_numbers(files):
    """Each sample of an epoch its own, from torch's generator or numpy's."""
    for draw in (draw_torch, draw_numpy):
        loader = DataLoader(dataset(files, transforms=draw), batch_size=2, num_workers=2, collate_fn=collate)
        assert len({float(target) for _, targets in loader for target in targets}) == N


def draw_torch(image, target):
    return image, torch.rand(())


def draw_numpy(image, target):
    return image, np.random.random()


class Frozen(ImageDataset):
    """A dataset that returns how many objects the collector leaves be instead of its samples."""

    def __getitems__(self, indices):
        super().__getitems__(indices)
        return [gc.get_freeze_count()]


@workers
def test_the_collector_leaves_alone_what_a_worker_inherits(files):
    """It would write to every object, and so copy all memory that the worker shares with its parent."""
    (count,) = DataLoader(Frozen(files, None, load=read), batch_size=N, num_workers=1)
    assert count > 10_000
    Frozen(files, None, load=read).__getitems__([0])
    assert gc.get_freeze_count() == 0


def test_a_forked_worker_copies_no_path():
    """Paths and strings lie in objects whose elements have no reference counts."""
    data = ImageDataset([f"{i}.jpg" for i in range(100)], [str(i) for i in range(100)], load=read)
    for held in (data._paths, data._targets):
        assert not any(isinstance(value, (list, tuple)) for value in vars(held).values())


def test_transform_gets_each_image_as_a_tensor(files):
    """Its result, of any type, is the sample's image."""
    seen = []

    def transform(image):
        seen.append(tuple(image.shape))
        return "anything"

    assert dataset(files, transform=transform).__getitems__([4, 5])[1] == ("anything", torch.tensor(5))
    assert seen == [(3, 24, 32)] * 2


@pytest.mark.parametrize("options", [{}, {"transform": halve}, {"size": (24, 32)}], ids=["plain", "transform", "size"])
def test_each_header_is_read_once(files, monkeypatch, options):
    """Samples of one shape are decoded from the headers read, in batches and alone."""
    data = dataset(files, **options)
    headers = count_headers(monkeypatch)
    data.__getitems__(range(4))
    assert len(headers) == 4
    data[7]
    assert len(headers) == 5


def test_each_header_of_unequal_images_is_read_once(files, monkeypatch):
    """A header that reveals another shape, or damage, is not read again either."""
    files[1].write_bytes(flat_jpeg(50, 40, 20))
    files[2].write_bytes(files[2].read_bytes()[:-200])
    headers = count_headers(monkeypatch)
    assert len(dataset(files, on_error="skip").__getitems__(range(4))) == 3
    assert len(headers) == 4


# samples that fail


@pytest.mark.parametrize("damage", ["missing", "bytes", "transform", "array"])
def test_a_bad_sample_raises_with_its_path(files, damage):
    """Whatever failed, the error names the path and chains what was raised."""
    options, reason = {}, "FileNotFoundError"
    if damage == "missing":
        files[5].unlink()
    elif damage == "bytes":
        files[5].write_bytes(b"\x89PNG no picture")
        reason = "JpegError: the data is a PNG; Pillow cannot decode it"
    elif damage == "transform":
        options, reason = {"transform": lambda image: 1 // int(image.float().mean() < 90)}, "ZeroDivisionError"
    else:
        options = {"load": lambda path: np.zeros((3, 4)) if path == files[5] else path.read_bytes()}
        reason = r"ValueError: an array must have the shape \(height, width, channels\), got \(3, 4\)"
    with pytest.raises(SampleError, match=rf"5\.jpg: {reason}") as caught:
        dataset(files, **options).__getitems__([4, 5])
    assert caught.value.path == files[5]
    assert type(caught.value.__cause__).__name__ in reason


@pytest.mark.parametrize("count", [0, 2], ids=["here", "workers"])
@workers
def test_skip_leaves_bad_samples_out_of_their_batches(files, caplog, count):
    """The others come with their targets, and the skips of all processes are counted."""
    files[1].unlink()
    files[6].write_bytes(b"nonsense")
    data = dataset(files, on_error="skip")
    with caplog.at_level(logging.WARNING, "bytecache"):
        for _ in range(3):
            loader = DataLoader(data, batch_size=4, num_workers=count, collate_fn=collate)
            assert load_all(loader) == [0, 2, 3, 4, 5, 7, 8, 9]
    assert data.skipped == 6
    if count == 0:  # each path once
        assert [record.message.split(":")[0] for record in caplog.records] == [
            f"skipped {files[1]}", f"skipped {files[6]}"
        ]  # fmt: skip


def test_skip_raises_if_no_sample_is_good(files):
    """An empty batch is an error, and a sample that is requested alone cannot be skipped."""
    for path in files[:3]:
        path.unlink()
    data = dataset(files, on_error="skip")
    with pytest.raises(SampleError, match="every sample of this batch failed, this one first"):
        data.__getitems__([0, 1, 2])
    with pytest.raises(SampleError, match=r"1\.jpg: FileNotFoundError"):
        data[1]
    assert data.skipped == 0 and data.__getitems__([]) == []


def test_skipped_samples_keep_no_batch_alive(files, plain_gc):
    """The exceptions of skipped samples are in no cycle with the batch: its memory is reused at once."""
    files[1].write_bytes(b"nonsense")
    files[2].write_bytes(files[2].read_bytes()[:-200])  # its header is good
    data = dataset(files, on_error="skip")
    for _ in range(10):
        data.__getitems__([0, 1, 2, 3])
    assert len(data._decoder._buffers[0]._arrays) == 1 and data.skipped == 20


@workers
def test_a_workers_error_is_a_sample_error_with_its_path(files):
    """Torch re-creates the exception from a text, yet it has type, path, reason and the worker's traceback."""
    files[3].unlink()
    with pytest.raises(SampleError, match=r"in DataLoader worker process") as caught:
        list(DataLoader(dataset(files), batch_size=5, num_workers=1))
    assert caught.value.path == str(files[3])
    assert caught.value.reason.startswith("FileNotFoundError: [Errno 2]")
    assert str(caught.value).endswith(f"SampleError: {files[3]}: {caught.value.reason}\n")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.path, str(copy)) == (caught.value.path, str(caught.value))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"paths": []}, "paths is empty"),
        ({"targets": [1]}, "one entry per path, got 1 for 2"),
        ({"targets": {1, 2}}, "targets must be indexable with one entry per path, got set"),
        ({"targets": np.zeros(2, np.float128)}, "targets must be of a dtype that torch has, got float128"),
        ({"transforms": 3}, "load and transform must be functions, got transforms=3"),
        ({"masks": 0}, "masks must be positions in the tuple that load returns, from 1 on"),
        ({"paths": "ab"}, "paths must be a sequence of paths, got the single one 'ab'"),
        ({"on_error": "ignore"}, 'on_error must be "raise" or "skip"'),
        ({"load": "read"}, "load and transform must be functions"),
        ({"transform": 3}, "load and transform must be functions"),
        ({"size": (0, 5)}, "size must be two positive ints"),
    ],
)
def test_bad_options_are_refused_at_the_door(options, message):
    """The constructor says what was expected and what came."""
    arguments = {"paths": ["a", "b"], "targets": [1, 2], "load": read, **options}
    with pytest.raises((ValueError, TypeError), match=message):
        ImageDataset(arguments.pop("paths"), arguments.pop("targets"), **arguments)


# loaders


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shuffle": True},
        {"num_workers": 2, "drop_last": True},
        {"num_workers": 2, "shuffle": True, "persistent_workers": True, "prefetch_factor": 1},
        {"num_workers": 1, "collate_fn": collate},
        {"num_workers": 2, "multiprocessing_context": "fork"},
        {"num_workers": 2, "multiprocessing_context": "spawn", "collate_fn": collate},
        {"num_workers": 2, "multiprocessing_context": "forkserver"},
        {"batch_size": None},
        {"batch_size": None, "num_workers": 2},
        {"pin_memory": True, "collate_fn": collate},
        {"batch_size": 1, "batch_sampler": BatchSampler(SequentialSampler(range(N)), 3, False)},
    ],
    ids=lambda options: " ".join(options) or "plain",
)
@pytest.mark.filterwarnings("ignore:'pin_memory' argument:UserWarning")
@workers
def test_each_epoch_of_any_loader_gives_each_sample_with_its_target(files, options):
    """With any options of DataLoader each sample comes once per epoch, except those that drop_last drops."""
    loader = DataLoader(dataset(files), **{"batch_size": 4, **options})
    for _ in range(2):
        if loader.batch_size is None and loader.batch_sampler is None:
            targets = [int(target) for image, target in loader if file_numbers([image]) == [int(target)]]
        else:
            targets = load_all(loader)
        assert (sorted(targets) if options.get("shuffle") else targets) == list(range(8 if loader.drop_last else N))


@pytest.mark.parametrize("count", [0, 2])
@workers
def test_subsets_and_splits_and_concatenations_give_their_samples(files, count):
    """Subset and random_split request whole batches, ConcatDataset one sample after the other."""
    data = dataset(files)
    loader = {"batch_size": 4, "num_workers": count}
    assert load_all(DataLoader(Subset(data, [7, 3, 5]), **loader)) == [7, 3, 5]
    parts = random_split(data, [6, 4])
    assert sorted(sum((load_all(DataLoader(part, **loader)) for part in parts), [])) == list(range(N))
    assert load_all(DataLoader(ConcatDataset([data, data]), **loader)) == [*range(N), *range(N)]


@workers
def test_unequal_images_reach_a_collate_function_of_ones_own(files):
    """For detection, it receives a list of samples through worker processes."""
    files[1].write_bytes(flat_jpeg(50, 40, 20))
    [batch] = DataLoader(dataset(files[:3]), batch_size=3, num_workers=1, collate_fn=list)
    assert [tuple(image.shape) for image, _ in batch] == [(3, 24, 32), (3, 50, 40), (3, 24, 32)]
    assert file_numbers([image for image, _ in batch]) == [0, 1, 2]


def record_threads(worker):
    """Store the number of threads on the worker's own copy of the dataset; a worker_init_fn."""
    get_worker_info().dataset.threads = processors()


class Threads(ImageDataset):
    """A dataset that returns how many threads its worker decodes on instead of its samples."""

    def __getitems__(self, indices):
        super().__getitems__(indices)
        return [self.threads]


@workers
def test_workers_share_the_processors(files):
    """Each of W workers decodes on its share of them, but on at least one."""
    for count in (1, 2):
        data = Threads(files, None, load=read)
        loader = DataLoader(data, num_workers=count, batch_size=N, worker_init_fn=record_threads)
        assert [int(batch) for batch in loader] == [max(1, len(os.sched_getaffinity(0)) // count)]


@pytest.mark.parametrize("options", [{}, {"transform": halve}, {"on_error": "skip", "size": (24, 32)}])
def test_a_dataset_pickles(files, options):
    """Its copy returns the same samples."""
    data = dataset(files, **options)
    copy = pickle.loads(pickle.dumps(dataset(files, **options)))
    for (image, target), (image_again, target_again) in zip(data, copy, strict=True):
        assert torch.equal(image, image_again) and torch.equal(target, target_again)


# collate


@pytest.mark.parametrize("count", [0, 1])
@workers
def test_collate_gives_channels_last_batches(files, count):
    """It does so in workers too, while torch's own collate makes (N, C, H, W) memory."""
    for collate_fn, expected in ((collate, True), (default_collate, False)):
        loader = DataLoader(dataset(files), batch_size=4, num_workers=count, collate_fn=collate_fn)
        for images, targets in loader:
            assert images.is_contiguous(memory_format=torch.channels_last) is expected
            assert images.dtype == torch.uint8 and file_numbers(images) == targets.tolist()


def test_collate_copies_nothing_if_samples_are_consecutive(files):
    """The batch starts where its first sample does, in the same memory."""
    samples = dataset(files).__getitems__([2, 3, 4])
    images, targets = collate(samples)
    assert images.data_ptr() == samples[0][0].data_ptr() and targets.data_ptr() == samples[0][1].data_ptr()
    assert images.shape == (3, 3, 24, 32) and targets.tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    "which", ["gap", "reversed", "crops", "one", "floats", "other batches", "repeated", "expanded"]
)
def test_collate_equals_the_default_for_any_samples(files, which):
    """Images that are not consecutive, or not complete, are copied as torch does."""
    data = dataset(files, transform={"crops": halve, "floats": as_float}.get(which))
    samples = data.__getitems__(range(6))
    if which == "gap":
        del samples[2]
    elif which == "reversed":
        samples.reverse()
    elif which == "one":
        del samples[1:]
    elif which == "other batches":
        samples = samples[:1] + data.__getitems__([1])
    elif which == "repeated":
        samples = samples[:1] * 3
    elif which == "expanded":
        samples = [(image[:, :1].expand(3, 24, 32), target) for image, target in samples]
    expected, found = default_collate(samples), collate(samples)
    assert type(found) is type(expected) is list
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other) and one.dtype == other.dtype
    if which not in ("crops", "expanded"):
        assert found[0].is_contiguous(memory_format=torch.channels_last)
    found[0].add_(1)  # torch refuses this if elements share memory


def test_collate_leaves_other_types_to_the_default():
    """Dictionaries, numbers, strings and objects of other classes are collated as by default_collate."""
    for samples in ([{"a": 1}, {"a": 2}], [1, 2], ["a", "b"], [("a", 1.5), ("b", 2.5)], [np.bytes_(b"a")] * 2):
        assert repr(collate(samples)) == repr(default_collate(samples))
    assert collate([2**63, 1]) == [2**63, 1]  # torch has no dtype for them


# one batch ahead


def test_one_batch_is_made_ahead_for_a_sampler_of_the_dataset(files):
    """While the first batch of two is used, the second is read."""
    second, reads = threading.Event(), []

    def load(path):
        reads.append(path)
        if len(reads) == 6:
            second.set()
        return path.read_bytes()

    data = dataset(files, load=load)
    batches = iter(DataLoader(data, batch_size=3, sampler=EpochSampler(data, seed=0)))
    next(batches)
    assert second.wait(30)
    reads.clear()
    batches = iter(DataLoader(data, batch_size=3, sampler=EpochSampler(len(data), seed=0)))
    next(batches)
    assert len(reads) == 3


@workers
@pytest.mark.parametrize("count", [0, 2], ids=["here", "workers"])
@pytest.mark.parametrize("options", [{}, {"drop_last": True}, {"batch_size": 1}, {"batch_size": N}], ids=str)
def test_a_batch_made_ahead_is_the_one_that_is_requested(files, options, count):
    """In every epoch, also after one that was broken off; and each is looked up once."""
    data = dataset(files)
    sampler = EpochSampler(data, seed=1)
    loader = DataLoader(data, **{"batch_size": 3, "sampler": sampler, "num_workers": count, **options})
    for epoch in range(3):
        sampler.set_epoch(epoch)
        next(iter(loader))
        n = N // loader.batch_size * loader.batch_size if loader.drop_last else N
        assert load_all(loader) == epoch_order(N, 1, epoch).tolist()[:n]
    read.cache_clear()
    load_all(loader)
    assert count or read.cache_info()[:2] == (0, n)


def test_errors_skips_and_transforms_come_with_their_batches(files):
    """As they do without a batch ahead; the transform of a batch is called when it is requested."""
    files[4].unlink()
    seen = []
    data = dataset(files, on_error="skip", transform=lambda image: seen.append(threading.get_ident()) or image)
    found = []
    for _, targets in DataLoader(data, batch_size=3, sampler=EpochSampler(data, seed=0, shuffle=False)):
        found.append((len(targets), data.skipped, len(seen)))
    assert found == [(3, 0, 3), (2, 1, 5), (3, 1, 8), (1, 1, 9)]
    assert set(seen) == {threading.get_ident()}
    data = dataset(files)
    batches = iter(DataLoader(data, batch_size=3, sampler=EpochSampler(data, seed=0, shuffle=False)))
    next(batches)
    with pytest.raises(SampleError, match=r"4\.jpg: FileNotFoundError"):
        next(batches)


# resize modes


@pytest.mark.parametrize("resize", ["crop", "pad"])
def test_resize_modes_are_those_of_decode_batch(files, resize):
    """The same pixels, from files and from arrays that are loaded."""
    data, padding = make_jpeg(60, 90), {"pad_value": 9} if resize == "pad" else {}
    expected = bytecache.decode_batch([data], size=(50, 50), resize=resize, **padding)[0]
    for load in (lambda _: data, lambda _: bytecache.decode_jpeg(data)):
        (image,) = ImageDataset([0], None, load=load, size=(50, 50), resize=resize, **padding)
        assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)


@workers
@pytest.mark.parametrize("count", [0, 2], ids=["here", "workers"])
@pytest.mark.parametrize("ahead", [False, True])
def test_random_crops_come_from_torchs_generator(count, ahead):
    """manual_seed repeats them, in this process and in workers; each sample has its own in each epoch."""
    encoded = make_jpeg(60, 90)
    data = ImageDataset(range(8), None, load=partial(same, encoded), size=(20, 20), resize="random_crop")
    sampler = EpochSampler(data if ahead else len(data), seed=0)

    def epochs():
        torch.manual_seed(3)
        return [torch.cat(list(DataLoader(data, batch_size=3, sampler=sampler, num_workers=count))) for _ in range(2)]

    first, again = epochs(), epochs()
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({image.numpy().tobytes() for epoch in first for image in epoch}) == 16


def same(value, _):
    return value


# sampler


def test_an_epochs_order_depends_on_seed_and_epoch_alone():
    """After set_epoch it is that of epoch_order, each time; without set_epoch it stays."""
    sampler = EpochSampler(20, seed=3)
    assert list(sampler) == list(sampler) == epoch_order(20, 3, 0).tolist()
    sampler.set_epoch(5)
    assert list(sampler) == epoch_order(20, 3, 5).tolist()
    assert list(EpochSampler(5, seed=0, shuffle=False)) == [0, 1, 2, 3, 4]


def test_a_sampler_of_ranks_is_a_distributed_sampler():
    """Lightning shards any other sampler: one without `world` is to be sharded, one with it is not."""
    assert not isinstance(EpochSampler(4, seed=0), DistributedSampler)
    for world in (1, 2):
        sampler = EpochSampler(4, seed=0, rank=world - 1, world=world)
        assert isinstance(sampler, DistributedSampler) and isinstance(sampler, EpochSampler)
        again = pickle.loads(pickle.dumps(sampler))
        sampler.set_epoch(1)
        again.set_epoch(1)
        assert list(sampler) == list(again) == epoch_order(4, 0, 1).tolist()[world - 1 :: world]


class BatchSamplerShard:
    """Iterates as Accelerate's class of this name does."""

    def __init__(self, batch_sampler):
        self.batch_sampler = batch_sampler

    def __iter__(self):
        yield from self.batch_sampler


def test_a_share_of_a_share_is_refused():
    """Accelerate shards every sampler: one for a rank would be sharded twice, and data would be lost silently."""
    assert len(list(BatchSamplerShard(BatchSampler(EpochSampler(8, seed=0), 2, False)))) == 4
    assert len(list(BatchSamplerShard(BatchSampler(EpochSampler(8, seed=0, world=1), 2, False)))) == 4
    with pytest.raises(RuntimeError, match=r"pass EpochSampler\(data, seed=0\) without rank and world"):
        list(BatchSamplerShard(BatchSampler(EpochSampler(8, seed=0, rank=1, world=2), 2, False)))


@pytest.mark.parametrize("n, world", [(10, 1), (10, 3), (12, 4), (2, 5), (1, 3)])
def test_ranks_share_an_epoch_as_distributed_sampler_does(n, world):
    """Unshuffled, the indices of every rank are DistributedSampler's; shuffled, all ranks together have all indices."""
    shuffled = []
    for rank in range(world):
        expected = DistributedSampler(range(n), num_replicas=world, rank=rank, shuffle=False)
        sampler = EpochSampler(n, seed=0, rank=rank, world=world, shuffle=False)
        assert list(sampler) == list(expected) and len(sampler) == len(expected)
        shuffled.append(list(EpochSampler(n, seed=0, rank=rank, world=world)))
    assert set(sum(shuffled, [])) == set(range(n)) and len({len(part) for part in shuffled}) == 1


@workers
def test_a_loader_with_persistent_workers_follows_set_epoch(files):
    """The samples come in the order of (seed, epoch), although the workers stay."""
    sampler = EpochSampler(N, seed=1)
    loader = DataLoader(dataset(files), batch_size=3, sampler=sampler, num_workers=2, persistent_workers=True)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        assert load_all(loader) == epoch_order(N, 1, epoch).tolist()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"n": 0}, "n must be an int of 1 or more, got 0"),
        ({"seed": None}, "seed must be an int of 0 or more, got None"),
        ({"world": 0}, "world must be an int of 1 or more, got 0"),
        ({"rank": 2, "world": 2}, r"rank must be an int from 0 to world - 1 = 1, got 2"),
        ({"rank": -1}, "rank must be an int of 0 or more, got -1"),
    ],
)
def test_bad_numbers_are_refused(options, message):
    """The sampler says what was expected and what came."""
    with pytest.raises((ValueError, TypeError), match=message):
        EpochSampler(**{"n": 5, "seed": 0, **options})
    with pytest.raises(ValueError, match="epoch must be an int of 0 or more, got -1"):
        EpochSampler(5, seed=0).set_epoch(-1)


# report


def test_the_report_counts_since_the_last_call(files):
    """Each file is read in the first epoch, none in the second; earlier reads do not count; bytes are not measured."""
    read(files[0])
    report = CacheReport(read, prefix="train_")
    loader = DataLoader(dataset(files), batch_size=4)
    load_all(loader)
    first = report.end_epoch()
    load_all(loader)
    second = report.end_epoch()
    assert (first["train_hits"], first["train_misses"], first["train_hit_rate"]) == (1, 9, 0.1)
    assert first["train_load_s"] > 0
    assert second == {
        "train_hit_rate": 1.0, "train_hits": 10, "train_misses": 0, "train_load_s": 0.0,
        "train_currbytes": 0, "train_maxbytes": 0,
    }  # fmt: skip


@pytest.mark.parametrize("options", [{"maxsize": 5}, {"maxbytes": 5000}, {"maxbytes": 10**6, "shared": True}], ids=str)
def test_the_report_is_of_plain_numbers(files, options):
    """Values are floats and ints, those of CacheStats; unknown bytes and no limit are 0, in a shared store too."""
    load = bytecache.fill_once(**options)(Path.read_bytes)
    report = CacheReport(load)
    load(files[0]), load(files[0])
    logs, stats = report.end_epoch(), load.cache_stats()
    assert logs == {name: getattr(stats, name) or 0 for name in logs}
    assert {name: type(value) for name, value in logs.items()} == {
        "hit_rate": float, "hits": int, "misses": int, "load_s": float, "currbytes": int, "maxbytes": int
    }  # fmt: skip


def test_the_report_requires_a_cached_function():
    """A plain function has no counters."""
    with pytest.raises(TypeError, match="read must be a cached function, got .*: decorate it with"):
        CacheReport(len)


def test_decode_options_are_those_of_decode_jpeg() -> None:
    """Truncated, rotated, gray: the sample is what decode_jpeg makes of it; the error of strict names the way out."""
    data = insert(make_jpeg(48, 80), exif_segment(6))[:-400]
    options = {"colorspace": "GRAY", "strict": False, "orient": True, "fast": True}
    (image,) = ImageDataset([0], None, load=lambda _: data, **options)
    assert np.array_equal(image.permute(1, 2, 0).numpy(), bytecache.decode_jpeg(data, **options))
    with pytest.raises(SampleError, match="strict=False returns what can be"):
        ImageDataset([0], None, load=lambda _: data)[0]
    with pytest.raises(SampleError, match="more than max_pixels=9"):
        ImageDataset([0], None, load=lambda _: data, max_pixels=9)[0]
