"""Which processes belong together: those that one launcher has started for one job, and no others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bytecache.system import launcher

ROOT = Path(__file__).parents[2]
# A rank prints its group; a launcher starts ranks with what is common to them and the number of each.
RANK = "from bytecache.system.launcher import launched_group; print(launched_group().hex())"
LAUNCH = f"""
import json, os, subprocess, sys
names, numbers, common, command = json.loads(sys.argv[1])
for number in numbers:
    environment = {{**os.environ, **common, **dict.fromkeys(names, str(number))}}
    subprocess.run([*command, sys.executable, "-c", {RANK!r}], env=environment, check=True)
"""
VARIABLES = {name for one in launcher.LAUNCHERS for name in (one.rank, *one.common, *one.alone, one.parts)}

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "GROUP_WORLD_SIZE": "1"}
TWO_AGENTS = {**TORCHRUN, "GROUP_WORLD_SIZE": "2"}
SLURM = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}
INTERACTIVE = {**SLURM, "SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "4"}
MASTER = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
SHELL = ["sh", "-c", '"$@"; true', "sh"]

# Names of the rank's number, what is common: the ranks of one launcher are one group, those of two are two groups.
CASES = {
    "torchrun": (["RANK", "LOCAL_RANK"], TORCHRUN),
    "torch.distributed": (["LOCAL_RANK"], MASTER),
    "srun": (["SLURM_PROCID"], SLURM),
    "srun of an older version": (["SLURM_PROCID"], {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}),
    "mpirun": (["PMIX_RANK"], {"PMIX_NAMESPACE": "prterun-host-1@1"}),
    "mpiexec": (["PMI_RANK"], {}),
    "srun --mpi=pmix": (["SLURM_PROCID", "PMIX_RANK"], {**SLURM, "PMIX_NAMESPACE": "slurm.pmix.7.0"}),
    "mpirun in an interactive step": (["PMIX_RANK"], {**INTERACTIVE, "SLURM_PROCID": "0", "PMIX_NAMESPACE": "1"}),
}


def groups(names: list[str], common: dict[str, str], numbers: Any = (0, 1), command: Any = (), before: Any = ()) -> Any:
    """Return the groups of the ranks of one new launcher. command: a wrapper of each; before: of the launcher."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    arguments = json.dumps([names, list(numbers), common, list(command)])
    done = subprocess.run(
        [*before, sys.executable, "-c", LAUNCH, arguments],
        env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize("case", CASES)
def test_ranks_of_one_launcher_are_one_group(case: str) -> None:
    """They are, also with a shell between launcher and rank; another launcher of equal names is another group."""
    names, common = CASES[case]
    first, second = groups(names, common), groups(names, common, command=SHELL)
    assert len(set(first)) == len(set(second)) == 1 and first[0] and second[0]
    assert first[0] != second[0]


def test_two_torchruns_of_one_job_are_one_group() -> None:
    """Their ranks meet on a machine; another port, or another network, is another job."""
    names = CASES["torchrun"][0]
    one, two = groups(names, TWO_AGENTS), groups(names, TWO_AGENTS, numbers=(2, 3))
    assert len({*one, *two}) == 1
    assert groups(names, {**TWO_AGENTS, "MASTER_PORT": "29501"})[0] not in one
    if can_unshare():
        assert groups(names, TWO_AGENTS, before=["unshare", "--net"])[0] not in one
        assert groups(names, TWO_AGENTS, before=["unshare", "--mount"])[0] not in one


def can_unshare() -> bool:
    return subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True).returncode == 0


def test_programs_in_an_interactive_step_are_in_no_group() -> None:
    """A shell of one task is not a launcher of the programs that are started in it."""
    assert groups(["SLURM_PROCID"], INTERACTIVE, numbers=(0, 0)) == ["", ""]
    assert groups(["SLURM_PROCID"], {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "1"}, [0]) == [""]


def test_a_process_without_a_launcher_is_in_no_group() -> None:
    """Nor is one in whose environment only a part of a launcher's variables is left."""
    assert groups([], {}, [0]) == [""]
    assert groups([], {"MASTER_ADDR": "x", "MASTER_PORT": "1"}, [0]) == [""]
    assert groups([], {"SLURM_JOB_ID": "7"}, [0]) == [""]


def test_processes_that_a_rank_starts_are_in_its_group() -> None:
    """A program that a rank starts, and a child of a fork server, have the same launcher above them."""
    names, common = CASES["srun"]
    twice = "import subprocess, sys; [subprocess.run(sys.argv[1:], check=True) for _ in range(2)]"
    found = groups(names, common, command=[sys.executable, "-c", twice])
    assert len(found) == 4 and len(set(found)) == 1


def test_the_batch_job_is_what_its_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of another number is another job, and outside of one there is none."""
    for name in launcher._BATCH_JOBS:
        monkeypatch.delenv(name, raising=False)
    assert launcher.batch_job() == ""
    monkeypatch.setenv("PBS_JOBID", "5.server")
    one = launcher.batch_job()
    monkeypatch.setenv("PBS_JOBID", "6.server")
    assert "" != one != launcher.batch_job() != ""
