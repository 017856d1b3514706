"""py-lmdb as a cache."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any


class Lmdb:
    """py-lmdb by itself, with the settings that suit tmpfs, and a transaction for each get and each put."""

    def __init__(self, folder: Path) -> None:
        import lmdb

        self._env = lmdb.open(str(folder), map_size=2**32, sync=False, metasync=False, max_readers=512)

    def put(self, key: bytes, value: bytes) -> None:
        with self._env.begin(write=True) as transaction:
            transaction.put(key, value)

    def put_many(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Store all items in one transaction."""
        with self._env.begin(write=True) as transaction:
            transaction.cursor().putmulti(items)

    def get(self, key: bytes) -> Any:
        with self._env.begin() as transaction:
            return transaction.get(key)

    def get_view(self, key: bytes) -> Any:
        """Return a view, which is valid only within the transaction."""
        with self._env.begin(buffers=True) as transaction:
            return transaction.get(key)

    def __len__(self) -> int:
        return self._env.stat()["entries"]  # type: ignore[no-any-return]


def hashed(path: str) -> bytes:
    """Return a key for a path of any length; LMDB's own keys are short."""
    return blake2b(path.encode(), digest_size=16).digest()
