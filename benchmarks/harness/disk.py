"""Disk usage."""

from __future__ import annotations

from pathlib import Path


def disk_bytes(folder: Path) -> int:
    """Return the bytes that the files in a folder occupy on disk: their blocks, not their lengths."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
