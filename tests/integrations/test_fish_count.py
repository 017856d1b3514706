"""The fish-count trainer, end to end on a small data set of its own drawings."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import bytecache

for package in ("keras", "PIL", "matplotlib"):
    pytest.importorskip(package, reason=f"the trainer needs {package}")

from integrations.fish_count.__main__ import main  # noqa: E402

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "integrations.fish_count"]


def run(*args, **options):
    """Run a command to its end and return it, with its output as text."""
    return subprocess.run(
        [*COMMAND, *map(str, args)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False, **options
    )


def history(out):
    """Return the rows of history.csv."""
    return list(csv.DictReader((out / "history.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Two epochs through a cache of half the data, and what was printed."""
    out = tmp_path_factory.mktemp("run") / "run"
    options = ["--epochs", 2, "--batch-size", 8, "--maxbytes", "50% of data", "--storage-ms", 1, "--out", out]
    done = run("train", "--data", data, *options)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_a_run_leaves_everything_it_promises(trained):
    """Model, history, summary, report and TensorBoard logs exist, and a line per epoch is printed."""
    out, printed = trained
    assert {"model.keras", "history.csv", "summary.json", "report.png", "tensorboard"} <= set(os.listdir(out))
    assert [line[:9] for line in printed.splitlines()] == ["48 traini", "epoch  1/", "epoch  2/", "test MAE "]
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")


def test_a_prediction_is_printed_for_each_epoch_but_the_first(trained):
    """In the first epoch the cache fills: no formula holds."""
    lines = trained[1].splitlines()
    assert "predicted" not in lines[1] and "(predicted 0.500)" in lines[2]


def test_the_delay_is_in_every_output(trained):
    """--storage-ms is on the screen, in the history and in the summary."""
    out, printed = trained
    assert "each read from storage delayed by 1 ms" in printed
    assert json.loads((out / "summary.json").read_text())["options"]["storage_ms"] == "1.0"
    assert {row["storage_ms"] for row in history(out)} == {"1.0"}


def test_the_hit_rate_is_that_of_the_budget_and_validation_takes_none_of_it(trained):
    """With half the training bytes, half the reads hit in the second epoch; validation reads its files each time."""
    summary = json.loads((trained[0] / "summary.json").read_text())
    first, second = summary["history"]
    fraction = summary["maxbytes"] / summary["training_bytes"]
    assert fraction == pytest.approx(0.5, abs=0.001)
    assert second["hit_rate"] == pytest.approx(fraction, abs=0.05)  # 48 files of unequal size
    assert first["currbytes"] <= summary["maxbytes"]
    assert second["val_misses"] == 6
    assert summary["cache_stats"]["hits"] + summary["cache_stats"]["misses"] >= 2 * 48


def test_a_run_can_be_resumed_and_no_run_is_overwritten(trained, data, tmp_path):
    """--resume continues with the next epoch and appends to the history; without it RUN is refused."""
    out = shutil.copytree(trained[0], tmp_path / "run")
    options = ["train", "--data", data, "--batch-size", 8, "--out", out, "--epochs"]
    assert run(*options, 3).returncode == 2
    assert "already has 2 epochs: use a larger --epochs" in run(*options, 2, "--resume").stderr
    resumed = run(*options, 3, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    other = run(*options, 9, "--resume", "--seed", 1)
    assert (other.returncode, "was started with --seed 0" in other.stderr) == (2, True), other.stderr
    assert [row["epoch"] for row in history(out)] == ["0", "1", "2"]
    assert "epoch  3/3" in resumed.stdout and "epoch  1/3" not in resumed.stdout


def test_predict_prints_a_number_per_image(trained, data, tmp_path):
    """A line has the count and the path, also for an image of another size."""
    smaller = tmp_path / "smaller.jpg"
    paths = [*sorted(data.rglob("*.jpg"))[:2], smaller]
    smaller.write_bytes(bytecache.shrink_jpeg(paths[0].read_bytes(), max_side=48))
    done = run("predict", "--model", trained[0] / "model.keras", *paths)
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()] == list(map(str, paths))
    assert all(-20 < float(line.split()[0]) < 40 for line in done.stdout.splitlines())


@pytest.mark.foreign_threads
def test_compare_names_the_runs_and_their_delays(trained, tmp_path, capsys):
    """A line per run begins with its folder; the hit rates are drawn, and what each line of the plot is."""
    undelayed = shutil.copytree(trained[0], tmp_path / "undelayed")
    summary = json.loads((undelayed / "summary.json").read_text())
    summary["options"]["storage_ms"] = "0.0"
    (undelayed / "summary.json").write_text(json.dumps(summary))
    assert main(["compare", str(trained[0]), str(undelayed), "--out", str(tmp_path / "rates.png")]) == 0
    _, header, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert header[:4] == ["run", "cache", "delay", "ms"]
    assert [row[:3] for row in rows[:2]] == [[str(trained[0]), "fill_once", "1"], [str(undelayed), "fill_once", "0"]]
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_of_one_epoch_has_no_means_after_the_first(trained):
    """Its cells of the table are empty, the prediction's too."""
    from integrations.fish_count.compare import cells

    summary = json.loads((trained[0] / "summary.json").read_text())
    summary["history"] = summary["history"][:1]
    assert cells(summary)[2:7] == ["-"] * 5


