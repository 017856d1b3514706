"""Connections that are kept, and a loop that has many transfers on them at a time."""

from __future__ import annotations

import ctypes
import time
import weakref
from collections import deque
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Any, NamedTuple

from ..system.fork import at_fork
from .curl import RETRY_AFTER, pycurl
from .handles import Identity, prepare
from .retries import delay_s
from .s3 import S3
from .transfer import Answer, Transfer

_FD_SETSIZE = 1024  # select() cannot wait for a file descriptor of this number or above
_TICK_S = 0.001
_LONGEST_WAIT_S = 1.0

_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


class Limits(NamedTuple):
    """What bounds a session.

    connections: transfers at a time. timeout_s: seconds to connect in, and without progress. retries: attempts beyond
    the first. body_bytes: the longest body.
    """

    connections: int
    timeout_s: float
    retries: int
    body_bytes: int


class Session:
    """A multi handle of libcurl and its easy handles. For one thread at a time, in the process that made it."""

    def __init__(self, limits: Limits, headers: list[str], s3: S3) -> None:
        self._limits, self._headers, self._s3 = limits, headers, s3
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, limits.connections)
        self._idle: list[Any] = []  # easy handles
        self._identities: dict[Any, Identity] = {}  # for which each easy handle is prepared
        self._live: dict[Any, Transfer] = {}
        self._sockets: dict[int, int] = {}  # every file descriptor that was a connection's
        _sessions.add(self)

    def run(self, transfers: Iterable[Transfer]) -> None:
        """Give each transfer its result. If this raises, as at Ctrl-C, close the session."""
        ready = deque(transfers)
        waiting: list[tuple[float, int, Transfer]] = []  # a heap of those that wait for another attempt
        while ready or waiting or self._live:
            while waiting and waiting[0][0] <= time.monotonic():
                ready.append(heappop(waiting)[2])
            while ready and len(self._live) < self._limits.connections:
                self._start(ready.popleft())
            self._multi.perform()
            ended = self._ended()
            for transfer, answer in ended:
                if transfer.settle(answer, self._limits.retries):
                    due = time.monotonic() + delay_s(transfer.attempts - 1, min(answer.asked_s, self._limits.timeout_s))
                    heappush(waiting, (due, id(transfer), transfer))
                elif transfer.result is None:  # redirected
                    ready.appendleft(transfer)
            if not ended and (self._live or waiting):
                self._wait(waiting[0][0] if waiting else None)

    def close(self) -> None:
        """Close all connections, also those in use."""
        self._multi.close()

    def _start(self, transfer: Transfer) -> None:
        address = transfer.address
        try:
            identity = Identity(address.trusted, address.user, self._s3.signature() if address.signed else None)
        except Exception as exc:  # of the user's function that gives credentials
            transfer.result = exc
            return
        easy = self._idle.pop() if self._idle else pycurl.Curl()
        if self._identities.get(easy) != identity:
            prepare(easy, identity, self._headers, self._limits.timeout_s, self._limits.body_bytes)
            easy.setopt(pycurl.SOCKOPTFUNCTION, self._sockets.setdefault)  # notes the number, returns 0 for success
            self._identities[easy] = identity
        easy.setopt(pycurl.URL, address.url)
        easy.setopt(pycurl.WRITEFUNCTION, transfer.chunks.append)
        self._live[easy] = transfer
        self._multi.add_handle(easy)

    def _ended(self) -> list[tuple[Transfer, Answer]]:
        """Return the transfers that have ended since the last call; their easy handles are idle again."""
        _, complete, failed = self._multi.info_read()
        ended = []
        for easy, code, message in [*((easy, 0, "") for easy in complete), *failed]:
            status, redirect = easy.getinfo(pycurl.RESPONSE_CODE), easy.getinfo(pycurl.REDIRECT_URL)
            answer = Answer(code, message, status, redirect or "", easy.getinfo(RETRY_AFTER))
            self._multi.remove_handle(easy)
            self._idle.append(easy)
            ended.append((self._live.pop(easy), answer))
        return ended

    def _wait(self, due: float | None) -> None:
        """Wait until a connection is ready, or libcurl or the next attempt is due."""
        seconds = _LONGEST_WAIT_S if due is None else min(max(due - time.monotonic(), 0), _LONGEST_WAIT_S)
        curl_ms = self._multi.timeout()  # -1 if libcurl waits for connections only
        if curl_ms >= 0:
            seconds = min(seconds, curl_ms / 1000)
        if not self._live:
            time.sleep(seconds)
        elif max(self._sockets, default=0) >= _FD_SETSIZE:
            time.sleep(_TICK_S)
        elif seconds > 0 and self._multi.select(seconds) <= 0:
            time.sleep(_TICK_S)  # select returns at once if there is no connection yet, as while a name is looked up


def _after_fork_in_child() -> None:
    """Keep the parent's handles from ever being freed: to close one tells the parent's server that it is closed."""
    for session in _sessions:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


at_fork("connections", after_in_child=_after_fork_in_child)
