"""What the first process of a run does to a store's folder before any other sees it."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

from .head import GENERATION, MAXBYTES, USED, VERSION, Head
from .locks import WRITER, ByteLocks
from .section import Section
from .tally import TallyFile


def begin_empty(folder: Path, maxbytes: int) -> None:
    """Makes the folder an empty store, whatever a run that was killed has left in it."""
    for left in folder.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    Head.create(folder, maxbytes)


def begin_kept(folder: Path, maxbytes: int) -> None:
    """Looks over the store in a folder and gives it this run's budget; an empty folder becomes a new store.

    A store that is damaged or of another version is renamed, with a RuntimeWarning, and the folder is gone then.
    Raises ValueError for a folder with anything else in it.
    """
    present = {name for name in os.listdir(folder) if not name.endswith(".part")}
    if not present:
        Head.create(folder, maxbytes)
        return
    if "head" not in present:
        raise ValueError(
            f"path must be a new or empty folder, or one that a shared store has made; {folder} holds {min(present)!r}"
        )
    locks = ByteLocks(folder / "locks")
    try:
        locks.take(WRITER)  # from those who only look, and may clear it
        _look_over(folder, maxbytes)
    except (ValueError, OSError) as exc:
        if isinstance(exc, PermissionError):
            raise
        warnings.warn(
            f"the shared store {folder} is damaged, or of another version than {VERSION} ({exc}): it was renamed to "
            f"{_set_aside(folder)}, and a new one is begun",
            RuntimeWarning,
            stacklevel=2,
        )
    finally:
        locks.close()


def _look_over(folder: Path, maxbytes: int) -> None:
    head = Head(folder)
    head.check(TallyFile(folder / "processes").count())
    for row in head.rows():
        used, generation = 0, int(head.words[row + GENERATION])
        if Section.exists(folder, generation):  # not yet, where its maker was killed
            section = Section(folder, generation)
            section.begin_run_locked(maxbytes)
            used = section.currbytes
        head.words[row + USED] = used
    Section.remove_all_but_locked(folder, head.generations())
    head.words[MAXBYTES] = maxbytes


def _set_aside(folder: Path) -> Path:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.aside{number}")).exists():
        number += 1
    return folder.rename(aside)
