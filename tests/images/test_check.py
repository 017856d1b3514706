"""``check_images``: every file is counted once, by its content; the report does not depend on the threads."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.images import blocky_jpeg, claim_size, exif_segment, insert, lossless_jpeg, make_jpeg, segment
from helpers.processes import in_child
from helpers.threads import PATIENCE_S

from bytecache import ImageReport, JpegError, check_images, decode_image
from bytecache.images import check
from bytecache.images.formats import ImageDecoder
from bytecache.images.repair import Remark, describe_warning

NOBODY = 65534
BASE = make_jpeg(48, 64)
SCAN = BASE.index(b"\xff\xda")
PARAMETERS = SCAN + 5 + 2 * BASE[SCAN + 4]
AFTER_JFIF = 4 + int.from_bytes(BASE[4:6], "big")
ODD = {
    "bytes after the last block": BASE[:-2] + bytes(range(1, 246)) + BASE[-2:],
    "stray bytes before a marker": BASE[:AFTER_JFIF] + b"\1\2" + BASE[AFTER_JFIF:],
    "a broken ICC profile": insert(BASE, segment(0xE2, b"ICC_PROFILE\0\1\2" + bytes(300))),
    "scan parameters out of range": BASE[:PARAMETERS] + b"\0\0\0" + BASE[PARAMETERS + 3 :],
    "an unknown JFIF version": BASE[:11] + b"\0\x02" + BASE[13:],
    "an unknown Adobe color transform": BASE[:2] + segment(0xEE, b"Adobe\0\x64\0\0\0\0\x02") + BASE[AFTER_JFIF:],
}
REFUSED = {
    "cut": (BASE[: len(BASE) // 2], "cannot be decoded: .*strict=False returns what can be"),
    "empty": (b"", "got none: the file is empty"),
    "html": (b"<!DOCTYPE html><title>404", "an HTML or XML file$"),
    "header alone": (BASE[:SCAN], "truncated after"),
    "bomb": (claim_size(BASE, 30_000, 30_000), "900000000 pixels, more than max_pixels"),
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., list[str]]:
    """Write files, named 000, 001, ...; return their paths."""

    def write(*contents: bytes) -> list[str]:
        paths = [tmp_path / f"{n:03d}" for n in range(len(contents))]
        for path, data in zip(paths, contents, strict=True):
            path.write_bytes(data)
        return [str(path) for path in paths]

    return write


def test_ordinary_files(write: Any) -> None:
    """They are read as they are; sizes, orientations and colorspaces are counted, the most frequent first."""
    contents = [make_jpeg(20, 30, colorspace="GRAY"), BASE, BASE, insert(BASE, exif_segment(6)), lossless_jpeg(48, 64)]
    assert check_images(write(*contents)) == ImageReport(
        files=5,
        as_they_are=5,
        remarks={},
        through_pillow={},
        refused=[],
        orientations={1: 4, 6: 1},
        sizes={(48, 64): 4, (20, 30): 1},
        colorspaces={"YCbCr": 3, "Gray": 1, "RGB": 1},
    )


@pytest.mark.parametrize("kind", ODD)
def test_a_remark_says_what_is_odd(write: Any, kind: str) -> None:
    """Files of a kind are counted together, whatever numbers libjpeg's warning has; the first is the example."""
    other = ODD[kind].replace(bytes(range(1, 246)), bytes(range(1, 99)))
    paths = write(BASE, ODD[kind], BASE, other)
    report = check_images(paths)
    assert report.remarks == {kind: (2, paths[1])}
    assert (report.files, report.as_they_are, report.through_pillow, report.refused) == (4, 2, {}, [])


def test_the_most_frequent_remark_is_first(write: Any) -> None:
    """Whatever the order of the files."""
    common, rare = ODD["a broken ICC profile"], ODD["an unknown JFIF version"]
    assert list(check_images(write(rare, common, common)).remarks) == [
        "a broken ICC profile",
        "an unknown JFIF version",
    ]


def test_a_warning_without_a_name_is_libjpegs() -> None:
    """Without its numbers, so that files of a kind are counted together."""
    warning = "Corrupt JPEG data: found marker 0xd3 instead of RST5"
    assert describe_warning(warning) == "found marker ... instead of RST5"
    assert describe_warning("Inconsistent progression sequence for component 1 coefficient 22") == (
        "Inconsistent progression sequence for component ... coefficient ..."
    )


