"""Commands called in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bytecache.cli.main import main


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command; return its exit status, also one by which argparse ends, and its output on stdout and stderr."""

    def run(*argv: Any) -> tuple[int, str, str]:
        try:
            status = main([str(one) for one in argv])
        except SystemExit as refused:
            status = int(refused.code or 0)
        return status, *capsys.readouterr()

    return run
