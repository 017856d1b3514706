"""A read function that notes its calls where all processes see them, and that can wait for others of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers.images import flat_jpeg
from helpers.threads import until


class Reads:
    """Reads images of 24 x 32 pixels by number. Picklable.

    log: the file of the calls. waits_for: by number, the number whose read must have begun before this one ends.
    """

    def __init__(self, log: Path, waits_for: Mapping[int, int] | None = None) -> None:
        self.log, self.waits_for = log, dict(waits_for or {})
        log.touch()

    def __call__(self, number: Any) -> bytes:
        with open(self.log, "ab", buffering=0) as log:
            os.write(log.fileno(), b"%d\n" % number)
        if number in self.waits_for:
            until(lambda: self.waits_for[number] in self.begun)
        return flat_jpeg(24, 32, number * 2)

    @property
    def begun(self) -> list[int]:
        """The numbers of all calls, in order."""
        return [int(line) for line in self.log.read_bytes().splitlines()]
