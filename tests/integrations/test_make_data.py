"""The data generator of the fish-count trainer: exact counts, visible fish, the same bytes every time."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image, ImageDraw  # noqa: E402

from integrations.fish_count import make_data  # noqa: E402
from integrations.fish_count.errors import UserError  # noqa: E402
from integrations.fish_count.options import make_data_options  # noqa: E402
from integrations.fish_count.scenes import compose, draw, placement  # noqa: E402


def options(out: Path, *more: str) -> argparse.Namespace:
    """Return parsed options for a small data set in `out`."""
    parser = argparse.ArgumentParser()
    make_data_options(parser)
    small = ["--out", str(out), "--images", "20", "--size", "64", "--max-count", "5", "--workers", "1"]
    return parser.parse_args([*small, *more])


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, by its relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def stamps(tmp_path: Path) -> Path:
    """A folder with cut-outs in a subfolder, and a PNG that is not a cut-out."""
    folder = tmp_path / "stamps"
    (folder / "reef").mkdir(parents=True)
    for index, colour in enumerate(((250, 90, 40), (240, 220, 60), (230, 230, 240))):
        image = Image.new("RGBA", (90, 50))
        draw = ImageDraw.Draw(image)
        draw.ellipse((5, 5, 65, 45), fill=(*colour, 255))
        draw.polygon([(60, 25), (88, 5), (88, 45)], fill=(*colour, 200))
        image.save(folder / "reef" / f"{index}.png")
    Image.new("RGB", (30, 30), (9, 9, 9)).save(folder / "opaque.png")
    return folder


@pytest.fixture
def backgrounds(tmp_path: Path) -> Path:
    """A folder with a large JPEG, and a PNG smaller than the images to be made."""
    folder = tmp_path / "backgrounds"
    folder.mkdir()
    Image.new("RGB", (300, 200), (20, 80, 120)).save(folder / "sea.JPG")
    Image.new("L", (50, 40), 70).save(folder / "grey.png")
    return folder


@pytest.mark.foreign_threads  # tqdm's monitor
def test_workers_do_not_change_a_byte(tmp_path: Path) -> None:
    """One process and two workers write the same files with the same bytes."""
    make_data.run(options(tmp_path / "one"))
    make_data.run(options(tmp_path / "two", "--workers", "2"))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_another_seed_gives_other_images(tmp_path: Path) -> None:
    """The seed decides the counts and the images."""
    make_data.run(options(tmp_path / "a"))
    make_data.run(options(tmp_path / "b", "--seed", "1"))
    assert make_data.draw_counts(50, 5, 0) != make_data.draw_counts(50, 5, 1)
    assert not set(contents(tmp_path / "a").values()) & set(contents(tmp_path / "b").values())


def test_folders_are_named_by_the_counts(tmp_path: Path) -> None:
    """Each image is in the folder of its count, and its name is its six-digit index."""
    make_data.run(options(tmp_path / "set"))
    counts = make_data.draw_counts(20, 5, 0)
    expected = {f"{count}/{index:06d}.jpg" for index, count in enumerate(counts)}
    assert set(contents(tmp_path / "set")) == expected | {"dataset.json"}


def test_the_file_is_the_scene_with_that_many_fish(tmp_path: Path) -> None:
    """The saved image is the one with as many fish as its folder says."""
    spec = make_data.ImageSpec(tmp_path, 64, 3, 90, [], [])
    for index, count in enumerate((0, 1, 4, 20)):
        make_data.write_image(spec, index, count)
        image, placed = draw.draw_scene_and_fish(count, 64, np.random.default_rng([3, index]))
        image.save(tmp_path / "same.jpg", quality=90, subsampling="4:2:0")
        assert len(placed) == count
        assert (tmp_path / "same.jpg").read_bytes() == (tmp_path / str(count) / f"{index:06d}.jpg").read_bytes()


def test_counts_are_uniform_from_0_to_the_maximum() -> None:
    """Every count from 0 to the maximum comes about equally often."""
    frequency = np.bincount(make_data.draw_counts(21_000, 20, 7), minlength=21) / 21_000
    assert len(frequency) == 21
    assert np.all(np.abs(frequency - 1 / 21) < 0.01)


@pytest.mark.parametrize(("count", "size"), [(0, 256), (1, 64), (7, 256), (20, 256), (20, 64), (60, 256), (60, 64)])
def test_each_drawn_fish_is_at_least_half_visible(count: int, size: int) -> None:
    """Exactly `count` fish are placed, and no overlap or border hides more than half of one."""
    for seed in range(4):
        image, placed = draw.draw_scene_and_fish(count, size, np.random.default_rng(seed))
        assert (image.size, image.mode) == ((size, size), "RGB")
        assert len(placed) == count
        assert all(fraction >= 0.5 for fraction in brute_force_fractions(placed, size))
        assert placement.visible_fractions(placed, size) == pytest.approx(brute_force_fractions(placed, size))


def brute_force_fractions(placed: list[placement.PlacedFish], size: int) -> list[float]:
    """Return the visible fraction of each fish, counted pixel by pixel without the code under test."""
    owner: dict[tuple[int, int], int] = {}
    for index, fish in enumerate(placed):
        for y, x in np.argwhere(fish.mask):
            owner[int(y) + fish.top, int(x) + fish.left] = index
    inside = [index for (y, x), index in owner.items() if 0 <= y < size and 0 <= x < size]
    return [inside.count(index) / int(fish.mask.sum()) for index, fish in enumerate(placed)]


def test_a_drawn_fish_changes_the_image_where_it_is() -> None:
    """Every fish, near or far, differs from the backdrop behind it."""
    for seed in range(6):
        before, _ = draw.draw_backdrop(128, np.random.default_rng(seed))
        image, placed = draw.draw_scene_and_fish(12, 128, np.random.default_rng(seed))
        change = np.abs(np.asarray(image, np.float32) - before).mean(axis=2)
        for fish in placed:
            rows, columns, inner_rows, inner_columns = placement.overlap(fish.mask.shape, fish.left, fish.top, 128)
            assert change[rows, columns][fish.mask[inner_rows, inner_columns]].mean() > 12


def test_fish_that_never_shrink_end_on_the_grid() -> None:
    """A cut-out as large as the image cannot be placed at random 60 times: on the grid it is wholly visible."""
    huge = Image.new("RGBA", (128, 128), (255, 0, 0, 255))
    placed = placement.place_fish(lambda length_px, rng: huge, 60, 128, np.random.default_rng(0))
    assert len(placed) == 60
    assert placement.visible_fractions(placed, 128) == [1.0] * 60


def test_fish_are_shorter_if_there_are_many() -> None:
    """The longest of 60 fish is shorter than the longest of a few, and none is below the minimum length."""
    lengths_by_count: dict[int, list[float]] = {3: [], 60: []}
    for count, lengths in lengths_by_count.items():

        def draw(length_px: float, rng: np.random.Generator, lengths: list[float] = lengths) -> Image.Image:
            lengths.append(length_px)
            return Image.new("RGBA", (round(length_px), round(length_px / 3)), (0, 0, 0, 255))

        for seed in range(10):
            placement.place_fish(draw, count, 256, np.random.default_rng(seed))
    assert max(lengths_by_count[60]) < max(lengths_by_count[3]) <= 70
    assert min(lengths_by_count[60] + lengths_by_count[3]) >= 25.99


def test_files_are_baseline_jpegs_of_the_requested_size(tmp_path: Path) -> None:
    """Each file is a 4:2:0 baseline JPEG that simplejpeg decodes."""
    simplejpeg = pytest.importorskip("simplejpeg")
    make_data.run(options(tmp_path / "set", "--size", "72"))
    for path in (tmp_path / "set").rglob("*.jpg"):
        data = path.read_bytes()
        assert b"\xff\xc0" in data and b"\xff\xc2" not in data  # SOF0 and no SOF2: baseline, not progressive
        assert simplejpeg.decode_jpeg_header(data)[:4] == (72, 72, "YCbCr", "420")
        assert simplejpeg.decode_jpeg(data).shape == (72, 72, 3)


def test_a_complete_data_set_is_reused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same options write nothing the second time, whatever the number of workers."""
    make_data.run(options(tmp_path / "set"))
    assert "20 images" in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*")}
    make_data.run(options(tmp_path / "set", "--workers", "2"))
    assert f"20 images are already in {tmp_path}" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*")}


