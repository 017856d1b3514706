"""Both fish-count trainers over a server that hosts share."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.servers import running

for package in ("PIL", "matplotlib"):
    pytest.importorskip(package, reason=f"the trainers need {package}")
pytest.importorskip("redis", minversion="8.0", reason="the extra redis")

from integrations.fish_count.__main__ import main  # noqa: E402

ROOT = Path(__file__).parents[2]
FRESH = {name: value for name, value in os.environ.items() if name != "BYTECACHE_RUN"}
TRAINING = 48  # of the sixty images
TRAINERS = {"train": "keras", "train_torch": "torch"}


def train(trainer: str, data: Path, out: Path, *options: object) -> tuple[str, dict[str, object]]:
    """Train for an epoch; return what was printed, and the summary."""
    arguments = [trainer, "--data", data, "--out", out, "--epochs", 1, "--batch-size", 8, *options]
    command = [sys.executable, "-m", "integrations.fish_count", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=FRESH, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr, json.loads((out / "summary.json").read_text())


def test_what_one_trainer_has_read_the_other_finds(data: Path, tmp_path: Path) -> None:
    """Both say what each tier has answered, and neither tells the password."""
    for package in TRAINERS.values():
        pytest.importorskip(package, reason=f"one of the trainers needs {package}")
    with running("redis", requirepass="secret") as server:
        options = "--remote", f"redis://:secret@127.0.0.1:{server.port}", "--maxbytes", "50% of data"
        cold, of_cold = train("train_torch", data, tmp_path / "cold", *options)
        warm, of_warm = train("train", data, tmp_path / "warm", *options)
    assert f"hits: SharedStore 0, RemoteStore 0; misses, read from storage: {TRAINING}" in cold
    assert of_cold["tier_hits"] == {"SharedStore": 0, "RemoteStore": 0}
    assert "; misses, read from storage: 0" in warm
    assert sum(of_warm["tier_hits"].values()) >= TRAINING
    (row,) = csv.DictReader((tmp_path / "warm" / "history.csv").read_text().splitlines())
    assert row["hit_rate"] == "1.0"
    assert f"over RemoteStore('redis://127.0.0.1:{server.port}'" in cold
    assert "secret" not in cold + warm
    assert [path for path in tmp_path.rglob("*") if path.is_file() and b"secret" in path.read_bytes()] == []


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize(
    "options, message",
    [
        (["--remote", "http://cache:6379"], "--remote: url must begin with one of redis://, rediss://, unix://"),
        (["--remote", ":s3cret@cache:6379"], "valkeys://, got none of them"),
        (["--remote", "redis://cache:port"], "--remote: url must have a port from 1 to 65535"),
        (["--remote", "redis://cache?no=1"], "--remote: "),
        (["--remote", "redis://cache", "--cache", "none"], "--remote is for --cache fill_once, got --cache none"),
        (["--remote", "redis://cache", "--cache", "auto"], "--remote is for --cache fill_once, got --cache auto"),
    ],
)
def test_bad_options_are_refused(
    trainer: str, options: list[str], message: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status is 2, with one line that says what was expected."""
    pytest.importorskip(TRAINERS[trainer], reason=f"{trainer} needs {TRAINERS[trainer]}")
    assert main([trainer, "--data", str(data), "--out", str(tmp_path / "run"), *options]) == 2
    errors = capsys.readouterr().err
    assert message in errors and errors.count("\n") == 1 and "s3cret" not in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_missing_package_is_named(
    trainer: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit status is 2, with the command that installs it."""
    pytest.importorskip(TRAINERS[trainer], reason=f"{trainer} needs {TRAINERS[trainer]}")
    monkeypatch.setitem(sys.modules, "redis", None)
    options = ["--data", str(data), "--out", str(tmp_path / "run"), "--remote", "redis://cache"]
    assert main([trainer, *options]) == 2
    assert "pip install 'bytecache[redis]'" in capsys.readouterr().err
