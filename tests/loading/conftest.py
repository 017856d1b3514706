"""Files to load samples from."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.images import write_gray_files


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Ten JPEG files of 24 x 32 pixels, each of its own gray."""
    return write_gray_files(tmp_path)