def test_another_data_set_in_the_folder_is_an_error(tmp_path: Path) -> None:
    """The message names the folder and what differs."""
    make_data.run(options(tmp_path / "set"))
    with pytest.raises(UserError, match="with seed 0 instead of 1: choose another --out or remove it"):
        make_data.run(options(tmp_path / "set", "--seed", "1"))


@pytest.mark.parametrize("text", ["", "not json", "[]", json.dumps({"version": -1})])
def test_files_in_the_folder_are_an_error(tmp_path: Path, text: str) -> None:
    """An incomplete data set and foreign files are left alone."""
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(UserError, match="choose another --out or remove it"):
        make_data.run(options(tmp_path))
    (tmp_path / "dataset.json").rename(tmp_path / "notes.txt")
    with pytest.raises(UserError, match=f"{tmp_path} has files"):
        make_data.run(options(tmp_path))
    with pytest.raises(UserError, match="notes.txt is a file"):
        make_data.run(options(tmp_path / "notes.txt"))
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--images", "0", "--images must be at least 1, got 0"),
        ("--size", "63", "--size must be at least 64, got 63"),
        ("--seed", "-1", "--seed must be at least 0, got -1"),
        ("--max-count", "-1", "--max-count must be 0 to 60, got -1"),
        ("--max-count", "61", "--max-count must be 0 to 60, got 61"),
        ("--quality", "100", "--quality must be 1 to 95, got 100"),
        ("--workers", "0", "--workers must be at least 1, got 0"),
        ("--stamps", ".", "add --backgrounds or omit both"),
        ("--backgrounds", ".", "add --stamps or omit both"),
    ],
)
def test_invalid_options_are_errors(tmp_path: Path, option: str, value: str, expected: str) -> None:
    """Each message says what was expected and what was given, and nothing is written."""
    with pytest.raises(UserError, match=expected):
        make_data.run(options(tmp_path / "set", option, value))
    assert not (tmp_path / "set").exists()


