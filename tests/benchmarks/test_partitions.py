"""How a budget is divided by one mean size and cost, and what that saves."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60
HYCACHE = """
import json, sys
from benchmarks.peers.partitions import Means, hycache
means = Means(20, [10.0, 70.0], [0.002, 0.003])
print(json.dumps([hycache(means, budget) for budget in json.loads(sys.argv[1])]))
"""
SENECA = """
import sys
from benchmarks.harness.measure import Absent
from benchmarks.peers.partitions import seneca_model
for checkout in (None, sys.argv[1]):
    try:
        seneca_model(checkout)
    except Absent as why:
        print(why)
"""
FILL = """
import json
import numpy as np
from benchmarks.runs.placement_run import fill_once_run
from benchmarks.workloads.stages import make_pictures
pictures = make_pictures(300, 2.0, True, 0)
orders = [np.random.default_rng(n).permutation(300) for n in range(3)]
whole = pictures.nbytes.sum(axis=0).tolist()
half = whole[0] / 2
runs = [[0, 0, 0], [whole[0], 0, 0], [0, 0, whole[2]], [half, 0, 0], [half, 0, whole[2] / 4]]
total = pictures.cost_s.sum(axis=0).tolist()
print(json.dumps([total, [fill_once_run(pictures, divided, orders) for divided in runs]]))
"""
STAGES = """
import json, sys
from benchmarks.workloads.stages import Stages, make_pictures
pictures = make_pictures(5, 0.1, True, 0)
stages, seen = Stages(pictures), []
for item in range(5):
    value = item
    for k, stage in enumerate(stages.functions):
        value = stage(value)
        assert sys.getsizeof(value) == pictures.nbytes[item, k]
print(json.dumps([stages.due_s, float(pictures.cost_s.sum()), stages.took_s]))
"""


def told_by(script: str, *arguments: object) -> str:
    """Return what a script prints, which runs in the root of the project."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert run.returncode == 0, run.stderr
    return run.stdout


def saved_s(counts: tuple[int, ...]) -> float:
    """Return what so many items after each of the stages of HYCACHE save."""
    return counts[0] * 0.002 + counts[1] * 0.005


def test_hycache_finds_the_best_counts() -> None:
    """No other numbers of items after each stage save more in the budget."""
    pytest.importorskip("scipy", reason="HyCache's programme is solved by scipy")
    budgets = [0, 9, 75, 230, 700, 5000]
    for budget, (first, last) in zip(budgets, json.loads(told_by(HYCACHE, json.dumps(budgets))), strict=True):
        possible = [
            counts
            for counts in itertools.product(range(21), repeat=2)
            if sum(counts) <= 20 and counts[0] * 10 + counts[1] * 70 <= budget
        ]
        assert saved_s((round(first / 10), round(last / 70))) == pytest.approx(max(map(saved_s, possible)))
        assert first + last <= budget


def test_seneca_is_left_out_without_a_checkout(tmp_path: Path) -> None:
    """The reason says what to give, or what the folder lacks."""
    without, empty = told_by(SENECA, tmp_path).splitlines()
    assert "--seneca" in without and "github.com/swiftomkar/seneca-fast26-pytorch" in without
    assert str(tmp_path) in empty and "model_driven_partition.py" in empty


def test_what_is_kept_after_a_stage_saves_the_stages_up_to_it() -> None:
    """Nothing saves nothing, all after the first stage its runs, all after the last stage everything."""
    total, (nothing, read, everything, half, divided) = json.loads(told_by(FILL))
    assert nothing == [0, 0]
    assert read == pytest.approx([total[0]] * 2)
    assert everything == pytest.approx([sum(total)] * 2)
    for saved in half, divided:
        assert saved[0] == saved[1]
    assert 0.4 * total[0] < half[0] < 0.6 * total[0] < divided[0]


def test_stages_take_their_time_and_return_their_bytes() -> None:
    """What is due is the sum of the known costs, and no run ends before its time."""
    due: Any
    due, known, took = json.loads(told_by(STAGES))
    assert due == pytest.approx(known)
    assert took >= due
