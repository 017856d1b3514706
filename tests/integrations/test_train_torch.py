"""The fish-count trainer in PyTorch: real runs on a small data set, in one process, with workers, under torchrun."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch")
for package in ("PIL", "matplotlib"):
    pytest.importorskip(package, reason=f"the trainer needs {package}")
pytest.importorskip("bytecache.http", reason="the storage is read by HttpReader", exc_type=ImportError)

from integrations.fish_count.__main__ import main  # noqa: E402
from integrations.fish_count.model_torch import FishCount  # noqa: E402

ROOT = Path(__file__).parents[2]
ALONE = [sys.executable, "-m", "integrations.fish_count"]
TWO_RANKS = [
    *[sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
    *["-m", "integrations.fish_count"],
]
# A run of its own: a shared store that another test created has set the run of this process.
FRESH = {name: value for name, value in os.environ.items() if name != "BYTECACHE_RUN"} | {
    "OMP_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore:This DataLoader will create",  # torch's, on a single processor
}
OPTIONS = {"cwd": ROOT, "env": FRESH, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
TRAINING = 48  # four fifths of the images
ALL_FIT = ("--maxbytes", "100% of data")
REMOTE = ("--latency-ms", 1)


def run(*args, command=ALONE):
    """Run a command to its end and return it, with its output as text."""
    return subprocess.run([*command, *map(str, args)], timeout=300, check=False, **OPTIONS)


def train(data, out, *options, command=ALONE):
    """Train for two epochs; return the rows of history.csv and what was printed."""
    common = ("train_torch", "--data", data, "--out", out, "--epochs", 2, "--batch-size", 8)
    done = run(*common, *options, command=command)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return history(out), done.stdout


def history(out):
    return list(csv.DictReader((out / "history.csv").read_text().splitlines()))


def columns(rows, *names):
    """Return these columns as they were written: equal only if every bit is."""
    return [tuple(row[name] for name in names) for row in rows]


def losses(rows):
    return columns(rows, "loss", "mae", "val_loss", "val_mae")


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """The folder, history and output of a run in one process, through a cache of half the data, read over HTTP."""
    out = tmp_path_factory.mktemp("alone") / "run"
    return out, *train(data, out, "--maxbytes", "50% of data", "--latency-ms", 1)


@pytest.fixture(scope="module")
def ranks(data, tmp_path_factory):
    """The store, the history and the output of a run on two ranks with a persistent store, read over HTTP."""
    folder = tmp_path_factory.mktemp("ranks")
    rows, printed = train(data, folder / "run", *ALL_FIT, *REMOTE, "--store", folder / "store", command=TWO_RANKS)
    return folder / "store", rows, printed


def test_a_run_leaves_what_train_leaves(alone):
    """Model, history, summary and report exist, with the columns of train and its lines on the screen."""
    out, rows, printed = alone
    expected = {"history.csv", "last.pt", "model.pt", "options.json", "report.png", "summary.json"}
    assert set(os.listdir(out)) == expected
    training = ["currbytes", "hit_rate", "hits", "load_s", "loss", "mae", "maxbytes", "misses"]
    seconds = ["epoch_s", "reading_s", "decoding_s", "model_s", "images_per_s"]
    validation = ["val_loss", "val_mae", "val_misses"]
    assert set(rows[0]) == {"epoch", "latency_ms", *training, *seconds, *validation}
    assert [line[:9] for line in printed.splitlines()] == ["48 traini", "epoch  1/", "epoch  2/", "test MAE "]
    assert "read from storage that answers 4 requests at a time, each in 1 ms" in printed
    assert "predicted" not in printed.splitlines()[1] and "(predicted 0.500)" in printed.splitlines()[2]
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")


def test_the_hit_rate_is_that_of_the_budget_and_validation_takes_none_of_it(alone):
    """With half the training bytes, half the reads hit in the second epoch; validation reads its files each time."""
    out, (first, second), _ = alone
    summary = json.loads((out / "summary.json").read_text())
    assert (int(first["misses"]), float(first["hit_rate"])) == (TRAINING, 0)
    assert float(second["hit_rate"]) == pytest.approx(0.5, abs=0.05)  # 48 files of unequal size
    assert int(second["currbytes"]) <= summary["maxbytes"] == summary["training_bytes"] // 2
    assert [first["val_misses"], second["val_misses"]] == ["6", "6"]
    assert summary["cache_stats"]["hits"] + summary["cache_stats"]["misses"] == 2 * TRAINING
    assert summary["storage"]["requests"] == summary["cache_stats"]["misses"] + 2 * 6  # of validation


def test_the_seconds_of_an_epoch_are_those_of_its_parts(alone):
    """Reading, decoding and the model add up to it."""
    for row in alone[1]:
        parts = [float(row[name]) for name in ("reading_s", "decoding_s", "model_s")]
        assert min(parts) >= 0 and sum(parts) == pytest.approx(float(row["epoch_s"]))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_two_workers_read_each_file_once(method, alone, data, tmp_path):
    """So it is with every start method, and the losses are those of one process that read half of them twice."""
    rows, _ = train(data, tmp_path / "run", *ALL_FIT, "--workers", 2, "--start-method", method)
    assert columns(rows, "misses", "hit_rate") == [(str(TRAINING), "0.0"), ("0", "1.0")]
    assert losses(rows) == losses(alone[1])


def test_two_ranks_read_each_file_once_and_train_as_without_a_cache(ranks, data, tmp_path):
    """The losses are equal to the last bit; only rank 0 prints."""
    _, rows, printed = ranks
    uncached, _ = train(data, tmp_path / "run", "--cache", "none", command=TWO_RANKS)
    assert columns(rows, "misses", "hit_rate") == [(str(TRAINING), "0.0"), ("0", "1.0")]
    assert columns(uncached, "misses", "hit_rate") == [(str(TRAINING), "0.0")] * 2
    assert losses(rows) == losses(uncached)
    assert len(printed.splitlines()) == 4


def test_a_second_run_with_the_store_starts_warm(ranks, alone, data, tmp_path):
    """It reads nothing, though it is another kind of run with another server, and trains as with a cold cache."""
    options = (*ALL_FIT, *REMOTE, "--store", ranks[0], "--workers", 1)
    rows, _ = train(data, tmp_path / "run", *options)
    assert columns(rows, "misses", "hit_rate") == [("0", "1.0")] * 2
    assert losses(rows) == losses(alone[1])
    stats = json.loads((tmp_path / "run" / "summary.json").read_text())["cache_stats"]
    assert (stats["hits"], stats["misses"]) == (2 * TRAINING, 0)  # of this run only


def stop_after(epochs, *args):
    """Press Ctrl-C after so many epochs of a run, for its workers too; return its exit status and stderr."""
    command = [*ALONE, "train_torch", *map(str, args), "--epochs", "500", "--batch-size", "8", *ALL_FIT]
    with subprocess.Popen(command, start_new_session=True, **OPTIONS) as process:
        while not process.stdout.readline().startswith(f"epoch {epochs:>2}/500"):
            assert process.poll() is None, process.stderr.read()
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=120)  # open as long as a worker lives
    return process.returncode, errors


def test_ctrl_c_ends_the_run_and_its_workers_and_resume_continues_as_if_uninterrupted(data, tmp_path):
    """The status is 130, with one line; a run that was stopped and resumed has the losses of one that was not."""
    whole, stopped = ("--data", data, "--out", tmp_path / "a"), ("--data", data, "--out", tmp_path / "b")
    for epochs, args in ((2, (*whole, "--workers", 2)), (1, stopped), (2, (*stopped, "--resume"))):
        status, errors = stop_after(epochs, *args)
        # Python's own thread in a worker, which was handing a tensor over, may say that nobody takes it any more.
        ours = re.sub(
            r"Traceback [^\n]*\n +File [^\n]*resource_sharer[^\n]*\n(?: [^\n]*\n)*(?:\w+Error.*\n)?", "", errors
        )
        assert (status, ours.count("\n")) == (130, 2), errors
        assert "has the finished epochs, --resume continues after them" in errors
    rows = history(tmp_path / "a"), history(tmp_path / "b")
    shorter = min(map(len, rows))
    assert shorter >= 2
    assert losses(rows[0][:shorter]) == losses(rows[1][:shorter])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_image_is_named_with_the_remedy(workers, data, tmp_path):
    """The exit status is 2, with one message and no traceback, also if a worker process read it."""
    folder = tmp_path / "data"
    for path in data.rglob("*.jpg"):
        copy = folder / path.relative_to(data)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(b"GIF89a" if path.stem == "000007" else path.read_bytes())
    done = run("train_torch", "--data", folder, "--out", tmp_path / "run", "--workers", workers, "--seed", 1)
    assert done.returncode == 2
    assert "000007.jpg: JpegError: the data is a GIF" in done.stderr and "remove or replace the file" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()  # so that the same command works once the data is mended


def test_bad_images_can_be_left_out(damaged, tmp_path):
    """The summary lists those of all three parts with the reasons, whichever process has met them."""
    folder, bad = damaged()
    options = ("--on-error", "skip", "--workers", 2, "--start-method", "spawn")
    _, printed = train(folder, tmp_path / "run", *options)
    skipped = json.loads((tmp_path / "run" / "summary.json").read_text())["skipped"]
    assert (skipped["files"], set(skipped["reasons"])) == (6, bad)
    assert all(reason.startswith("JpegError: ") for reason in skipped["reasons"].values())
    assert "6 bad images were left out" in printed


def test_predict_takes_the_model(alone, data):
    """A line has the count and the path; a file that is no model of either trainer is refused."""
    paths = sorted(data.rglob("*.jpg"))[:2]
    done = run("predict", "--model", alone[0] / "model.pt", *paths)
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()] == list(map(str, paths))
    assert all(-20 < float(line.split()[0]) < 40 for line in done.stdout.splitlines())
    refused = run("predict", "--model", alone[0] / "history.csv", *paths)
    assert refused.returncode == 2 and "must be the model.keras or model.pt of a finished run" in refused.stderr


@pytest.mark.parametrize(
    "options, message",
    [
        (["--maxbytes", "5 XB"], "maxbytes must be a positive int or a size"),
        (["--workers", "-1"], "--workers must be 0 or more"),
        (["--size", "256"], "--size must be HEIGHTxWIDTH"),
        (["--seed", "-1"], "--seed must be 0 or more"),
        (["--store", "README.md"], "the cache cannot be opened"),
        (["--store", "kept", "--cache", "none"], "--cache none stores nothing"),
        (["--store", "kept", "--cache", "auto"], "--cache auto does not see that a file has changed"),
        (["--out", "README.md/run"], "must be a writable folder"),
        (["--resume"], "--resume needs a run"),
    ],
)
def test_bad_options_are_refused(options, message, data, tmp_path, capsys, monkeypatch):
    """The exit status is 2, and the message says what was expected, before anything is trained."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("BYTECACHE_RUN", raising=False)
    small = ["--maxbytes", "1 MB"]
    assert main(["train_torch", "--data", str(data), "--out", str(tmp_path / "run"), *small, *options]) == 2
    assert message in capsys.readouterr().err