def labels_of(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.foreign_threads
def test_the_plots_say_what_each_line_is_and_what_the_cache_held(trained):
    """The title has cache, budget and delay; each line of the hit rates its run, share and prediction."""
    from matplotlib.figure import Figure

    from integrations.fish_count import report

    summary = json.loads((trained[0] / "summary.json").read_text())
    held = summary["history"][-1]["currbytes"] / summary["training_bytes"]
    axes = Figure().subplots()
    report.draw_hit_rates(axes, {"some/run": summary})
    measured, predicted = labels_of(axes)
    assert measured == f"some/run: fill_once, held {held:.0%} of the bytes, 1 ms added per read"
    assert predicted == "predicted for that budget: 0.500"
    assert list(axes.get_lines()[1].get_xdata()) == [2, 2]  # nothing is predicted for the first epoch
    title = report.title(summary)
    assert "fill_once with a budget of" in title and f"{held:.0%} of the bytes" in title and "1 ms" in title


def test_ctrl_c_stops_after_the_epoch_and_still_writes_the_report(data, tmp_path):
    """After SIGINT the epoch is finished and the report written, without a traceback."""
    out = tmp_path / "run"
    command = [
        *COMMAND,
        "train",
        "--data",
        data,
        "--cache",
        "none",
        "--epochs",
        "500",
        "--batch-size",
        "8",
        "--out",
        out,
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not process.stdout.readline().startswith("epoch  1/500"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert "test MAE" in printed and printed.count("\nepoch") < 20
    assert {row["misses"] for row in history(out)[1:]} == {"48"}  # the last epoch too was a whole one
    assert (out / "report.png").exists()


@pytest.mark.foreign_threads
@pytest.mark.parametrize(
    "damage, message",
    [
        (
            lambda folder: (folder / "many").mkdir() or (folder / "many/a.jpg").write_bytes(b""),
            "many/a.jpg must be named",
        ),
        (
            lambda folder: next(folder.rglob("*.jpg")).write_bytes(b"GIF89a"),
            "remove or replace the file",
        ),
        (
            lambda folder: [p.write_bytes(p.read_bytes()[:900]) for p in folder.rglob("*.jpg")],
            "remove or replace the file",
        ),
        (lambda folder: [p.unlink() for p in folder.rglob("*.jpg")], "contains no .jpg or .jpeg file"),
        (lambda folder: [p.unlink() for p in sorted(folder.rglob("*.jpg"))[5:]], "must contain at least 10 images"),
    ],
    ids=["folder name", "not an image", "damaged", "empty", "too few"],
)
def test_bad_data_is_named_with_the_remedy(damage, message, data, tmp_path, capfd):
    """The exit status is 2, with one message and no traceback, and nothing is left in --out."""
    folder = tmp_path / "data"
    for path in data.rglob("*.jpg"):
        copy = folder / path.relative_to(data)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    damage(folder)
    assert main(["train", "--data", str(folder), "--epochs", "1", "--out", str(tmp_path / "run")]) == 2
    error = capfd.readouterr().err
    assert message in error and "Traceback" not in error
    assert not (tmp_path / "run").exists()  # so that the same command works once the data is mended


def test_an_image_of_another_size_is_named(data, tmp_path):
    """Without --size all images must have the size of the first; the message names the way out."""
    folder = tmp_path / "data"
    for number, path in enumerate(sorted(data.rglob("*.jpg"))[:20]):
        copy = folder / path.relative_to(data)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shrunk = bytecache.shrink_jpeg(path.read_bytes(), max_side=32)
        copy.write_bytes(shrunk if number == 10 else path.read_bytes())
    done = run("train", "--data", folder, "--epochs", 1, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "pass --size HxW" in done.stderr and "Traceback" not in done.stderr
    assert run("train", "--data", folder, "--epochs", 1, "--size", "64x64", "--out", tmp_path / "two").returncode == 0


@pytest.mark.parametrize(
    "options, message",
    [
        (["--maxbytes", "5 XB"], "maxbytes must be a positive int or a size"),
        (["--size", "256"], "--size must be HEIGHTxWIDTH"),
        (["--epochs", "0"], "--epochs must be 1 or more"),
        (["--seed", "-1"], "--seed must be 0 or more"),
        (["--out", "README.md/run"], "must be a writable folder"),
        (["--storage-ms", "-1"], "--storage-ms must be at least 0"),
        (["--resume"], "--resume needs a run"),
    ],
)
def test_bad_options_are_refused(options, message, data, tmp_path, capsys, monkeypatch):
    """The exit status is 2, and the message says what was expected, before anything is trained or written."""
    monkeypatch.chdir(ROOT)
    assert main(["train", "--data", str(data), "--out", str(tmp_path / "run"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_bad_images_can_be_left_out(damaged, tmp_path):
    """The summary lists those of all three parts with the reasons, and a line says how many there are."""
    folder, bad = damaged()
    options = ["--epochs", 1, "--batch-size", 8, "--out", tmp_path / "run", "--on-error", "skip"]
    done = run("train", "--data", folder, *options)
    assert done.returncode == 0, done.stderr
    skipped = json.loads((tmp_path / "run" / "summary.json").read_text())["skipped"]
    assert (skipped["files"], set(skipped["reasons"])) == (6, bad)
    assert all(reason.startswith("JpegError: ") for reason in skipped["reasons"].values())
    assert "6 bad images were left out" in done.stdout


def test_a_reader_that_stops_ends_the_trainer_quietly(data, tmp_path):
    """As in ``train ... | head -1``: the status is that of a closed pipe, without a traceback."""
    command = [*COMMAND, "train", "--data", data, "--epochs", "50", "--batch-size", "8", "--out", tmp_path / "run"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("48 training images")
        process.stdout.close()
        errors = process.stderr.read()
        status = process.wait(timeout=120)
    assert (status, errors) == (141, "")
