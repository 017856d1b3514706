"""An entry on a server: header, payload, description. What is damaged, foreign or misplaced is no value."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from ..base import MISSING
from ..codec import BYTES, Encoded, decode

FORMAT = 1  # a part of every key, so that versions of bytecache that write another one use other entries
# A head, the bytes of the payload, and the checksum. The head is made of magic, format, kind, bytes of the description.
_HEADER = struct.Struct("<QQQ")
_HEAD = struct.Struct("<2sBBI")
_MAGIC = b"bc"
OVERHEAD = _HEADER.size  # bytes of an entry beside its payload and description


def _head(kind: int, nbytes_of_description: int) -> int:
    return int.from_bytes(_HEAD.pack(_MAGIC, FORMAT, kind, nbytes_of_description), "little")


_BYTES_HEAD = _head(BYTES, 0)


def make_frame(key: bytes, encoded: Encoded) -> bytes:
    """Return an encoded value as an entry that is valid under `key` alone.

    The checksum is XXH3 of 64 bits over payload and description, seeded with that of the key and the head. So what is
    wrong with the key, or in any part of the header, shows in it or in the length.
    """
    from xxhash import xxh3_64, xxh3_64_intdigest

    kind, payload, description = encoded
    head = _head(kind, len(description))
    hasher = xxh3_64(payload, xxh3_64_intdigest(key, head))
    hasher.update(description)
    return b"".join((_HEADER.pack(head, payload.nbytes, hasher.intdigest()), payload, description))


def read_frames(keys: Sequence[bytes], frames: Sequence[Any], damaged: list[bytes]) -> list[Any]:
    """Return the value of each entry, MISSING for None, and for one that is damaged, whose key goes to `damaged`.

    frames: bytes, or views, of which nothing is kept. Damaged is what :func:`make_frame` has not made for its key.
    """
    from xxhash import xxh3_64_intdigest as digest

    values, unpack = list[Any](), _HEADER.unpack_from
    for key, frame in zip(keys, frames, strict=True):
        if frame is None:
            values.append(MISSING)
            continue
        try:
            head, nbytes, checksum = unpack(frame)
            body = bytes(frame[OVERHEAD:])
            if digest(body, digest(key, head)) != checksum:
                raise ValueError
            if head != _BYTES_HEAD:
                values.append(_decode(head, nbytes, body))
            elif len(body) == nbytes:
                values.append(body)
            else:
                raise ValueError
        except (ValueError, TypeError, struct.error):
            damaged.append(key)
            values.append(MISSING)
    return values


def _decode(head: int, nbytes: int, body: bytes) -> Any:
    """Return the value of payload and description; raise ValueError."""
    magic, version, kind, nbytes_of_description = _HEAD.unpack(head.to_bytes(8, "little"))
    if (magic, version) != (_MAGIC, FORMAT) or len(body) != nbytes + nbytes_of_description:
        raise ValueError
    return decode(kind, memoryview(body)[:nbytes], body[nbytes:])