def test_stamps_are_pasted_over_backgrounds(tmp_path: Path, stamps: Path, backgrounds: Path) -> None:
    """Pasted images do not depend on the number of workers, but they do on the sources."""
    photographs = ("--stamps", str(stamps), "--backgrounds", str(backgrounds))
    make_data.run(options(tmp_path / "one", *photographs))
    make_data.run(options(tmp_path / "two", *photographs, "--workers", "2"))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    (stamps / "reef" / "2.png").unlink()
    with pytest.raises(UserError, match="with sources"):
        make_data.run(options(tmp_path / "one", *photographs))


def test_each_stamp_is_at_least_half_visible(stamps: Path, backgrounds: Path) -> None:
    """Pasted fish are as visible as drawn ones; a PNG without transparency is not a stamp."""
    stamp_paths, background_paths = compose.find_stamps(stamps), compose.find_backgrounds(backgrounds)
    assert [path.name for path in stamp_paths] == ["0.png", "1.png", "2.png"]
    assert [path.name for path in background_paths] == ["grey.png", "sea.JPG"]
    for seed, count in enumerate((0, 1, 8, 20, 60)):
        rng = np.random.default_rng(seed)
        image, placed = compose.compose_scene_and_fish(count, 96, rng, stamp_paths, background_paths)
        assert (image.size, image.mode, len(placed)) == ((96, 96), "RGB", count)
        assert all(fraction >= 0.5 for fraction in brute_force_fractions(placed, 96))


def test_folders_without_images_are_errors(tmp_path: Path, stamps: Path, backgrounds: Path) -> None:
    """The message names the folder and, for stamps, a package that contains some."""
    with pytest.raises(UserError, match="tuxpaint-stamps-default"):
        make_data.run(options(tmp_path / "set", "--stamps", str(backgrounds), "--backgrounds", str(backgrounds)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="--backgrounds must contain images"):
        make_data.run(options(tmp_path / "set", "--stamps", str(stamps), "--backgrounds", str(tmp_path / "empty")))
    with pytest.raises(UserError, match="--stamps must be a folder"):
        make_data.run(options(tmp_path / "set", "--stamps", str(tmp_path / "no"), "--backgrounds", str(backgrounds)))


@pytest.mark.parametrize("name", ["stamps/cut.png", "backgrounds/cut.jpg", "backgrounds/cut.png"])
def test_an_unreadable_file_is_an_error(tmp_path: Path, stamps: Path, backgrounds: Path, name: str) -> None:
    """A truncated file is named before any image is written."""
    whole = stamps / "reef" / "0.png" if name.endswith("png") else backgrounds / "sea.JPG"
    (tmp_path / name).write_bytes(whole.read_bytes()[:120])
    with pytest.raises(UserError, match=f"{Path(name).name} must be an? (PNG )?image, cannot read it"):
        make_data.run(options(tmp_path / "set", "--stamps", str(stamps), "--backgrounds", str(backgrounds)))
    assert not (tmp_path / "set").exists()


def test_progress_without_tqdm_is_a_line_every_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    """A chunk that passes a tenth of the images prints how many are done."""
    advance = make_data._print_tenths(200)
    for _ in range(13):
        advance(16)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "32 of 200 images"
    assert len(lines) == 10
