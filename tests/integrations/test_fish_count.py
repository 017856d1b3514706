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
pytest.importorskip("bytecache.http", reason="the storage is read by HttpReader", exc_type=ImportError)

from integrations.fish_count.__main__ import main  # noqa: E402
from integrations.fish_count.report import describe  # noqa: E402

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


def losses(rows):
    """Return the losses as they were written: equal only if every bit is."""
    return [(row["loss"], row["val_loss"]) for row in rows]


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Two epochs through a cache of half the data, which is read over HTTP, and what was printed."""
    out = tmp_path_factory.mktemp("run") / "run"
    options = ["--epochs", 2, "--batch-size", 8, "--maxbytes", "50% of data", "--latency-ms", 1, "--out", out]
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


def test_the_storage_is_in_every_output(trained):
    """--latency-ms is on the screen, in the history and in the summary."""
    out, printed = trained
    assert "read from storage that answers 4 requests at a time, each in 1 ms" in printed
    assert json.loads((out / "summary.json").read_text())["options"]["latency_ms"] == "1.0"
    assert {row["latency_ms"] for row in history(out)} == {"1.0"}


def test_the_server_was_asked_for_what_the_caches_have_missed(trained):
    """In training and in validation there was a request for each miss, and none besides."""
    summary = json.loads((trained[0] / "summary.json").read_text())
    training = sum(row["misses"] for row in summary["history"])
    assert training == summary["cache_stats"]["misses"]
    assert summary["storage"]["requests"] == training + sum(row["val_misses"] for row in summary["history"])
    assert summary["storage"]["most_at_once"] <= 4


def test_the_seconds_of_an_epoch_are_those_of_its_parts(trained):
    """Reading, decoding and the model add up to it."""
    for row in json.loads((trained[0] / "summary.json").read_text())["history"]:
        parts = [row[name] for name in ("reading_s", "decoding_s", "model_s")]
        assert min(parts) >= 0 and sum(parts) == pytest.approx(row["epoch_s"])
        assert row["images_per_s"] == pytest.approx(48 / row["epoch_s"])


def test_the_losses_do_not_depend_on_the_cache(trained, data, tmp_path):
    """LRU and no cache give the same ones to the last bit, from the folder as well as over HTTP."""
    options = ["--epochs", 2, "--batch-size", 8, "--maxbytes", "50% of data"]
    for cache, more in (("lru", ["--latency-ms", 1]), ("none", [])):
        done = run("train", "--data", data, *options, "--cache", cache, *more, "--out", tmp_path / cache)
        assert done.returncode == 0, done.stderr
        assert losses(history(tmp_path / cache)) == losses(history(trained[0]))


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
def test_compare_names_the_runs_and_their_storage(trained, tmp_path, capsys):
    """A line per run begins with its folder; the columns of seconds are explained, and all is drawn."""
    other = copy_with(trained[0], tmp_path / "other", lambda summary: summary["options"].update(latency_ms="0.0"))
    assert main(["compare", str(trained[0]), str(other), "--out", str(tmp_path / "compare.png")]) == 0
    title, header, *lines = capsys.readouterr().out.splitlines()
    assert title.endswith("read from a folder or from storage that answers 4 requests at a time, each in 1 ms")
    assert header.split()[:2] == ["run", "cache"]
    assert [line.split()[:2] for line in lines[:2]] == [[str(trained[0]), "fill_once"], [str(other), "fill_once"]]
    explained = [line.partition(":")[0].strip() for line in lines[2:5]]
    assert explained == ["reading", "decoding", "model"] and set(explained) < set(header.split())
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_compare_says_whether_the_runs_have_trained_alike(trained, tmp_path, capsys):
    """They have if all losses are equal, for as many epochs."""
    for change, words in (
        (lambda summary: None, "are the same in all runs"),
        (lambda summary: summary["history"][-1].update(loss=1.5), "differ between the runs"),
        (lambda summary: summary["history"].pop(), "differ between the runs"),
    ):
        other = copy_with(trained[0], tmp_path / "other", change)
        assert main(["compare", str(trained[0]), str(other)]) == 0
        assert words in capsys.readouterr().out.splitlines()[-1]
        shutil.rmtree(other)


def copy_with(run, out, change):
    """Copy a run, with another summary; return the copy's folder."""
    shutil.copytree(run, out)
    summary = json.loads((out / "summary.json").read_text())
    change(summary)
    (out / "summary.json").write_text(json.dumps(summary))
    return out


