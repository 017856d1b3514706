"""Where a shared store lies: the folder that all processes of a run find, and the file systems it may not lie on."""

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
from .locks import fcntl

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
_RANKS = frozenset({"LOCAL_RANK", "SLURM_PROCID", "PMIX_RANK"})  # tell that it is there; differ between processes


def run_id() -> str:
    """The name of this run: the same in the process that began it and in all that come from it.

    That is what the environment variable BYTECACHE_RUN says, which is set here for those that come; else what a
    launcher of several ranks has set for all of them; else what multiprocessing hands from parent to child, which also
    reaches the children of a fork server that was started before.
    """
    token = os.environ.get(RUN_VARIABLE)
    if token is None:
        token = os.environ[RUN_VARIABLE] = _digest(_launcher_id() or _parent_authkey())
    return token if token.isascii() and token.isalnum() and len(token) <= 64 else _digest(os.fsencode(token))


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


def attach_run_folder(name: str, maxbytes: int, take: Callable[[Path], Attachment]) -> Attachment:
    """Holds, by `take`, the folder of this run's store `name`: where it is, else where there is room for `maxbytes`.

    Folders of runs that were killed are removed before. Gives one RuntimeWarning where memory has not the free_bytes.
    """
    folder = f"{_PREFIX}-{os.geteuid()}-{run_id()}-{name}"
    bases = [base for base in (_MEMORY, Path(tempfile.gettempdir())) if _usable(base)]
    if not bases:
        raise OSError(
            f"neither {_MEMORY} nor {tempfile.gettempdir()} can be written: give path=, a folder on a local disk"
        )
    with _selection_lock(bases[0]):  # one process at a time looks and chooses, so that all choose the same
        for base in bases:
            for left in base.glob(f"{_PREFIX}-{os.geteuid()}-*"):
                remove_if_orphaned(left)
        there = [base for base in bases if os.path.lexists(base / folder)]
        for base in there:
            if (base / folder).lstat().st_uid != os.geteuid():
                raise PermissionError(f"{base / folder} belongs to another user: remove it, or give path=")
        return take((there or [_choose(bases, maxbytes)])[0] / folder)


@contextmanager
def _selection_lock(base: Path) -> Iterator[None]:
    """One process of this user at a time."""
    path = base / f"{_PREFIX}-{os.geteuid()}.door"
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if not is_still_at(path, fd):
                continue  # the one before has removed it
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
        finally:
            os.close(fd)


def _usable(base: Path) -> bool:
    return os.access(base, os.W_OK | os.X_OK) and not is_on_network(base)


def _choose(bases: list[Path], maxbytes: int) -> Path:
    rooms = {base: free_bytes(base) for base in bases}
    first, last = bases[0], bases[-1]
    if rooms[first] < maxbytes or first != _MEMORY:
        warn_caller(
            f"a shared store of {maxbytes:,} bytes does not fit in {_MEMORY}, which has room for "
            f"{rooms.get(_MEMORY, 0):,}: it is kept in {last}, which has room for {rooms[last]:,}. Give a smaller "
            "maxbytes, or path=, or more room (docker run --shm-size)"
        )
        return last
    return first
