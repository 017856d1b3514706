"""The mount table of this process, on Linux."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

_ESCAPE = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """One mount. root: the folder of the file system that is seen at `path`. options: of the file system."""

    root: str
    path: str
    filesystem: str
    options: frozenset[str]


def read_mounts(mountinfo: Path = Path("/proc/self/mountinfo")) -> list[Mount]:
    """Return all mounts, a later one at the same path hiding an earlier one; none if the system has no such table.

    See proc(5): whitespace and backslashes in paths are octal escapes there.
    """
    try:
        lines = os.fsdecode(mountinfo.read_bytes()).split("\n")
    except OSError:
        return []
    return [_parse(line) for line in lines if line]


def _parse(line: str) -> Mount:
    mount, _, filesystem = line.partition(" - ")
    root, path = map(_unescape, mount.split(" ")[3:5])
    kind, _, options = filesystem.split(" ")[:3]
    return Mount(root, path, kind, frozenset(options.split(",")))


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda escape: chr(int(escape[1], 8)), text)
