"""decode_batch: the pixels of decode_jpeg, one error with its index, and threads that leave nothing behind."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

import numpy as np
import pytest
from helpers.images import claim_size, count_headers, difference, exif_segment, insert, make_image, make_jpeg, pil_jpeg

from bytecache import JpegError, decode_batch, decode_jpeg
from bytecache.system import threads as pool

ROOT = Path(__file__).parents[2]
BATCH = [make_jpeg(48, 80, seed) for seed in range(12)]
EXPECTED = np.stack([decode_jpeg(data) for data in BATCH])
TRUNCATED = BATCH[0][: len(BATCH[0]) // 2]  # its header is complete, so it fails while others are being decoded
# Some tests are about a child that is forked from a process with threads.
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


# Results


@pytest.mark.parametrize("threads", [1, 2, 4, 50, None])
@pytest.mark.parametrize("options", [{}, {"colorspace": "BGR"}, {"colorspace": "GRAY"}, {"fast": True}], ids=str)
def test_a_batch_is_its_images(threads: int | None, options: dict) -> None:
    """Image i is that of decode_jpeg, on any number of threads and in each colorspace."""
    batch = decode_batch(BATCH, threads=threads, **options)
    assert batch.dtype == np.uint8 and batch.flags.c_contiguous
    assert np.array_equal(batch, np.stack([decode_jpeg(data, **options) for data in BATCH]))


@pytest.mark.parametrize("threads", [1, 3])
def test_out_is_filled_and_reused(threads: int) -> None:
    """out itself is returned, and each call fills it again."""
    out = np.full_like(EXPECTED, 7)
    for order in (1, -1):
        assert decode_batch(BATCH[::order], out=out, threads=threads) is out
        assert np.array_equal(out, EXPECTED[::order])


@pytest.mark.parametrize(
    ("out", "error"),
    [
        (np.zeros((12, 48, 80, 3), np.float32), ValueError),
        (np.zeros((11, 48, 80, 3), np.uint8), ValueError),
        (np.zeros((13, 48, 80, 3), np.uint8), ValueError),
        (np.zeros((12, 80, 48, 3), np.uint8), ValueError),
        (np.zeros((24, 48, 80, 3), np.uint8)[::2], ValueError),
        ([0], TypeError),
    ],
    ids=["dtype", "short", "long", "transposed", "strided", "list"],
)
def test_out_is_checked(out, error: type) -> None:
    """An unsuitable out is refused before anything is written into it."""
    with pytest.raises(error, match="out must be a .*array") as caught:
        decode_batch(BATCH, out=out)
    assert not isinstance(caught.value, JpegError) and not np.any(out)


@pytest.mark.parametrize(
    "kind",
    [iter, tuple, lambda images: (data for data in images), lambda images: map(bytearray, images)],
    ids=["iter", "tuple", "generator", "map"],
)
def test_any_iterable(kind: Callable) -> None:
    """An iterator, a tuple, a generator or a map of bytes-like objects gives the same batch as a list."""
    assert np.array_equal(decode_batch(kind(BATCH)), EXPECTED)


def test_an_empty_batch() -> None:
    """With a size, no images make an empty array; without one, ValueError names the way out."""
    assert decode_batch([], size=(5, 7)).shape == (0, 5, 7, 3)
    assert decode_batch(iter(()), size=(5, 7), colorspace="GRAY", threads=2).shape == (0, 5, 7, 1)
    with pytest.raises(ValueError, match=r"images is empty.*pass size=\(height, width\)"):
        decode_batch([])


@pytest.mark.parametrize(
    ("threads", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError), (True, TypeError)]
)
def test_threads_are_checked(threads: object, error: type) -> None:
    """Anything but a positive int or None is refused, even for an empty batch."""
    for images in (BATCH, []):
        with pytest.raises(error, match=f"threads must be a positive int or None, got {threads!r}"):
            decode_batch(images, size=(48, 80), threads=threads)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [5, (0, 5), (5,), (2.5, 3), "ab"])
def test_size_is_checked(size: object) -> None:
    """Anything but two positive ints raises a ValueError that names size."""
    with pytest.raises(ValueError, match="size must be two positive ints"):
        decode_batch([], size=size)  # type: ignore[arg-type]


@pytest.mark.parametrize("strict", [True, False])
def test_strict(strict: bool) -> None:
    """A truncated image decodes as by decode_jpeg with strict=False, and raises with strict=True."""
    if strict:
        with pytest.raises(JpegError, match="^image 1: the JPEG data"):
            decode_batch([BATCH[1], TRUNCATED])
    else:
        batch = decode_batch([BATCH[1], TRUNCATED], strict=False)
        assert np.array_equal(batch[1], decode_jpeg(TRUNCATED, strict=False)) and np.array_equal(batch[0], EXPECTED[1])


# size


@pytest.fixture
def pillow():
    """Pillow, which resizes; the test is skipped without it."""
    return pytest.importorskip("PIL.Image", reason="resizing needs Pillow")


SIZES = [(480, 640), (333, 517), (1080, 1920), (90, 64)]


@pytest.mark.parametrize("size", [(64, 64), (100, 130), (60, 81), (30, 200)], ids=str)
@pytest.mark.parametrize("colorspace", ["RGB", "GRAY"])
def test_size_is_near_a_full_decode_and_resize(pillow, size: tuple[int, int], colorspace: str) -> None:
    """Images of any size are within 2 levels, on average, of Pillow's resize of the full decode."""
    files = [make_jpeg(*stored, seed=seed) for seed, stored in enumerate(SIZES)]
    batch = decode_batch(files, size=size, threads=2, colorspace=colorspace)
    for data, image in zip(files, batch, strict=True):
        full = decode_jpeg(data, colorspace=colorspace)
        source = pillow.fromarray(full[..., 0] if colorspace == "GRAY" else full)
        expected = np.asarray(source.resize(size[::-1], pillow.Resampling.BILINEAR)).reshape(image.shape)
        assert difference(image, expected) < 2


