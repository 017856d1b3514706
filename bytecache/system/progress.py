"""A progress bar on stderr: by tqdm if that is installed, else a plain line."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_INTERVAL_S = 1.0


@contextmanager
def progress_bar(name: str, total: int | None, shown: bool) -> Iterator[Callable[[int], None]]:
    """Show progress while the block runs; yield a function to call with a number of finished items, from any thread."""
    if not shown:
        yield lambda n: None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        line = _PlainProgress(name, total)
        try:
            yield line.advance
        finally:
            line.close()
    else:
        with tqdm(desc=name, total=total, file=sys.stderr) as bar:
            yield lambda n: bar.update(n)


class _PlainProgress:
    """A line that is rewritten about once per second."""

    def __init__(self, name: str, total: int | None) -> None:
        self._name, self._of_total = name, f" of {total}" if total else ""
        self._done, self._next_s = 0, time.monotonic() + _INTERVAL_S

    def advance(self, n: int) -> None:
        self._done += n
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _INTERVAL_S
            self._write("\r")

    def close(self) -> None:
        self._write("\n")

    def _write(self, end: str) -> None:
        print(f"{self._name}: {self._done}{self._of_total}", end=end, file=sys.stderr, flush=True)
