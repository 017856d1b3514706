"""The first page of a shared store: its format, its budget, and a row for each function that uses it."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterator
from pathlib import Path

from .index import create_file

MAGIC, FORMAT, MAXBYTES, FUNCTIONS, PROCESSES, CREATED_NS, NEXT_GENERATION = range(7)
DIGEST, _DIGEST_END, GENERATION, USED, NAME = range(5)  # of a row
_ROW = 16  # words; the first row of the file is for the store's own
_SIZE = 1 << 16
_MAGIC = int.from_bytes(b"bytecach", "little")
VERSION = 1
MAX_FUNCTIONS = _SIZE // 8 // _ROW - 1


class StoreHeader:
    """Words of eight bytes that all processes of a store map; changed under its writer lock only."""

    def __init__(self, folder: Path) -> None:
        """Opens the head of a store; raises FileNotFoundError or ValueError where there is none of this version."""
        fd = os.open(folder / "head", os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size != _SIZE:
                raise ValueError(f"{folder} is no shared store, or a damaged one: its head is not of {_SIZE} bytes")
            self.words = memoryview(mmap.mmap(fd, _SIZE)).cast("Q")
        finally:
            os.close(fd)
        if self.words[MAGIC] != _MAGIC or self.words[FORMAT] != VERSION:
            raise ValueError(
                f"{folder} is no shared store of format {VERSION}: its head has {self.words[MAGIC]:#x}, "
                f"{self.words[FORMAT]}"
            )

    @staticmethod
    def has_magic(folder: Path) -> bool:
        """Whether the head is a shared store's, of whatever version."""
        try:
            return (folder / "head").read_bytes()[:8] == _MAGIC.to_bytes(8, "little")
        except (FileNotFoundError, IsADirectoryError):
            return False

    @staticmethod
    def exists(folder: Path) -> bool:
        """Whether a store was begun there in full."""
        return (folder / "head").exists()

    @staticmethod
    def create(folder: Path, maxbytes: int) -> None:
        """Begins an empty store."""
        words = memoryview(bytearray(_SIZE)).cast("Q")
        words[MAGIC], words[FORMAT], words[MAXBYTES], words[CREATED_NS] = _MAGIC, VERSION, maxbytes, time.time_ns()
        words[NEXT_GENERATION] = 1
        create_file(folder / "head.part", words.tobytes())
        (folder / "head.part").rename(folder / "head")

    def check(self, processes: int) -> None:
        """Raises ValueError where its numbers cannot be: processes are the rows that the tally has room for."""
        words, rows = self.words, len(list(self.rows()))
        if words[FUNCTIONS] != rows or words[PROCESSES] > processes:
            raise ValueError(
                f"the head has {words[FUNCTIONS]} functions and {words[PROCESSES]} of {processes} processes"
            )
        if len(self.generations()) != rows or max(self.generations(), default=0) >= words[NEXT_GENERATION]:
            raise ValueError(f"the head has the sections {sorted(self.generations())} for {rows} functions")

    def rows(self) -> Iterator[int]:
        """Where each function's row begins, in words."""
        return iter(range(_ROW, _ROW + _ROW * min(self.words[FUNCTIONS], MAX_FUNCTIONS), _ROW))

    def find(self, digest: bytes) -> int | None:
        """The row of a function."""
        low, high = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
        for row in self.rows():
            if self.words[row + DIGEST] == low and self.words[row + _DIGEST_END] == high:
                return row
        return None

    def add_locked(self, digest: bytes, name: str) -> int:
        """A new function's row; raises OSError where there are too many."""
        count = self.words[FUNCTIONS]
        if count >= MAX_FUNCTIONS:
            raise OSError(f"a shared store is for at most {MAX_FUNCTIONS} functions: clear it, or use another path")
        row = _ROW + _ROW * count
        text = name.encode("utf-8", "replace")[: 8 * (_ROW - NAME)].ljust(8 * (_ROW - NAME), b"\0")
        data = digest + bytes(16) + text
        for place in range(_ROW):
            self.words[row + place] = int.from_bytes(data[8 * place : 8 * place + 8], "little")
        self.new_generation_locked(row)
        self.words[FUNCTIONS] = count + 1
        return row

    def new_generation_locked(self, row: int) -> None:
        """Gives a function a new, empty section."""
        generation = self.words[NEXT_GENERATION]
        self.words[NEXT_GENERATION] = generation + 1
        self.words[row + GENERATION] = generation
        self.words[row + USED] = 0

    def generations(self) -> set[int]:
        """The sections in use, of all functions."""
        return {int(self.words[row + GENERATION]) for row in self.rows()}

    def name(self, row: int) -> str:
        """What the function is called."""
        return bytes(self.words[row + NAME : row + _ROW]).rstrip(b"\0").decode("utf-8", "replace")

    def used(self) -> int:
        """Bytes that all functions' values take together."""
        return sum(self.words[row + USED] for row in self.rows())