def test_a_resize_starts_from_at_least_the_size(pillow) -> None:
    """What is resized is the smallest scaled decode not below size, the full decode for an enlargement."""
    data = make_jpeg(200, 304)
    for size, source in [((50, 76), (50, 76)), ((51, 76), (100, 152)), ((26, 30), (50, 76)), ((300, 400), (200, 304))]:
        decoded = decode_jpeg(data, min_size=source)
        assert decoded.shape[:2] == source
        expected = pillow.fromarray(decoded).resize(size[::-1], pillow.Resampling.BILINEAR)
        assert np.abs(decode_batch([data], size=size)[0].astype(int) - np.asarray(expected)).max() <= 1


def test_a_resize_does_not_alias(pillow) -> None:
    """Fine stripes shrink to an even gray, not to coarser stripes: the resize is antialiased."""
    stripes = np.zeros((300, 300, 3), np.uint8)
    stripes[:, ::3] = 255
    small = decode_batch([pil_jpeg(stripes, quality=95)], size=(110, 110))[0]
    assert small[5:-5, 5:-5].std() < 40 < stripes[::3, ::4].std()


def test_size_with_out(pillow) -> None:
    """With size, out has that size."""
    out = np.zeros((12, 24, 32, 3), np.uint8)
    assert decode_batch(BATCH, size=(24, 32), out=out) is out
    assert np.array_equal(out, decode_batch(BATCH, size=(24, 32), threads=1))
    with pytest.raises(ValueError, match=r"shape \(12, 24, 33, 3\), got uint8 \(12, 24, 32, 3\)"):
        decode_batch(BATCH, size=(24, 33), out=out)


def test_size_of_the_images_needs_no_pillow() -> None:
    """If size is the images' own, or that of a scaled decode, nothing is resized."""
    assert np.array_equal(decode_batch(BATCH, size=(48, 80)), EXPECTED)
    half = decode_batch(BATCH, size=(24, 40))
    assert np.array_equal(half, np.stack([decode_jpeg(data, min_size=(24, 40)) for data in BATCH]))


# Orientation