def test_a_run_of_one_epoch_has_no_means_after_the_first(trained):
    """Its cells of the table are empty, the prediction's too."""
    from integrations.fish_count.compare import cells

    summary = json.loads((trained[0] / "summary.json").read_text())
    summary["history"] = summary["history"][:1]
    assert cells(summary)[1:8] == ["-"] * 7


def labels_of(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.foreign_threads
def test_the_plots_say_what_each_line_is_and_what_the_cache_held(trained):
    """The title has cache, budget and storage; each line of the hit rates its run, share and prediction."""
    from matplotlib.figure import Figure

    from integrations.fish_count import report

    summary = json.loads((trained[0] / "summary.json").read_text())
    held = summary["history"][-1]["currbytes"] / summary["training_bytes"]
    axes = Figure().subplots()
    report.draw_hit_rates(axes, {"some/run": summary})
    measured, predicted = labels_of(axes)
    assert measured == f"some/run: fill_once, held {held:.0%} of the bytes"
    assert predicted == "predicted for that budget: 0.500"
    assert list(axes.get_lines()[1].get_xdata()) == [2, 2]  # nothing is predicted for the first epoch
    title = report.title(summary)
    assert "fill_once with a budget of" in title and f"{held:.0%} of the bytes" in title and "each in 1 ms" in title


def test_ctrl_c_stops_after_the_epoch_and_still_writes_the_report(data, tmp_path):
    """After SIGINT the epoch is finished and the report written, without a traceback, also if the server gets it."""
    out = tmp_path / "run"
    options = ["--cache", "none", "--latency-ms", "1", "--epochs", "500", "--batch-size", "8", "--out", out]
    command = [*COMMAND, "train", "--data", data, *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes) as process:
        while not process.stdout.readline().startswith("epoch  1/500"):
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)  # as the terminal does
        printed, errors = process.communicate(timeout=120)  # open as long as the server lives
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
        (["--read-ahead", "-1"], "--read-ahead must be 0 or more"),
        (["--latency-ms", "-1"], "--latency-ms must be at least 0"),
        (["--parallel", "0"], "--parallel must be 1 or more"),
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


def test_an_automatic_cache_trains_alike_and_says_what_it_keeps(trained, data, tmp_path):
    """Its pixels are those of the files; the plan comes after the first epoch, and no formula predicts the hit rate."""
    options = ["--epochs", 2, "--batch-size", 8, "--maxbytes", "50% of data", "--latency-ms", 1, "--cache", "auto"]
    done = run("train", "--data", data, *options, "--out", tmp_path / "auto")
    assert done.returncode == 0, done.stderr
    assert losses(history(tmp_path / "auto")) == losses(history(trained[0]))
    assert "48 items in" in done.stdout and "(predicted" not in done.stdout
    summary = json.loads((tmp_path / "auto" / "summary.json").read_text())
    assert [stage["name"] for stage in summary["cache_stats"]["stages"]] == ["read_remote", "decode"]
    assert summary["history"][1]["hit_rate"] > 0 and summary["history"][1]["currbytes"] <= summary["maxbytes"]
    files, images = (stage["currsize"] for stage in summary["cache_stats"]["stages"])
    assert describe(summary) == f"auto, held {files:,} files and {images:,} images as pixels"
    compared = run("compare", trained[0], tmp_path / "auto", "--out", tmp_path / "compare.png")
    assert "The losses of all epochs are the same in all runs" in compared.stdout
    rows = [line.split() for line in compared.stdout.splitlines()[2:4]]
    assert [(row[1], row[3]) for row in rows] == [("fill_once", "0.500"), ("auto", "-")]
