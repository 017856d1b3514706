"""The fish-count trainer in PyTorch: real runs on a small set, alone, with worker processes, and under torchrun."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch")
for package in ("PIL", "matplotlib"):
    pytest.importorskip(package, reason=f"the trainer needs {package}")

from integrations.fish_count.__main__ import main  # noqa: E402
from integrations.fish_count.model_torch import FishCount  # noqa: E402

ROOT = Path(__file__).parents[2]
ALONE = [sys.executable, "-m", "integrations.fish_count"]
TWO_RANKS = [
    *[sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
    *["-m", "integrations.fish_count"],
]
# A run of its own: a shared store that another test made has named this process's run.
FRESH = {name: value for name, value in os.environ.items() if name != "BYTECACHE_RUN"} | {
    "OMP_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore:This DataLoader will create",  # torch's, on a single processor
}
OPTIONS = {"cwd": ROOT, "env": FRESH, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
TRAINING = 48  # four fifths of the pictures
ALL_FIT = ("--maxbytes", "100% of data")


def run(*args, command=ALONE):
    """A finished command, its output as text."""
    return subprocess.run([*command, *map(str, args)], timeout=300, check=False, **OPTIONS)


def train(data, out, *options, command=ALONE):
    """The rows of history.csv, and what was printed, of two epochs."""
    common = ("train_torch", "--data", data, "--out", out, "--epochs", 2, "--batch-size", 8)
    done = run(*common, *options, command=command)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return history(out), done.stdout


def history(out):
    return list(csv.DictReader((out / "history.csv").read_text().splitlines()))


def column(rows, *names):
    """These figures, epoch after epoch, as they are written: equal only where every bit is."""
    return [tuple(row[name] for name in names) for row in rows]


def losses(rows):
    return column(rows, "loss", "mae", "val_loss", "val_mae")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Sixty drawings of 64 x 64 pixels."""
    folder = tmp_path_factory.mktemp("fish") / "data"
    made = run("make_data", "--out", folder, "--images", 60, "--size", 64, "--max-count", 4)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """The folder, the history and the output of a run in one process, through a cache of half the data."""
    out = tmp_path_factory.mktemp("alone") / "run"
    return out, *train(data, out, "--maxbytes", "50% of data", "--storage-ms", 1)


@pytest.fixture(scope="module")
def ranks(data, tmp_path_factory):
    """The store, the history and the output of a run on two ranks that keep what they read."""
    folder = tmp_path_factory.mktemp("ranks")
    rows, printed = train(data, folder / "run", *ALL_FIT, "--store", folder / "store", command=TWO_RANKS)
    return folder / "store", rows, printed


def test_a_run_leaves_what_train_leaves(alone):
    """Model, history, summary and report, with train's columns and its lines on the screen."""
    out, rows, printed = alone
    left = {"history.csv", "last.pt", "model.pt", "options.json", "report.png", "summary.json"}
    assert set(os.listdir(out)) == left
    of_the_cache = ["held_bytes", "hit_rate", "images_per_s", "loss", "mae", "read_s", "reads"]
    assert list(rows[0]) == ["epoch", *of_the_cache, "storage_ms", "val_loss", "val_mae", "val_reads"]
    assert [line[:9] for line in printed.splitlines()] == ["48 traini", "epoch  1/", "epoch  2/", "test MAE "]
    assert "each read from storage delayed by 1 ms" in printed
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")


def test_the_hit_rate_is_that_of_the_budget_and_validation_takes_none_of_it(alone):
    """Half the training bytes: half the reads hit in the second epoch; validation is read anew each time."""
    out, (first, second), _ = alone
    summary = json.loads((out / "summary.json").read_text())
    assert (int(first["reads"]), float(first["hit_rate"])) == (TRAINING, 0)
    assert float(second["hit_rate"]) == pytest.approx(0.5, abs=0.05)  # 48 files of unequal size
    assert int(second["held_bytes"]) <= summary["budget_bytes"] == summary["training_bytes"] // 2
    assert [first["val_reads"], second["val_reads"]] == ["6", "6"]
    assert summary["cache_stats"]["hits"] + summary["cache_stats"]["misses"] == 2 * TRAINING


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_two_workers_read_each_file_once(method, alone, data, tmp_path):
    """However they start; and the losses are those of one process that read half of them twice."""
    rows, _ = train(data, tmp_path / "run", *ALL_FIT, "--workers", 2, "--start-method", method)
    assert column(rows, "reads", "hit_rate") == [(str(TRAINING), "0.0"), ("0", "1.0")]
    assert losses(rows) == losses(alone[1])


def test_two_ranks_read_each_file_once_and_learn_what_they_learn_without_a_cache(ranks, data, tmp_path):
    """Every figure of the losses is equal to the last bit; rank 0 alone prints."""
    _, rows, printed = ranks
    uncached, _ = train(data, tmp_path / "run", "--cache", "none", command=TWO_RANKS)
    assert column(rows, "reads", "hit_rate") == [(str(TRAINING), "0.0"), ("0", "1.0")]
    assert column(uncached, "reads", "hit_rate") == [(str(TRAINING), "0.0")] * 2
    assert losses(rows) == losses(uncached)
    assert len(printed.splitlines()) == 4