def test_orientation() -> None:
    """With orient=True images of equal size once upright make a batch; without it their stored size counts."""
    files = [insert(make_jpeg(48, 80), exif_segment(1)), insert(make_jpeg(80, 48), exif_segment(6))]
    batch = decode_batch(files, orient=True, threads=2)
    assert np.array_equal(batch, np.stack([decode_jpeg(data, orient=True) for data in files]))
    with pytest.raises(JpegError, match="^image 1: 80 x 48 pixels, but image 0 has 48 x 80: pass size="):
        decode_batch(files)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_with_size(pillow, orientation: int) -> None:
    """size is the upright image's: the scale of the decode is chosen for the rotated image."""
    data = insert(make_jpeg(200, 304, seed=3), exif_segment(orientation))
    image = decode_batch([data], size=(40, 90), orient=True)[0]
    full = pillow.fromarray(decode_jpeg(data, orient=True)).resize((90, 40), pillow.Resampling.BILINEAR)
    assert difference(image, np.asarray(full)) < 2


# Headers


@pytest.mark.parametrize("options", [{}, {"size": (24, 40)}, {"orient": True}], ids=str)
def test_each_header_is_read_once(monkeypatch: pytest.MonkeyPatch, options: dict) -> None:
    """A batch reads one header per image, whether it is resized or not."""
    headers = count_headers(monkeypatch)
    decode_batch(BATCH, threads=3, **options)
    assert headers == [len(data) for data in BATCH]


# Errors


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (TRUNCATED, "the JPEG data, .* bytes, cannot be decoded"),
        (b"", "the file is empty"),
        (b"\x89PNG\r\n", "the data is a PNG; Pillow cannot decode it"),
        (claim_size(BATCH[0], 65500, 65500), "more than max_pixels"),
    ],
    ids=["truncated", "empty", "PNG", "bomb"],
)
@pytest.mark.parametrize("at", [0, 5, 11])
@pytest.mark.parametrize("options", [{}, {"size": (48, 80)}], ids=str)
def test_a_bad_image_raises_with_its_index(threads: int, bad: bytes, message: str, at: int, options: dict) -> None:
    """One bad image raises JpegError, and its index and message name it."""
    with pytest.raises(JpegError, match=f"^image {at}: .*{message}") as caught:
        decode_batch([*BATCH[:at], bad, *BATCH[at + 1 :]], threads=threads, **options)
    assert caught.value.index == at


@pytest.mark.parametrize("threads", [1, 4])
def test_of_several_bad_images_the_first_is_named(threads: int) -> None:
    """Whichever thread fails first, the error is that of the lowest index; a hundred runs agree."""
    images = list(BATCH)
    images[4] = images[5] = images[6] = images[11] = TRUNCATED
    indices = set()
    for _ in range(100):
        with pytest.raises(JpegError) as caught:
            decode_batch(images, threads=threads)
        indices.add(caught.value.index)
    assert indices == {4}


@pytest.mark.parametrize("options", [{}, {"size": (48, 80), "threads": 2}], ids=str)
@pytest.mark.parametrize("bad", [None, "a.jpg", 3])
def test_what_is_not_bytes_is_named(bad: object, options: dict) -> None:
    """An item that is not bytes raises TypeError with its index."""
    with pytest.raises(TypeError, match=f"^image 2: data must be .* got {type(bad).__name__}: read the file first"):
        decode_batch([*BATCH[:2], bad], **options)  # type: ignore[list-item]


def test_a_strided_view_is_named() -> None:
    """An item with gaps raises ValueError with its index."""
    with pytest.raises(ValueError, match="^image 1: data must be contiguous"):
        decode_batch([BATCH[0], np.frombuffer(BATCH[1], np.uint8)[::2]])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "images", [b"", "a.jpg", BATCH[0], bytearray(BATCH[0])], ids=["b''", "str", "bytes", "bytearray"]
)
def test_one_image_is_not_a_batch(images: object) -> None:
    """The bytes of one image instead of a list of images are refused, not iterated over."""
    with pytest.raises((TypeError, ValueError)):
        decode_batch(images)  # type: ignore[arg-type]


def test_unequal_sizes() -> None:
    """Without size, JpegError names the first image that differs, both sizes and the way out."""
    images = [*BATCH[:3], make_jpeg(48, 81), make_jpeg(9, 9), BATCH[4]]
    message = r"^image 3: 48 x 81 pixels, but image 0 has 48 x 80: pass size=\(height, width\) to resize them all$"
    for threads in (1, 2):
        with pytest.raises(JpegError, match=message) as caught:
            decode_batch(images, threads=threads)
        assert caught.value.index == 3


