"""The slots of a cluster: which one a key is in, and which node has it."""

from __future__ import annotations

from binascii import crc_hqx
from typing import Any

SLOTS = 16384


def slot_of(key: bytes) -> int:
    """Return the slot of a key: of what is between its first braces, if there is anything."""
    begin = key.find(b"{")
    if begin >= 0:
        end = key.find(b"}", begin + 1)
        if end > begin + 1:
            key = key[begin + 1 : end]
    return crc_hqx(key, 0) % SLOTS


def read_ranges(answer: Any, default_host: str) -> dict[tuple[int, int], tuple[str, int]]:
    """Return host and port of the node that has each range of slots, from the answer to CLUSTER SLOTS.

    default_host: of the node that was asked, for one that does not know its own. Clients for a single server leave the
    answer as it is, those for a cluster make a dict of it.
    """
    if isinstance(answer, dict):
        pairs = [(slots, node["primary"]) for slots, node in answer.items()]
    else:
        pairs = [((first, last), primary) for first, last, primary, *_ in answer]
    return {slots: (_text(host) or default_host, int(port)) for slots, (host, port, *_) in pairs}


def server_name(host: str, port: int) -> str:
    """Return host and port as text."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _text(host: Any) -> str:
    return host.decode() if isinstance(host, bytes) else str(host or "")
