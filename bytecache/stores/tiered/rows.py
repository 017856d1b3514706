"""Under what the first tier's store keeps the counters of the other tiers, beside those of the function itself."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

HITS_OF = ": hits of "
MOST_TIERS = 256


def row_id(function_id: bytes, number: int) -> bytes:
    """Return what stands for a function's counters of a tier, which are numbered from 1 for the second."""
    return blake2b(function_id, digest_size=16, person=b"tier", salt=bytes([number])).digest()


def row_ids(function_id: bytes) -> Iterator[bytes]:
    """Yield what may stand for a function's counters of all tiers but the first."""
    return (row_id(function_id, number) for number in range(1, MOST_TIERS))


def row_name(name: str, tier: str) -> str:
    """Return the name of a function's counters of a tier, for people."""
    return f"{name}{HITS_OF}{tier}"