def test_nothing_is_written_after_an_error() -> None:
    """When the error is raised no thread writes to out any more, nor does one start to."""
    images = [make_jpeg(256, 256, seed) for seed in range(4)] * 16
    out = np.empty((64, 256, 256, 3), np.uint8)
    other = np.empty_like(out)
    for at in (0, 1, 5, 40):
        bad = [*images[:at], images[0][:2000], *images[at + 1 :]]
        with pytest.raises(JpegError, match=f"^image {at}: "):
            decode_batch(bad, out=out, threads=4)
        out.fill(201)
        decode_batch(images, out=other, threads=4)  # after anything that might still be queued
        assert (out == 201).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_leaves_no_buffer_behind(plain_gc: None, threads: int) -> None:
    """Once the error is dropped nothing refers to out any more, without a garbage collection."""
    out = np.empty_like(EXPECTED)
    count = sys.getrefcount(out)
    for _ in range(5):
        try:
            decode_batch([*BATCH[:11], TRUNCATED], out=out, threads=threads)
        except JpegError as error:
            assert error.index == 11
    assert sys.getrefcount(out) == count


# Threads and processes


def test_threads_are_reused() -> None:
    """However often one caller decodes, and however small the images, it has at most threads - 1 helpers."""
    script = """
import threading, sys
sys.path.insert(0, "tests")
from helpers.images import make_jpeg
from bytecache import decode_batch
for side, count in [(256, 16), (8, 2), (32, 4)]:
    images = [make_jpeg(side, side)] * count
    for _ in range(400):
        decode_batch(images, threads=4)
print(threading.active_count())
"""
    assert int(_run(script)) <= 4


def test_concurrent_calls() -> None:
    """Eight threads that call at the same time each get their own images."""
    start = threading.Barrier(8, timeout=30)

    def call(shift: int) -> bool:
        images = BATCH[shift:] + BATCH[:shift]
        expected = np.roll(EXPECTED, -shift, axis=0)
        start.wait()
        return all(np.array_equal(decode_batch(images, threads=3), expected) for _ in range(20))

    with ThreadPoolExecutor(8) as callers:
        assert list(callers.map(call, range(8))) == [True] * 8


def test_one_bad_call_does_not_affect_the_others() -> None:
    """Of concurrent calls only those with the bad image fail."""
    start = threading.Barrier(4, timeout=30)

    def call(caller: int) -> bool:
        start.wait()
        for _ in range(20):
            if caller % 2:
                with pytest.raises(JpegError, match="^image 7: "):
                    decode_batch([*BATCH[:7], TRUNCATED, *BATCH], threads=3)
            elif not np.array_equal(decode_batch(BATCH, threads=3), EXPECTED):
                return False
        return True

    with ThreadPoolExecutor(4) as callers:
        assert list(callers.map(call, range(4))) == [True] * 4


def test_nested_calls_on_a_full_pool() -> None:
    """decode_batch on the pool's own threads ends, even if the pool has a single thread."""
    script = """
import sys
sys.path.insert(0, "tests")
from concurrent.futures import ThreadPoolExecutor
from helpers.images import make_jpeg
from bytecache import decode_batch
from bytecache.system import threads as pool
images = [make_jpeg(16, 16)] * 4
if hasattr(pool, "_MAX_HELPERS"):
    pool._MAX_HELPERS = 1
done = []
def work(index):
    for _ in range(20):
        done.append(decode_batch(images, threads=3).shape)
pool.run_on_threads(work, range(12), 4)
print(len(done), set(done))
"""
    assert _run(script) == "240 {(4, 16, 16, 3)}"


