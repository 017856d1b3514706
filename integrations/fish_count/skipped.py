"""What ``--on-error skip`` leaves out: all processes of a run append what bytecache logs to one file in RUN/."""

from __future__ import annotations

import json
import logging
from pathlib import Path

FILE = "skipped.jsonl"  # a line [path, reason] per image and process
logger = logging.getLogger("bytecache")


def record_skipped(out: Path) -> None:
    """Record the images that this process skips from now on, and those that its forked children do."""
    if not any(isinstance(handler, SkippedFile) for handler in logger.handlers):
        logger.addHandler(SkippedFile(out))


def read_skipped(out: Path) -> dict[str, str]:
    """Return the reason by path, in the order of the paths."""
    if not (out / FILE).exists():
        return {}
    lines = (out / FILE).read_text(encoding="utf-8").splitlines()
    return dict(sorted(json.loads(line) for line in lines))


class SkippedFile(logging.Handler):
    """A handler that appends skipped images to a file, which it opens for each: the lines of processes do not mix."""

    def __init__(self, out: Path) -> None:
        super().__init__()
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("skipped "):
            path, reason = map(str, record.args or ())
            with open(self._out / FILE, "a", encoding="utf-8") as file:
                file.write(json.dumps([path, reason]) + "\n")
