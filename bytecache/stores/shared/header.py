"""The head of a shared store: its format, its budget, and a row for each function that uses it.

The head is what makes a folder a store: the locks are on it, and the counters are behind it. A store whose head is
removed or replaced is another store from then on, in which no process writes to a file of the former one.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ...system.file_io import create_file, inode_at, map_words, open_owned, pwrite_all
from ...system.filesystem import overwrites_in_place

VERSION = 1
HEAD = "head"
HEADER_BYTES = 1 << 16  # before the counters
_MAGIC = int.from_bytes(b"bytecach", "little")


class Word:
    """The store's own words, of eight bytes each."""

    MAGIC, FORMAT, MAXBYTES, FUNCTIONS, COUNTER_ROWS, CREATED_NS, NEXT_GENERATION, INODE = range(8)


class FunctionRow:
    """The words of a function's row. The first row of the page is for the store's own words.

    INDEX_INODE, OF_GENERATION: of the index, and the generation whose files were created in full. COUNTED_SINCE: the
    first generation since the last clear; 0 if the function was removed, and the row is free for another one.
    """

    ID, ID_END, GENERATION, USED_BYTES, INDEX_INODE, OF_GENERATION, COUNTED_SINCE, NAME = range(8)
    WORDS = 16


MAX_FUNCTIONS = HEADER_BYTES // 8 // FunctionRow.WORDS - 1