def test_a_forked_child_decodes() -> None:
    """A child forked while the pool is at work decodes on its own threads and ends normally, as does its parent."""
    if not hasattr(pool.os, "fork"):
        pytest.skip("no fork here")
    script = """
import os, sys, threading, warnings
sys.path.insert(0, "tests")
warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
from helpers.images import make_jpeg
from bytecache import decode_batch
images = [make_jpeg(64, 64)] * 16
expected = decode_batch(images, threads=3)
stop = threading.Event()
def busy():
    while not stop.is_set():
        decode_batch(images, threads=3)
others = [threading.Thread(target=busy) for _ in range(3)]
for other in others:
    other.start()
statuses = []
for _ in range(20):
    child = os.fork()
    if child == 0:
        same = (decode_batch(images, threads=3) == expected).all() and threading.active_count() > 1
        sys.exit(0 if same else 3)
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
for other in others:
    other.join()
print(statuses == [0] * 20, (decode_batch(images, threads=3) == expected).all())
"""
    assert _run(script) == "True True"


@pytest.fixture(scope="module")
def spawners() -> None:
    """Start multiprocessing's own helper processes, which never end, before open files are counted."""
    resource_tracker.ensure_running()
    forkserver.ensure_running()


@forks
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_children_of_multiprocessing(spawners: None, method: str) -> None:
    """Children of fork, spawn and forkserver decode on threads, after the parent has; errors come back complete."""
    decode_batch(BATCH, threads=3)
    with multiprocessing.get_context(method).Pool(2) as children:
        sums = children.map_async(_decode_in_child, [BATCH] * 6).get(timeout=60)
        with pytest.raises(JpegError, match="^image 1: ") as caught:
            children.apply_async(_decode_in_child, ([BATCH[0], TRUNCATED],)).get(timeout=60)
        children.close()
        children.join()
    assert sums == [int(EXPECTED.sum())] * 6 and caught.value.index == 1


def _decode_in_child(images: list[bytes]) -> int:
    return int(decode_batch(images, threads=3).sum())


def test_it_works_while_the_interpreter_ends() -> None:
    """In an atexit function, when no thread can be started any more, the calling thread decodes everything."""
    script = """
import atexit, sys
sys.path.insert(0, "tests")
from helpers.images import make_jpeg
from bytecache import decode_batch
atexit.register(lambda: print(decode_batch([make_jpeg(16, 16)] * 4, threads=3).shape))
"""
    assert _run(script) == "(4, 16, 16, 3)"


def _run(script: str) -> str:
    """Return what a script prints in a process of its own, which must succeed within a minute."""
    command = [sys.executable, "-X", "faulthandler", "-W", "error", "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


# Work on threads


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_run_on_threads_does_each_item_once(threads: int) -> None:
    """Each item is worked on once, by the calling thread among others; no two threads are in a generator at once."""
    done: list[int] = []
    pool.run_on_threads(done.append, (item for item in range(1000)), threads)
    assert sorted(done) == list(range(1000))


def test_run_on_threads_uses_the_threads() -> None:
    """With three threads three items are worked on at the same time."""
    together = threading.Barrier(3, timeout=30)
    names: set[str] = set()

    def work(_: int) -> None:
        names.add(threading.current_thread().name)
        together.wait()

    pool.run_on_threads(work, range(3), 3)
    assert len(names) == 3 and threading.current_thread().name in names


def test_run_on_threads_waits_for_work_in_progress() -> None:
    """After an exception the items in work are finished before it is raised, and no other is started."""
    started, failing, ended = [], threading.Event(), []

    def work(item: int) -> None:
        started.append(item)
        if item == 0:
            failing.wait(30)
            ended.append(item)
        else:
            failing.set()
            raise KeyError(item)

    with pytest.raises(KeyError) as caught:
        pool.run_on_threads(work, range(100), 2)
    assert (caught.value.args, sorted(started), ended) == ((1,), [0, 1], [0])


def test_run_on_threads_raises_what_its_iterator_raises() -> None:
    """The exception of a failing iterator is raised after the items before it are done."""
    done: list[int] = []

    def items():
        yield from range(5)
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        pool.run_on_threads(done.append, items(), 3)
    assert sorted(done) == list(range(5))


def test_drawn_images_differ() -> None:
    """The images of these tests differ from one another, so that a mixed-up batch would be noticed."""
    assert min(difference(EXPECTED[0], other) for other in EXPECTED[1:]) > 10
    assert difference(make_image(48, 80, 0), EXPECTED[0]) < 10
