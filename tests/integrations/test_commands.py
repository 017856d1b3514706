"""The commands of fish_count as command line tools: usage, help, packages that are missing."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from integrations.fish_count.__main__ import COMMANDS, main

ROOT = Path(__file__).parents[2]
HEAVY = ("PIL", "matplotlib", "keras", "torch")


def test_without_a_command_the_help_is_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """The status is 2; with --help the same is on stdout, and the status is 0."""
    outputs = []
    for argv, status in (([], 2), (["--help"], 0)):
        with pytest.raises(SystemExit) as ended:
            main(argv)
        assert ended.value.code == status
        outputs.append(capsys.readouterr())
    bare, helped = outputs
    assert (bare.out, helped.err) == ("", "") and bare.err == helped.out
    assert set(COMMANDS) <= set(helped.out.split())


@pytest.mark.parametrize("argv", [["trian"], ["--", "train"], ["--data", "fish", "train"]])
def test_a_wrong_command_is_a_usage_error(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The status is 2, and stderr has the usage."""
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2 and capsys.readouterr().err.startswith("usage: python -m integrations.fish_count")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_needs_no_package(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there before anything is installed."""
    for name in HEAVY:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0 and "--out" in capsys.readouterr().out or command == "predict"


@pytest.mark.parametrize(
    "command, package, remedy",
    [
        ("make_data", "PIL", "needs Pillow: pip install 'bytecache[images]'"),
        ("train", "PIL", "needs Pillow and matplotlib: pip install 'bytecache[images,plot]'"),  # which needs Pillow
        ("train", "matplotlib", "needs matplotlib: pip install 'bytecache[plot]'"),
        ("train", "keras", "needs Keras and a backend: pip install 'bytecache[keras]'"),
        ("train_torch", "torch", "needs PyTorch: pip install 'bytecache[torch]'"),
        ("compare", "matplotlib", "needs matplotlib: pip install 'bytecache[plot]'"),
    ],
)
def test_a_missing_package_is_found_before_any_work(command: str, package: str, remedy: str, tmp_path: Path) -> None:
    """One line on stderr has the remedy, the status is 2, and nothing is written."""
    if any(importlib.util.find_spec(name) is None for name in HEAVY):
        pytest.skip("only one package is to be missing")
    (tmp_path / f"{package}.py").write_text(f"raise ImportError('No module named {package}')")
    options = {"make_data": [], "compare": [tmp_path]}.get(command, ["--data", tmp_path])
    done = subprocess.run(
        [sys.executable, "-m", "integrations.fish_count", command, *options, "--out", tmp_path / "out.png"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"fish_count {command}: {remedy}" in done.stderr
    assert not (tmp_path / "out.png").exists()


def test_all_missing_packages_are_named_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One command installs them all."""
    for name in HEAVY:
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["train_torch", "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    assert "Pillow and matplotlib and PyTorch: pip install 'bytecache[images,plot,torch]'" in capsys.readouterr().err
