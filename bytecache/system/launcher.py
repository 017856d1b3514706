"""Which processes a launcher of several ranks has started together, such as torchrun, srun or mpirun."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")


class Launcher(NamedTuple):
    """What a launcher sets for its ranks. rank: differs among them. common: the same for all of one job."""

    rank: str
    common: tuple[str, ...]
    alone: tuple[str, ...] = ()  # variables, the first that is set counts: "1" if there is one rank, and so no group
    parts: str = ""  # a variable: how many launchers started the ranks of the job, on this machine or on others


# The innermost first: torchrun may run in a step of SLURM.
LAUNCHERS = (
    Launcher("RANK", ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT"), parts="GROUP_WORLD_SIZE"),
    Launcher("LOCAL_RANK", ("MASTER_ADDR", "MASTER_PORT")),
    Launcher("PMIX_RANK", ("PMIX_NAMESPACE",)),
    Launcher("PMI_RANK", ()),
    Launcher("SLURM_PROCID", ("SLURM_JOB_ID", "SLURM_STEP_ID"), alone=("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")),
)
_BATCH_JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")


def launched_group() -> bytes:
    """Return bytes that all ranks of this process's launcher have in common on this machine, and no others have.

    They are what the launcher has set, its process and the time when that was started, and the boot. Another launcher
    on this machine that belongs to the same job has a process of its own, so then the namespaces of network and mounts
    stand for it. b"" if this process is no rank, or the only one: a shell in an interactive step of SLURM is a rank
    too, and the programs that are started in it have nothing to do with each other.
    """
    for launcher in LAUNCHERS:
        if not _applies(launcher):
            continue
        names = [name for name in (launcher.rank, *launcher.common) if name in os.environ]
        if os.environ.get(launcher.parts, "") not in ("", "1"):
            origin = [_namespace("net"), _namespace("mnt")]
        else:
            origin = [_namespace("pid"), *map(str, _first_ancestor_without(names))]
        common = [f"{name}={os.environ[name]}" for name in launcher.common]
        return "\0".join([*common, _boot(), *origin]).encode("utf-8", "surrogateescape")
    return b""


def batch_job() -> str:
    """Return the name of the batch job that this process belongs to, "" if there is none.

    What a process puts into the environment before it submits jobs is passed on to all of them.
    """
    return "\0".join(os.environ.get(name, "") for name in _BATCH_JOBS).strip("\0")


def _applies(launcher: Launcher) -> bool:
    if not all(name in os.environ for name in launcher.common) or not (
        launcher.rank in os.environ or launcher.parts  # torchrun's variables say enough
    ):
        return False
    counts = [os.environ[name] for name in launcher.alone if os.environ.get(name)]
    return counts[:1] != ["1"]


def _first_ancestor_without(names: list[str]) -> tuple[int, str]:
    """Return process and start time of the launcher: the next ancestor that was not started as this rank.

    Between it and this process there may be a shell, a wrapper, a fork server.
    """
    wanted = {os.fsencode(f"{name}={os.environ[name]}") for name in names}
    pid = os.getppid()
    while pid > 0:
        try:
            environment = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:  # another user's, such as SLURM's daemon
            break
        if not wanted <= set(environment):
            break
        pid = int(_stat(pid)[1])
    return pid, _stat(pid)[19]


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on: state, parent, ...; the 20th is the start time."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["0"] * 20


def _boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _namespace(kind: str) -> str:
    try:
        return os.readlink(_PROC / "self/ns" / kind)
    except OSError:
        return ""