@pytest.mark.parametrize("size", [None, (12, 16)])
def test_what_pillow_decodes(write: Any, size: tuple[int, int] | None) -> None:
    """Other formats, by content, and sampling factors without a name."""
    pytest.importorskip("PIL", reason="Pillow decodes them")
    from PIL import Image

    picture = Image.fromarray(decode_image(BASE))
    folder = Path(write(blocky_jpeg(48, 64, [(4, 1), (2, 1), (2, 1)]))[0]).parent
    picture.save(folder / "a.jpg", "PNG")
    picture.convert("L").save(folder / "b.jpg", "PNG")
    picture.convert("CMYK").save(folder / "c.tiff")
    report = check_images(sorted(folder.iterdir()), size=size)
    assert report.through_pillow == {
        "a PNG": (2, str(folder / "a.jpg")),
        "a JPEG with the sampling factors 4x1,2x1,2x1": (1, str(folder / "000")),
        "a TIFF": (1, str(folder / "c.tiff")),
    }
    assert report.colorspaces == {"YCbCr": 1, "RGB": 1, "Gray": 1, "CMYK": 1} and report.sizes == {(48, 64): 4}
    assert (report.files, report.as_they_are, report.remarks, report.refused) == (4, 0, {}, [])


def test_the_orientation_of_other_formats(write: Any, tmp_path: Path) -> None:
    """It is counted; the size is that of the stored picture."""
    pytest.importorskip("PIL", reason="Pillow makes and decodes it")
    from PIL import Image

    tags = Image.Exif()
    tags[0x0112] = 8
    Image.fromarray(decode_image(BASE)).save(tmp_path / "a.png", exif=tags)
    report = check_images([tmp_path / "a.png"])
    assert report.orientations == {8: 1} and report.sizes == {(48, 64): 1}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_file(write: Any, name: str) -> None:
    """The reason is that of the decoder; the other files are checked all the same."""
    data, reason = REFUSED[name]
    paths = write(BASE, data, BASE)
    report = check_images(paths)
    assert (report.files, report.as_they_are) == (3, 2)
    ((path, message),) = report.refused
    assert path == paths[1]
    with pytest.raises(JpegError, match=reason) as raised:
        decode_image(data)
    assert message == str(raised.value)


def test_files_that_cannot_be_read(write: Any, tmp_path: Path) -> None:
    """They are refused with the reason of the operating system, in the order of the paths."""
    (good,) = write(BASE)
    report = check_images([tmp_path / "nowhere", good, tmp_path])
    assert report.refused == [
        (str(tmp_path / "nowhere"), "No such file or directory"),
        (str(tmp_path), "Is a directory"),
    ]
    assert report.as_they_are == 1


def test_a_file_without_permission() -> None:
    """It is refused, and the check goes on."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        for name, mode in (("closed", 0), ("open", 0o644)):
            (folder / name).write_bytes(BASE)
            (folder / name).chmod(mode)

        def look() -> ImageReport:
            if os.geteuid() == 0:  # root reads everything
                os.setuid(NOBODY)
            return check_images([folder / "closed", folder / "open"])

        report = in_child(look)
    assert report.refused == [(str(folder / "closed"), "Permission denied")] and report.as_they_are == 1


@pytest.mark.parametrize("threads", [2, 7, None])
def test_the_report_does_not_depend_on_threads(write: Any, threads: int | None) -> None:
    """It is that of one thread, in the same order; and each file is in one part of it."""
    contents = [make_jpeg(8 + n % 5, 16) for n in range(40)] + [*ODD.values(), *(data for data, _ in REFUSED.values())]
    contents = [contents[n] for n in np.random.default_rng(0).permutation(len(contents))]
    paths = write(*contents, *contents)
    report = check_images(paths, threads=threads)
    assert repr(report) == repr(check_images(paths, threads=1)), "equal dicts may differ in order"
    assert [path for path, _ in report.refused] == sorted(path for path, _ in report.refused)
    remarks = sum(files for files, _ in report.remarks.values())
    assert report.files == 2 * len(contents) == report.as_they_are + remarks + len(report.refused)
    for counts in (report.sizes, report.orientations, report.colorspaces):
        assert sum(counts.values()) == report.files - len(report.refused)


def test_files_are_decoded_at_the_scale_that_training_uses(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest that is large enough for `size`, all pixels without it; what the image is like is the same."""
    paths, decoded = write(BASE, insert(BASE, exif_segment(6)), make_jpeg(375, 500)), []
    decode = ImageDecoder.decode

    def spy(self: Any, data: Any, spec: Any, *rest: Any) -> Any:
        image = decode(self, data, spec, *rest)
        decoded.append(image.shape[:2])
        return image

    monkeypatch.setattr(ImageDecoder, "decode", spy)
    whole = check_images(paths, threads=1)
    assert check_images(paths, threads=1, size=(24, 30)) == whole
    assert decoded == [(48, 64), (48, 64), (375, 500), (24, 32), (24, 32), (47, 63)]