def test_a_second_run_with_the_store_starts_warm(ranks, alone, data, tmp_path):
    """It reads nothing, though it is another kind of run, and learns as with a cold cache."""
    options = (*ALL_FIT, "--store", ranks[0], "--workers", 1)
    rows, _ = train(data, tmp_path / "run", *options)
    assert column(rows, "reads", "hit_rate") == [("0", "1.0")] * 2
    assert losses(rows) == losses(alone[1])
    stats = json.loads((tmp_path / "run" / "summary.json").read_text())["cache_stats"]
    assert (stats["hits"], stats["misses"]) == (2 * TRAINING, 0)  # those of this run


def stop_after(epochs, *args):
    """Exit status and stderr of a run that gets Ctrl-C, as its workers do, after so many epochs."""
    command = [*ALONE, "train_torch", *map(str, args), "--epochs", "500", "--batch-size", "8", *ALL_FIT]
    with subprocess.Popen(command, start_new_session=True, **OPTIONS) as process:
        while not process.stdout.readline().startswith(f"epoch {epochs:>2}/500"):
            assert process.poll() is None, process.stderr.read()
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=120)  # which every worker holds open while it lives
    return process.returncode, errors


def test_ctrl_c_ends_the_run_and_its_workers_and_resume_goes_on_as_if_it_had_not(data, tmp_path):
    """Status 130 and one line; a run that was stopped and resumed has the losses of one that was not."""
    whole, stopped = ("--data", data, "--out", tmp_path / "a"), ("--data", data, "--out", tmp_path / "b")
    for epochs, args in ((2, (*whole, "--workers", 2)), (1, stopped), (2, (*stopped, "--resume"))):
        status, errors = stop_after(epochs, *args)
        assert (status, errors.count("\n")) == (130, 2), errors
        assert "holds the epochs that are done, --resume goes on" in errors
    rows = history(tmp_path / "a"), history(tmp_path / "b")
    shorter = min(map(len, rows))
    assert shorter >= 2
    assert losses(rows[0][:shorter]) == losses(rows[1][:shorter])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_picture_is_named_with_the_remedy(workers, data, tmp_path):
    """Exit status 2, one message, no traceback, also where a worker process met it."""
    folder = tmp_path / "data"
    for path in data.rglob("*.jpg"):
        copy = folder / path.relative_to(data)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(b"GIF89a" if path.stem == "000007" else path.read_bytes())
    done = run("train_torch", "--data", folder, "--out", tmp_path / "run", "--workers", workers, "--seed", 1)
    assert done.returncode == 2
    assert "000007.jpg: JpegError: expected" in done.stderr and "remove the file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "options, message",
    [
        (["--maxbytes", "5 XB"], "maxbytes must be a positive int or a size"),
        (["--workers", "-1"], "--workers must be 0 or more"),
        (["--size", "256"], "--size must be HEIGHTxWIDTH"),
        (["--seed", "-1"], "--seed must be 0 or more"),
        (["--store", "README.md"], "the cache cannot be made"),
        (["--store", "kept", "--cache", "none"], "--cache none holds nothing"),
        (["--out", "README.md/run"], "must be a folder that can be written"),
        (["--resume"], "--resume needs a run"),
    ],
)
def test_bad_options_are_refused(options, message, data, tmp_path, capsys, monkeypatch):
    """Exit status 2 and what was expected, before anything is trained."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("BYTECACHE_RUN", raising=False)
    small = ["--maxbytes", "1 MB"]
    assert main(["train_torch", "--data", str(data), "--out", str(tmp_path / "run"), *small, *options]) == 2
    assert message in capsys.readouterr().err


def test_the_ranks_share_each_batch_evenly(data, tmp_path, monkeypatch, capsys):
    """A batch size that is no multiple of the ranks is refused."""
    from integrations.fish_count import train_torch

    monkeypatch.setattr(train_torch, "WORLD", 3)
    assert main(["train_torch", "--data", str(data), "--out", str(tmp_path / "run")]) == 2
    assert "--batch-size must be a multiple of the 3 ranks" in capsys.readouterr().err


def test_the_network_begins_by_answering_the_mean():
    """Whatever it is shown, of whatever size."""
    net = FishCount(7.25)
    for height, width in ((64, 64), (33, 48)):
        pixels = torch.randint(0, 256, (5, 3, height, width), dtype=torch.uint8)
        assert net(pixels).tolist() == [7.25] * 5


def test_the_network_is_that_of_keras():
    """As many numbers in it, moving means and variances included, and the features of a picture in the same shape."""
    pytest.importorskip("keras", reason="the comparison needs keras")
    from integrations.fish_count.quiet import load_keras

    load_keras()
    from integrations.fish_count.model import build_model

    model, net = build_model((72, 50), 7.25, 1e-3), FishCount(7.25)
    numbers = [*net.parameters(), *(part for part in net.buffers() if part.is_floating_point())]
    assert model.count_params() == sum(part.numel() for part in numbers)
    features = net.features(torch.zeros(2, 3, 72, 50))
    assert tuple(features.permute(0, 2, 3, 1).shape[1:]) == model.layers[-3].output.shape[1:]