class StoreHeader:
    """Words that all processes of a store map; changed under its writer lock only.

    A function is known by its row, the number of the row's first word.
    """

    def __init__(self, folder: Path, readonly: bool = False) -> None:
        """Open the header of a store; raise FileNotFoundError or ValueError if there is none of this version."""
        self._path = os.fspath(folder / HEAD)
        self.fd = open_owned(self, self._path, os.O_RDONLY if readonly else os.O_RDWR)
        status = os.fstat(self.fd)
        if status.st_size < HEADER_BYTES:
            raise ValueError(
                f"{folder} is not a shared store, or a damaged one: its header is not {HEADER_BYTES} bytes long"
            )
        self.inode = status.st_ino
        self.in_place = overwrites_in_place(folder)
        self.words = map_words(self.fd, HEADER_BYTES // 8, "Q", 0, self.in_place, readonly)
        if self.words[Word.MAGIC] != _MAGIC or self.words[Word.FORMAT] != VERSION:
            raise ValueError(
                f"{folder} is not a shared store of format {VERSION}: its header starts with "
                f"{self.words[Word.MAGIC]:#x}, {self.words[Word.FORMAT]}"
            )

    @staticmethod
    def format_of(folder: Path) -> int | None:
        """Return the version of the format that a folder's header has; None if it is not that of a shared store."""
        try:
            with (folder / HEAD).open("rb") as file:
                start = file.read(16)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        return int.from_bytes(start[8:], "little") if start[:8] == _MAGIC.to_bytes(8, "little") else None

    @staticmethod
    def is_readable(folder: Path) -> bool:
        """Return whether there is a store of this version that this process may read."""
        try:
            return bool(StoreHeader(folder, readonly=True).words[Word.CREATED_NS])
        except (ValueError, OSError):
            return False

    @staticmethod
    def place(folder: Path) -> Path:
        """Return where a path's store of this version is: in a folder within if another version's is at the path."""
        return folder if StoreHeader.format_of(folder) in (None, VERSION) else folder / f"format{VERSION}"

    @staticmethod
    def is_ready(folder: Path) -> bool:
        """Return whether a store was created there in full, or adopted, and its header was not replaced since then."""
        try:
            header = StoreHeader(folder)
        except (ValueError, FileNotFoundError, IsADirectoryError):
            return False
        return header.words[Word.INODE] == header.inode

    @staticmethod
    def create(folder: Path, maxbytes: int, first_generation: int = 1) -> None:
        """Create an empty store. first_generation: one that no process which has the folder open can have used."""
        words = memoryview(bytearray(HEADER_BYTES)).cast("Q")
        words[Word.MAGIC], words[Word.FORMAT], words[Word.MAXBYTES] = _MAGIC, VERSION, maxbytes
        words[Word.CREATED_NS], words[Word.NEXT_GENERATION] = time.time_ns(), first_generation
        part = folder / f"{HEAD}.part"
        inode = create_file(part, words.tobytes())
        with part.open("r+b") as file:
            pwrite_all(file.fileno(), inode.to_bytes(8, sys.byteorder), 8 * Word.INODE)
        part.rename(folder / HEAD)

    def is_current(self) -> bool:
        """Return whether the name of the header still leads to this one, whole."""
        inode, nbytes = inode_at(self._path)
        return inode == self.inode and nbytes >= HEADER_BYTES

    def is_unlinked(self) -> bool:
        """Return whether the header was removed, replaced or cut short: costs half of :meth:`is_current`."""
        status = os.fstat(self.fd)
        return not status.st_nlink or status.st_size < HEADER_BYTES

    def set_ready_locked(self, ready: bool) -> None:
        """Record whether the store was checked at this place: it may have been copied here since its last run."""
        self.words[Word.INODE] = self.inode if ready else 0

    def check(self, counter_rows: int) -> None:
        """Raise ValueError if its numbers are impossible. counter_rows: how many fit in the file of counters."""
        rows, generations = len(list(self.function_rows())), self.generations()
        if self.words[Word.FUNCTIONS] > MAX_FUNCTIONS or self.counter_rows > counter_rows:
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
        words, first = self.words, FunctionRow.WORDS + FunctionRow.USED_BYTES
        functions = words[Word.FUNCTIONS]
        if functions == 1:  # the common case, at less cost: every miss asks several times
            return int(words[first])
        return sum(words[first : FunctionRow.WORDS * (1 + min(functions, MAX_FUNCTIONS)) : FunctionRow.WORDS])

    def function_rows(self) -> Iterator[int]:
        """Iterate over the rows of all functions."""
        return (row for row in self._rows() if self.words[row + FunctionRow.COUNTED_SINCE])

    def _rows(self) -> range:
        last = FunctionRow.WORDS * min(self.words[Word.FUNCTIONS], MAX_FUNCTIONS)
        return range(FunctionRow.WORDS, FunctionRow.WORDS + last, FunctionRow.WORDS)

    def find_function(self, function_id: bytes) -> int | None:
        """Return the row of a function, or None."""
        return next((row for row in self.function_rows() if self.function_id(row) == function_id), None)

    def add_function_locked(self, function_id: bytes, name: str) -> int:
        """Add a row for a function and return it; raise OSError if there are too many."""
        rows = self._rows()
        row = next((row for row in rows if not self.words[row + FunctionRow.COUNTED_SINCE]), rows.stop)
        if row >= FunctionRow.WORDS * (1 + MAX_FUNCTIONS):
            raise OSError(
                f"a shared store is for at most {MAX_FUNCTIONS} functions: clear it (bytecache clear --stale PATH "
                "clears those that nobody uses), or use another path"
            )
        name_bytes = 8 * (FunctionRow.WORDS - FunctionRow.NAME)
        data = function_id + bytes(40) + name.encode("utf-8", "replace")[:name_bytes].ljust(name_bytes, b"\0")
        for word in range(FunctionRow.WORDS):
            self.words[row + word] = int.from_bytes(data[8 * word : 8 * word + 8], "little")
        self.new_generation_locked(row, count_anew=True)
        self.words[Word.FUNCTIONS] = max(len(rows), row // FunctionRow.WORDS)
        return row

    def remove_function_locked(self, row: int) -> None:
        """Remove a row; users of it see that its generation changed."""
        self.new_generation_locked(row)
        self.words[row + FunctionRow.COUNTED_SINCE] = 0

    def remove_functions_locked(self) -> None:
        """Remove all rows. Each must have a new generation first, by which its users notice."""
        self.words[Word.FUNCTIONS] = 0

    def new_generation_locked(self, row: int, count_anew: bool = False) -> None:
        """Give a function a new, empty segment; set its counters to zero with `count_anew`."""
        generation = self.words[Word.NEXT_GENERATION]
        self.words[Word.NEXT_GENERATION] = generation + 1
        if count_anew:
            self.words[row + FunctionRow.COUNTED_SINCE] = generation
        self.words[row + FunctionRow.GENERATION] = generation
        self.words[row + FunctionRow.USED_BYTES] = 0

    def generation_of(self, row: int) -> int:
        """Return the number of the segment with a function's values."""
        return int(self.words[row + FunctionRow.GENERATION])

    def counted_since(self, row: int) -> int:
        """Return the generation since which a function's calls are counted."""
        return int(self.words[row + FunctionRow.COUNTED_SINCE])

    def generations(self) -> set[int]:
        """Return the generations in use, of all functions."""
        return {self.generation_of(row) for row in self.function_rows()}

    def index_inode(self, row: int) -> int:
        """Return the inode of the index of a function's segment; 0 if its files have not been created yet."""
        if self.words[row + FunctionRow.OF_GENERATION] != self.generation_of(row):
            return 0
        return int(self.words[row + FunctionRow.INDEX_INODE])

    def set_index_inode_locked(self, row: int, inode: int) -> None:
        """Record that the files of a function's segment were created or adopted."""
        self.words[row + FunctionRow.INDEX_INODE] = inode
        self.words[row + FunctionRow.OF_GENERATION] = self.generation_of(row)

    def used_bytes_of(self, row: int) -> int:
        """Return the bytes that a function's values take."""
        return int(self.words[row + FunctionRow.USED_BYTES])

    def set_used_bytes_locked(self, row: int, nbytes: int) -> None:
        """Record the bytes that a function's values take."""
        self.words[row + FunctionRow.USED_BYTES] = nbytes

    def function_id(self, row: int) -> bytes:
        """Return the 16 bytes that stand for a function."""
        low, high = self.words[row + FunctionRow.ID], self.words[row + FunctionRow.ID_END]
        return b"".join(word.to_bytes(8, "little") for word in (low, high))

    def function_name(self, row: int) -> str:
        """Return a function's name."""
        name = bytes(self.words[row + FunctionRow.NAME : row + FunctionRow.WORDS])
        return name.rstrip(b"\0").decode("utf-8", "replace")
