"""The sample behind a folder's plan: which files, what is measured of them, and what of that counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bytecache.planning import folder_plan
from bytecache.planning.folder_plan import draw_sample, measure_files, plan_folder, smooth
from bytecache.planning.workload import Concurrency


def read(path: str) -> bytes:
    return Path(path).read_bytes()


def double(data: bytes) -> bytes:
    if b"bad" in data:
        raise ValueError("a bad file")
    return 2 * data


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Twenty files of 100, 200, ... bytes."""
    paths = [tmp_path / f"{n:02}" for n in range(20)]
    for n, path in enumerate(paths):
        path.write_bytes(bytes(100 * (n + 1)))
    return [str(path) for path in paths]


@pytest.mark.parametrize("n", [1, 299, 300, 301, 500, 12_345])
def test_each_file_is_as_likely_to_be_drawn(n: int) -> None:
    """Each once at most, all if they are few, the same ones each time; small and large ones in proportion."""
    nbytes = np.random.default_rng(0).lognormal(11, 0.6, n).astype(np.int64)
    drawn = draw_sample(nbytes, 300)
    assert drawn == draw_sample(nbytes, 300)
    assert len(drawn) == len(set(drawn)) == min(n, 300)
    if n > 1:
        assert drawn != sorted(drawn)
    assert nbytes[drawn].mean() == pytest.approx(nbytes.mean(), rel=0.01)
    assert np.median(nbytes[drawn]) == pytest.approx(np.median(nbytes), rel=0.01)


def test_each_file_goes_through_all_stages(files: list[str]) -> None:
    """Sizes are those of what each stage returns; what raises is refused with its reason and measured no further."""
    Path(files[3]).write_bytes(b"bad")
    Path(files[5]).unlink()
    sample = measure_files(files, [read, double], len)
    good = [100 * (n + 1) for n in range(20) if n not in (3, 5)]
    assert sample.sizes.tolist() == [[size, 2 * size] for size in good]
    assert sample.refused == [(files[3], "a bad file"), (files[5], "No such file or directory")]
    assert sample.cpu.shape == sample.wait.shape == sample.sizes.shape
    assert (sample.cpu >= 0).all() and (sample.wait >= 0).all() and not sample.wait[:, 1].any()


def test_each_file_is_read_once_but_the_first(files: list[str]) -> None:
    """The first one is read before, untimed; a stage that takes little time runs three times for a file."""
    reads: list[str] = []
    doubled: list[int] = []

    def counted_read(path: str) -> bytes:
        reads.append(path)
        return read(path)

    def counted_double(data: bytes) -> bytes:
        doubled.append(len(data))
        return double(data)

    measure_files(files, [counted_read, counted_double], len)
    assert reads == [files[0], *files]
    assert {doubled.count(100 * (n + 1)) for n in range(1, 20)} == {3}


def test_seconds_are_those_of_a_line_with_the_same_sum() -> None:
    """Noise does not tell files apart; one that was very late does not count, and those often late do."""
    rng = np.random.default_rng(0)
    sizes = rng.lognormal(11, 0.6, (300, 1))
    exact = 1e-3 + 1e-8 * sizes
    noisy = exact * rng.uniform(0.5, 1.5, sizes.shape)
    noisy[7] = 100.0
    assert smooth(sizes, noisy) == pytest.approx(exact, rel=0.1)
    often_late = exact + 0.01 * (rng.random(sizes.shape) < 0.1)
    assert smooth(sizes, often_late).sum() == pytest.approx(often_late.sum(), rel=0.06)
    assert not smooth(sizes, np.zeros(sizes.shape)).any()


def test_a_plan_is_for_all_files_that_can_be_used(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those refused in the sample are refused in proportion; a given wait replaces the measured one."""
    monkeypatch.setattr(folder_plan, "SAMPLED_FILES", 10)
    nbytes = np.array([Path(path).stat().st_size for path in files])
    drawn = draw_sample(nbytes, 10)
    for n in drawn[:2]:
        Path(files[n]).write_bytes(b"bad")
    stages = [("read", read), ("double", double)]
    found = plan_folder(files, nbytes, stages, 5000, Concurrency(), sizeof=len, read_s=0.25)
    assert (found.files, found.sampled, len(found.refused)) == (20, 10, 2)
    assert (found.nbytes, found.plan.items) == (21_000, 16)
    assert found.plan.stages[0].wait_s == pytest.approx(0.25)
    assert found.bytes_after(1) == 2 * found.bytes_after(0)
    budgets = found.budgets()
    assert budgets == sorted(budgets) and {5000, found.bytes_after(0), found.bytes_after(1)} <= set(budgets)


def test_a_folder_without_a_usable_file(files: list[str]) -> None:
    """The error has the first file and what is wrong with it."""
    for path in files:
        Path(path).write_bytes(b"bad")
    with pytest.raises(FileNotFoundError, match=r"none among the 20 files of the sample; the first: .*: a bad file"):
        plan_folder(files, np.full(20, 3), [("read", read), ("double", double)], 10, Concurrency(), sizeof=len)
