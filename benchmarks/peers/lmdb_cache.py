"""py-lmdb as a cache."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Any


class Lmdb:
    """py-lmdb by itself, with the settings that suit tmpfs, a transaction for each get and each put."""

    def __init__(self, folder: Path) -> None:
        import lmdb

        self._env = lmdb.open(str(folder), map_size=2**32, sync=False, metasync=False, max_readers=512)

    def put(self, key: bytes, value: bytes) -> None:
        with self._env.begin(write=True) as transaction:
            transaction.put(key, value)

    def get(self, key: bytes) -> Any:
        with self._env.begin() as transaction:
            return transaction.get(key)

    def get_view(self, key: bytes) -> Any:
        with self._env.begin(buffers=True) as transaction:
            return transaction.get(key)


def hashed(path: str) -> bytes:
    """A key that LMDB takes whatever the length of the path."""
    return blake2b(path.encode(), digest_size=16).digest()
