"""The name of a run, and the folder of a shared store that all its processes find."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from ...system.caller import warn_caller
from ...system.filesystem import RESERVED_FRACTION, SHARED_MEMORY, disk_bytes, free_bytes, is_on_network, reserved_bytes
from ...system.launcher import batch_job, launched_group
from .attachment import Attachment, exclusive, is_attached, remove_dangling, remove_if_orphaned
from .locks import check_available
from .recovery import is_left_by_run
from .reports import RunStoreReport, RunStoresReport, SweepReport

RUN_VARIABLE = "BYTECACHE_RUN"
_MEMORY = SHARED_MEMORY
_PREFIX = "bytecache"
_NAME = re.compile(rf"{_PREFIX}-[0-9]+-[0-9A-Za-z]{{1,64}}-[0-9a-f]{{16}}")  # user, run, store
_MADE_HERE = re.compile("[0-9a-f]{16}j([0-9a-f]{8})")  # a name of a run, with a part for the batch job


def run_id() -> str:
    """Return the name of this run: the same in the process that started it and in all its descendants.

    It is the environment variable BYTECACHE_RUN, which is set here for descendants. If it is not set, the name comes
    from the launcher of several ranks that this process is one of, or else from what multiprocessing passes from parent
    to child, which also reaches the children of a fork server that was started before.
    """
    name, job = os.environ.get(RUN_VARIABLE), _digest(batch_job().encode("utf-8", "replace"))[:8]
    made = _MADE_HERE.fullmatch(name or "")
    if name is None or (made and made[1] != job):  # not the run of the process that has submitted this job
        name = os.environ[RUN_VARIABLE] = f"{_digest(launched_group() or _parent_authkey())}j{job}"
    return name if name.isascii() and name.isalnum() and len(name) <= 64 else _digest(os.fsencode(name))


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=8, person=b"bytecache run").hexdigest()


def _parent_authkey() -> bytes:
    from multiprocessing import current_process

    return bytes(current_process().authkey)


def attach_run_folder(name: str, maxbytes: int, attach: Callable[[Path], Attachment]) -> Attachment:
    """Attach, by ``attach(folder)``, to the folder of this run's store `name`.

    If it does not exist yet, it goes into memory, or into the temporary directory with a RuntimeWarning if fewer than
    `maxbytes` bytes are free in memory above the reserve. Folders of killed runs are removed first. Raise OSError if
    neither can be written to, PermissionError if the folder belongs to another user. name: 16 hexadecimal digits.
    """
    folder = f"{_PREFIX}-{os.geteuid()}-{run_id()}-{name}"
    parents = [parent for parent in (_MEMORY, Path(tempfile.gettempdir())) if _usable(parent)]
    if not parents:
        raise OSError(
            f"neither {_MEMORY} nor {tempfile.gettempdir()} can be written to: give path=, a folder on a local disk"
        )
    # One process at a time looks and chooses, so that all choose the same.
    with exclusive(parents[0] / f"{_PREFIX}-{os.geteuid()}.door"):
        for parent in parents:
            for leftover in parent.glob(f"{_PREFIX}-{os.geteuid()}-*"):
                _remove_leftover(leftover)
        existing = [parent / folder for parent in parents if os.path.lexists(parent / folder)]
        for path in existing:
            if path.lstat().st_uid != os.geteuid():
                raise PermissionError(f"{path} belongs to another user: remove it, or give path=")
        found = existing[0].resolve() if existing else _choose_parent(parents, maxbytes) / folder
        attachment = attach(found)
        if found.parent != parents[0].resolve():  # for processes that have another temporary directory
            attachment.link = parents[0] / folder
            with suppress(OSError):
                attachment.link.symlink_to(found)
        return attachment


def _remove_leftover(path: Path) -> None:
    """Remove a folder that no process uses, or a link to one, which may be in another temporary directory."""
    folder = path.resolve()
    if folder.name == path.name:
        remove_if_orphaned(folder, _is_run_folder)
        remove_dangling(path)


def list_runs() -> RunStoresReport:
    """Return the stores of all runs, live and dead; the values of a dead run take memory until they are swept."""
    check_available()
    stores: list[RunStoreReport] = []
    for folder in _run_folders():
        with suppress(FileNotFoundError):  # its run has just ended
            stores.append(_describe_run(folder))
    return {"stores": stores}


def _describe_run(folder: Path) -> RunStoreReport:
    status = folder.stat()
    return {
        "path": str(folder),
        "user": _user_name(status.st_uid),
        "live": is_attached(folder),
        "nbytes": disk_bytes(folder) if os.access(folder, os.R_OK | os.X_OK) else 0,
        "age_s": max(0.0, time.time() - status.st_mtime),
    }


def sweep() -> SweepReport:
    """Remove the stores of runs of which no process is left, as far as they belong to this user."""
    dead = [run for run in list_runs()["stores"] if run["live"] is False]
    for run in dead:
        remove_if_orphaned(Path(run["path"]), _is_run_folder)
    removed = [run for run in dead if not os.path.exists(run["path"])]
    return {"removed": [run["path"] for run in removed], "freed_bytes": sum(run["nbytes"] for run in removed)}


def _user_name(uid: int) -> str:
    try:
        import pwd

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError):
        return str(uid)


def _run_folders() -> list[Path]:
    parents = dict.fromkeys((_MEMORY, Path(tempfile.gettempdir())))
    found = [path for parent in parents for path in sorted(parent.glob(f"{_PREFIX}-*-*"))]
    return [path for path in found if _is_run_folder(path)]


def _is_run_folder(path: Path) -> bool:
    """Return whether a run has made this folder: one that only begins like it, or holds anything else, is not ours."""
    if not _NAME.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
        return False
    return is_left_by_run(path) or not os.access(path, os.R_OK | os.X_OK)  # as another user's


def _usable(parent: Path) -> bool:
    return os.access(parent, os.W_OK | os.X_OK) and not is_on_network(parent)


def _choose_parent(parents: list[Path], maxbytes: int) -> Path:
    free = {parent: free_bytes(parent, reserved_bytes(parent)) for parent in parents}
    first, last = parents[0], parents[-1]
    if free[first] < maxbytes or first != _MEMORY:
        warn_caller(
            f"a shared store of {maxbytes:,} bytes does not fit in {_MEMORY}, where {free.get(_MEMORY, 0):,} bytes are "
            f"free, not counting the {RESERVED_FRACTION:.0%} of it that other programs need, such as a DataLoader's "
            f"workers for their batches: it is kept in {last}, where {free[last]:,} bytes are free. Give a smaller "
            "maxbytes, or path=, or a larger /dev/shm (docker run --shm-size)"
        )
        return last
    return first