def test_each_thread_reads_the_file_that_it_decodes(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """So no file waits in memory; two threads work at the same time, into one array each."""
    both, arrays = threading.Barrier(2), []
    decode = ImageDecoder.decode

    def spy(self: Any, data: Any, spec: Any, out: Any, note: Any) -> Any:
        both.wait(PATIENCE_S)
        arrays.append((threading.get_ident(), out.ctypes.data))
        return decode(self, data, spec, out, note)

    monkeypatch.setattr(ImageDecoder, "decode", spy)
    assert check_images(write(*[BASE] * 8), threads=2).as_they_are == 8
    assert len(arrays) == 8 and len(set(arrays)) == 2


def test_pixels_of_large_images_are_not_kept(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of images above a limit; those below it share an array, the larger after the smaller too."""
    monkeypatch.setattr(check, "_MAX_BUFFER", 48 * 64 * 3)
    paths = write(make_jpeg(20, 30), BASE, make_jpeg(20, 30), make_jpeg(48, 65), BASE)
    assert check_images(paths, threads=1).as_they_are == 5


def test_a_file_that_takes_too_much_memory(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, as whatever else goes wrong with a single file."""

    def no_memory(*args: Any) -> None:
        raise MemoryError

    paths = write(BASE)
    monkeypatch.setattr(ImageDecoder, "decode", no_memory)
    assert check_images(paths).refused == [(paths[0], "MemoryError")]


def test_without_pillow(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names the extra."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    ((_, reason),) = check_images(write(b"\x89PNG\r\n\x1a\n" + bytes(30), BASE)).refused
    assert reason == "the data is a PNG; Pillow decodes it: pip install 'bytecache[images]'"


def test_max_pixels(write: Any) -> None:
    """A larger image is refused, before it is decoded; None is no limit."""
    paths = write(BASE)
    assert "more than max_pixels=3071" in check_images(paths, max_pixels=3071).refused[0].reason
    assert check_images(paths, max_pixels=3072).as_they_are == check_images(paths, max_pixels=None).as_they_are == 1


def test_kinds_of_paths(write: Any) -> None:
    """Text, bytes and Path, from any iterable; none at all is an empty report."""
    (path,) = write(BASE)
    report = check_images(iter([path, os.fsencode(path), Path(path)]))
    assert report.as_they_are == 3
    assert check_images([]) == (0, 0, {}, {}, [], {}, {}, {})


def test_progress_is_shown_if_asked(
    write: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr; a refused file counts as done."""
    monkeypatch.setitem(sys.modules, "tqdm", None)  # its bar takes time to show the last file
    paths = write(BASE, b"", BASE)
    check_images(paths)
    assert capsys.readouterr() == ("", "")
    check_images(paths, progress=True)
    assert capsys.readouterr() == ("", "check: 3 of 3\n")


@pytest.mark.parametrize(
    ("paths", "options", "error", "message"),
    [
        ("photos", {}, TypeError, "paths must be many paths, got one: 'photos'"),
        (Path("photos"), {}, TypeError, "paths must be many paths, got one"),
        ([3], {}, TypeError, "int"),
        ([], {"size": (0, 4)}, ValueError, "size must be two positive ints"),
        ([], {"size": 224}, ValueError, "size must be two positive ints"),
        ([], {"threads": 0}, ValueError, "threads must be a positive int"),
    ],
)
def test_arguments_are_checked(paths: Any, options: dict[str, Any], error: type[Exception], message: str) -> None:
    """Before any file is read."""
    with pytest.raises(error, match=message):
        check_images(paths, **options)


def test_after_a_fork(write: Any) -> None:
    """A child checks with threads of its own."""
    paths = write(*[BASE] * 8)
    report = check_images(paths, threads=2)
    assert in_child(lambda: check_images(paths, threads=2)) == report


# What decoders say of an image


def test_no_remark_of_an_image_that_is_not_whole() -> None:
    """Whether it raises or what there is comes back, gray for the rest."""
    for data in (BASE[: len(BASE) // 2], ODD["bytes after the last block"][: len(BASE) // 2]):
        for strict in (True, False):
            notes: list[Remark] = []
            decoder = ImageDecoder(strict=strict)
            try:
                decoder.decode(data, decoder.spec(data), None, notes.append)
            except JpegError:
                assert strict
            assert notes == []


def test_an_error_in_a_note_is_the_callers() -> None:
    """It is not taken for an image that cannot be decoded."""

    def note(remark: Remark) -> None:
        raise ValueError("note")

    data, decoder = ODD["a broken ICC profile"], ImageDecoder()
    with pytest.raises(ValueError, match="^note$"):
        decoder.decode(data, decoder.spec(data), None, note)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_a_large_file_that_is_no_image_is_not_read(tmp_path: Path) -> None:
    """Its first bytes are enough: a folder may have archives of any size."""
    path = tmp_path / "shard.tar"
    with path.open("wb") as file:
        file.truncate(2**33)
    script = "import resource, sys, bytecache; resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32)); " + (
        "print(bytecache.check_images(sys.argv[1:], threads=1).refused[0].reason)"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert "expected the bytes of an image" in done.stdout
