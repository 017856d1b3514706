"""The first page of a shared store: its format, its budget, and a row for each function that uses it."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterator
from pathlib import Path

from .file_io import create_file

VERSION = 1
_NBYTES = 1 << 16
_MAGIC = int.from_bytes(b"bytecach", "little")


class Word:
    """The store's own words, of eight bytes each."""

    MAGIC, FORMAT, MAXBYTES, FUNCTIONS, COUNTER_ROWS, CREATED_NS, NEXT_GENERATION = range(7)


class FunctionRow:
    """The words of a function's row. The first row of the page is for the store's own words."""

    ID, ID_END, GENERATION, USED_BYTES, NAME = range(5)
    WORDS = 16


MAX_FUNCTIONS = _NBYTES // 8 // FunctionRow.WORDS - 1


class StoreHeader:
    """Words that all processes of a store map; changed under its writer lock only.

    A function is known by its row, the number of the row's first word.
    """

    def __init__(self, folder: Path) -> None:
        """Open the header of a store; raise FileNotFoundError or ValueError if there is none of this version."""
        fd = os.open(folder / "head", os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size != _NBYTES:
                raise ValueError(
                    f"{folder} is not a shared store, or a damaged one: its header is not {_NBYTES} bytes long"
                )
            self.words = memoryview(mmap.mmap(fd, _NBYTES)).cast("Q")
        finally:
            os.close(fd)
        if self.words[Word.MAGIC] != _MAGIC or self.words[Word.FORMAT] != VERSION:
            raise ValueError(
                f"{folder} is not a shared store of format {VERSION}: its header starts with "
                f"{self.words[Word.MAGIC]:#x}, {self.words[Word.FORMAT]}"
            )

    @staticmethod
    def has_magic(folder: Path) -> bool:
        """Return whether the header is that of a shared store, of any version."""
        try:
            return (folder / "head").read_bytes()[:8] == _MAGIC.to_bytes(8, "little")
        except (FileNotFoundError, IsADirectoryError):
            return False

    @staticmethod
    def exists(folder: Path) -> bool:
        """Return whether a store was created there in full."""
        return (folder / "head").exists()

    @staticmethod
    def create(folder: Path, maxbytes: int) -> None:
        """Create an empty store."""
        words = memoryview(bytearray(_NBYTES)).cast("Q")
        words[Word.MAGIC], words[Word.FORMAT], words[Word.MAXBYTES] = _MAGIC, VERSION, maxbytes
        words[Word.CREATED_NS], words[Word.NEXT_GENERATION] = time.time_ns(), 1
        create_file(folder / "head.part", words.tobytes())
        (folder / "head.part").rename(folder / "head")

    def check(self, counter_rows: int) -> None:
        """Raise ValueError if its numbers are impossible. counter_rows: how many fit in the file of counters."""
        rows, generations = len(list(self.function_rows())), self.generations()
        if self.words[Word.FUNCTIONS] != rows or self.counter_rows > counter_rows:
            raise ValueError(
                f"the header has {self.words[Word.FUNCTIONS]} functions and {self.counter_rows} of {counter_rows} "
                "rows of counters"
            )
        if len(generations) != rows or max(generations, default=0) >= self.words[Word.NEXT_GENERATION]:
            raise ValueError(f"the header has the generations {sorted(generations)} for {rows} functions")

    @property
    def maxbytes(self) -> int:
        """The most bytes of values, of all functions together."""
        return int(self.words[Word.MAXBYTES])

    @maxbytes.setter
    def maxbytes(self, maxbytes: int) -> None:
        self.words[Word.MAXBYTES] = maxbytes

    @property
    def counter_rows(self) -> int:
        """How many rows of counters are in use."""
        return int(self.words[Word.COUNTER_ROWS])

    @counter_rows.setter
    def counter_rows(self, count: int) -> None:
        self.words[Word.COUNTER_ROWS] = count

    @property
    def created_ns(self) -> int:
        """When the store was created, in nanoseconds since 1970."""
        return int(self.words[Word.CREATED_NS])

    @property
    def used_bytes(self) -> int:
        """The bytes that the values of all functions take."""
        functions = min(self.words[Word.FUNCTIONS], MAX_FUNCTIONS)
        first, stop = FunctionRow.WORDS + FunctionRow.USED_BYTES, FunctionRow.WORDS * (1 + functions)
        return sum(self.words[first : stop : FunctionRow.WORDS])  # with a stride: every miss asks for it

    def function_rows(self) -> Iterator[int]:
        """Iterate over the rows of all functions."""
        last = FunctionRow.WORDS * min(self.words[Word.FUNCTIONS], MAX_FUNCTIONS)
        return iter(range(FunctionRow.WORDS, FunctionRow.WORDS + last, FunctionRow.WORDS))

    def find_function(self, function_id: bytes) -> int | None:
        """Return the row of a function, or None."""
        low, high = int.from_bytes(function_id[:8], "little"), int.from_bytes(function_id[8:], "little")
        for row in self.function_rows():
            if self.words[row + FunctionRow.ID] == low and self.words[row + FunctionRow.ID_END] == high:
                return row
        return None

    def add_function_locked(self, function_id: bytes, name: str) -> int:
        """Add a row for a function and return it; raise OSError if there are too many."""
        count = self.words[Word.FUNCTIONS]
        if count >= MAX_FUNCTIONS:
            raise OSError(f"a shared store is for at most {MAX_FUNCTIONS} functions: clear it, or use another path")
        row = FunctionRow.WORDS * (1 + count)
        name_bytes = 8 * (FunctionRow.WORDS - FunctionRow.NAME)
        data = function_id + bytes(16) + name.encode("utf-8", "replace")[:name_bytes].ljust(name_bytes, b"\0")
        for word in range(FunctionRow.WORDS):
            self.words[row + word] = int.from_bytes(data[8 * word : 8 * word + 8], "little")
        self.new_generation_locked(row)
        self.words[Word.FUNCTIONS] = count + 1
        return row

    def remove_functions_locked(self) -> None:
        """Remove all rows. Each must have a new generation first, by which its users notice."""
        self.words[Word.FUNCTIONS] = 0

    def new_generation_locked(self, row: int) -> None:
        """Give a function a new, empty segment."""
        generation = self.words[Word.NEXT_GENERATION]
        self.words[Word.NEXT_GENERATION] = generation + 1
        self.words[row + FunctionRow.GENERATION] = generation
        self.words[row + FunctionRow.USED_BYTES] = 0

    def generation_of(self, row: int) -> int:
        """Return the number of the segment with a function's values."""
        return int(self.words[row + FunctionRow.GENERATION])

    def generations(self) -> set[int]:
        """Return the generations in use, of all functions."""
        return {self.generation_of(row) for row in self.function_rows()}

    def used_bytes_of(self, row: int) -> int:
        """Return the bytes that a function's values take."""
        return int(self.words[row + FunctionRow.USED_BYTES])

    def set_used_bytes_locked(self, row: int, nbytes: int) -> None:
        """Record the bytes that a function's values take."""
        self.words[row + FunctionRow.USED_BYTES] = nbytes

    def function_name(self, row: int) -> str:
        """Return a function's name."""
        name = bytes(self.words[row + FunctionRow.NAME : row + FunctionRow.WORDS])
        return name.rstrip(b"\0").decode("utf-8", "replace")