def test_the_ranks_get_equal_parts_of_each_batch(data, tmp_path, monkeypatch, capsys):
    """A batch size that is not a multiple of the number of ranks is refused."""
    from integrations.fish_count import train_torch

    monkeypatch.setattr(train_torch, "WORLD", 3)
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert main(["train_torch", "--data", str(data), "--out", str(tmp_path / "run")]) == 2
    assert "--batch-size must be a multiple of the number of ranks, 3" in capsys.readouterr().err


def test_a_launcher_must_say_which_rank_is_the_first_of_its_host(data, tmp_path, monkeypatch, capsys):
    """Else the counters of a host's cache would be added once per rank."""
    from integrations.fish_count import train_torch

    monkeypatch.setattr(train_torch, "WORLD", 2)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert main(["train_torch", "--data", str(data), "--out", str(tmp_path / "run")]) == 2
    assert "the launcher of 2 ranks must set LOCAL_RANK" in capsys.readouterr().err


def test_the_untrained_network_predicts_the_mean():
    """So it does for any image of any size."""
    net = FishCount(7.25)
    for height, width in ((64, 64), (33, 48)):
        pixels = torch.randint(0, 256, (5, 3, height, width), dtype=torch.uint8)
        assert net(pixels).tolist() == [7.25] * 5


def test_the_network_is_the_same_as_in_keras():
    """It has as many numbers, moving means and variances included, and features of the same shape."""
    pytest.importorskip("keras", reason="the comparison needs keras")
    from integrations.fish_count.keras_import import import_keras

    import_keras()
    from integrations.fish_count.model import build_model

    model, net = build_model((72, 50), 7.25, 1e-3), FishCount(7.25)
    numbers = [*net.parameters(), *(part for part in net.buffers() if part.is_floating_point())]
    assert model.count_params() == sum(part.numel() for part in numbers)
    features = net.features(torch.zeros(2, 3, 72, 50))
    assert tuple(features.permute(0, 2, 3, 1).shape[1:]) == model.layers[-3].output.shape[1:]


def test_workers_share_an_automatic_cache_that_holds_everything(alone, data, tmp_path):
    """Each file is read once; the plan is printed once, and the losses are those of any cache."""
    rows, printed = train(data, tmp_path / "run", "--cache", "auto", "--maxbytes", "8 MiB", "--workers", 2)
    assert columns(rows, "misses") == [(str(TRAINING),), ("0",)]
    assert printed.count(f"{TRAINING} items in 8.0 MiB") == 1
    assert losses(rows) == losses(alone[1])
