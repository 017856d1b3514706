"""The name of a run, and the folder of a shared store that all its processes find."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from ...system.caller import warn_caller
from ...system.filesystem import free_bytes, is_on_network
from .attachment import Attachment, is_still_at, remove_if_orphaned
from .locks import fcntl, wait_for_flock

RUN_VARIABLE = "BYTECACHE_RUN"
_MEMORY = Path("/dev/shm")
_PREFIX = "bytecache"
# Variables that are the same for all processes that one launcher has started for one job on one machine.
_LAUNCHERS = (
    ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT"),
    ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"),
    ("SLURM_PROCID", "SLURM_JOB_ID", "SLURM_STEP_ID"),
    ("PMIX_RANK", "PMIX_NAMESPACE"),
)
_RANKS = frozenset({"LOCAL_RANK", "SLURM_PROCID", "PMIX_RANK"})  # show that a launcher is there; differ by process


def run_id() -> str:
    """Return the name of this run: the same in the process that started it and in all its descendants.

    It is the environment variable BYTECACHE_RUN, which is set here for descendants. If it is not set, the name comes
    from what a launcher of several ranks has set for all of them, or else from what multiprocessing passes from parent
    to child, which also reaches the children of a fork server that was started before.
    """
    name = os.environ.get(RUN_VARIABLE)
    if name is None:
        name = os.environ[RUN_VARIABLE] = _digest(_launcher_id() or _parent_authkey())
    return name if name.isascii() and name.isalnum() and len(name) <= 64 else _digest(os.fsencode(name))


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=8, person=b"bytecache run").hexdigest()


def _launcher_id() -> bytes:
    for names in _LAUNCHERS:
        if all(name in os.environ for name in names):
            return "\0".join(os.environ[name] for name in names if name not in _RANKS).encode()
    return b""


def _parent_authkey() -> bytes:
    from multiprocessing import current_process

    return bytes(current_process().authkey)


def attach_run_folder(name: str, maxbytes: int, attach: Callable[[Path], Attachment]) -> Attachment:
    """Attach, by ``attach(folder)``, to the folder of this run's store `name`.

    If it does not exist yet, it goes into memory, or into the temporary directory with a RuntimeWarning if fewer than
    `maxbytes` bytes are free in memory. Folders of killed runs are removed first. Raise OSError if neither can be
    written to, PermissionError if the folder belongs to another user.
    """
    folder = f"{_PREFIX}-{os.geteuid()}-{run_id()}-{name}"
    parents = [parent for parent in (_MEMORY, Path(tempfile.gettempdir())) if _usable(parent)]
    if not parents:
        raise OSError(
            f"neither {_MEMORY} nor {tempfile.gettempdir()} can be written to: give path=, a folder on a local disk"
        )
    with _selection_lock(parents[0]):  # one process at a time looks and chooses, so that all choose the same
        for parent in parents:
            for leftover in parent.glob(f"{_PREFIX}-{os.geteuid()}-*"):
                remove_if_orphaned(leftover)
        existing = [parent / folder for parent in parents if os.path.lexists(parent / folder)]
        for path in existing:
            if path.lstat().st_uid != os.geteuid():
                raise PermissionError(f"{path} belongs to another user: remove it, or give path=")
        return attach(existing[0] if existing else _choose_parent(parents, maxbytes) / folder)


@contextmanager
def _selection_lock(parent: Path) -> Iterator[None]:
    """Exclude the other processes of this user."""
    path = parent / f"{_PREFIX}-{os.geteuid()}.door"
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            wait_for_flock(fd, fcntl.LOCK_EX, path)
            if not is_still_at(path, fd):
                continue  # the process before this one has removed it
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
        finally:
            os.close(fd)


def _usable(parent: Path) -> bool:
    return os.access(parent, os.W_OK | os.X_OK) and not is_on_network(parent)


def _choose_parent(parents: list[Path], maxbytes: int) -> Path:
    free = {parent: free_bytes(parent) for parent in parents}
    first, last = parents[0], parents[-1]
    if free[first] < maxbytes or first != _MEMORY:
        warn_caller(
            f"a shared store of {maxbytes:,} bytes does not fit in {_MEMORY}, where {free.get(_MEMORY, 0):,} bytes are "
            f"free: it is kept in {last}, where {free[last]:,} bytes are free. Give a smaller maxbytes, or path=, or "
            "a larger /dev/shm (docker run --shm-size)"
        )
        return last
    return first
