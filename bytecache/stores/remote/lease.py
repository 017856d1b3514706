"""The right to run the function for a key, which one process of all machines has at a time, and not for long."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from time import monotonic, sleep

from ..base import Lease
from .servers import Servers

LEASE_S = 10.0  # the shortest; what runs longer may be run by another process too
_FIRST_PAUSE_S, _MAX_PAUSE_S = 1e-3, 50e-3
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class LeaseBatch:
    """Leases that are acquired, as far as they are free, and released in one request for each server.

    keys: of the leases. lease_s: after which a lease is free again whose holder has died.
    """

    def __init__(self, servers: Servers, keys: Sequence[bytes], lease_s: float) -> None:
        self._servers, self._lease_ms = servers, round(1000 * lease_s)
        self._token = secrets.token_bytes(12)
        self._keys = list(keys)
        self._acquired: dict[bytes, bool | None] | None = None  # None before the first attempt

    def acquired(self, key: bytes) -> bool | None:
        """Return whether the lease of a key was acquired with the others; None if its server does not answer."""
        if self._acquired is None:
            self._acquired = self._acquire(self._keys)
        return self._acquired[key]

    def try_again(self, key: bytes) -> bool | None:
        """Return the same of another attempt."""
        acquired = self._acquire([key])
        self._acquired = {**(self._acquired or {}), **acquired}
        return acquired[key]

    def _acquire(self, keys: list[bytes]) -> dict[bytes, bool | None]:
        commands = [("SET", key, self._token, "NX", "PX", self._lease_ms) for key in keys]
        answers = self._servers.ask_each(keys, commands)
        return {
            key: None if server is None or isinstance(answer, Exception) else bool(answer)
            for key, (server, answer) in zip(keys, answers, strict=True)
        }

    def release(self) -> None:
        """Release all that were acquired and not released yet; those of servers that do not answer will expire."""
        held = [key for key, is_held in (self._acquired or {}).items() if is_held]
        self._acquired = None
        self._servers.ask_each(held, [("EVAL", _RELEASE, 1, key, self._token) for key in held])

    @property
    def lease_s(self) -> float:
        """How long a lease lasts that nobody releases."""
        return self._lease_ms / 1000


class RemoteLease(Lease):
    """The lease of one key of a batch. Who waits for it asks again and again, at most as long as a lease lasts."""

    def __init__(self, batch: LeaseBatch, key: bytes) -> None:
        self._batch, self._key = batch, key

    def acquire(self, *, wait: bool) -> bool | None:
        acquired = self._batch.acquired(self._key)
        if acquired is not False or not wait:
            return acquired
        pause_s, until = _FIRST_PAUSE_S, monotonic() + self._batch.lease_s
        while acquired is False:
            is_last = monotonic() >= until
            sleep(pause_s)
            pause_s = min(1.5 * pause_s, _MAX_PAUSE_S)
            acquired = self._batch.try_again(self._key)
            if is_last and not acquired:
                return None
        return acquired

    def release(self) -> None:
        """Release it, and with it the others of its batch."""
        self._batch.release()
