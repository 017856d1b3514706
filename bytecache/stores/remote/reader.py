"""Many values from a socket through one buffer: each is copied once more, to where it stays, and not twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any

_PIECE = 1 << 20  # bytes of a buffer, unless a value is larger
_LONGEST_LINE, _LARGEST = 1 << 10, 1 << 32  # of what a server says, and of a value
_TIMEOUTS = 10  # in which an answer must be complete, while each part of it must come in one
_ERROR, _ARRAY, _BULK = b"-*$"
_buffers: list[bytearray] = []  # that nobody reads into now

Views = list[memoryview | None]


def pack_get(keys: Sequence[bytes], in_array: bool) -> bytes:
    """Return the request for the values of several keys, whose answer is one array, or one for each value."""
    import hiredis

    pack: Callable[[Any], bytes] = hiredis.pack_command  # redis-py looks at each key in Python before it calls it
    return pack(("MGET", *keys)) if in_array else b"".join([pack(("GET", key)) for key in keys])


def read_values(
    connection: Any, keys: Sequence[bytes], in_array: bool, use: Callable[[Sequence[bytes], Views], list[Any]]
) -> list[Any] | None:
    """Receive the answer to a request, and return what `use` makes of its values; None if the answer has an error.

    connection: of redis-py, in RESP2, whose own parser is bypassed; to be closed if this raises. in_array: whether the
    answer is one array, and not one answer for each key. use: called with some keys at a time, in order, and a view of
    each one's value, None if it has none; the views are valid only then.
    """
    made: list[Any] = []
    answer = _Answer(connection, len(keys), in_array, _buffers.pop() if _buffers else bytearray(_PIECE))
    try:
        for values in answer.pieces():
            made += use(keys[len(made) : len(made) + len(values)], values)
    finally:
        if len(answer.buffer) == _PIECE:
            _buffers.append(answer.buffer)
    return None if answer.failed else made


class _Answer:
    """What has come of an answer. buffer: replaced by a larger one if need be. failed: whether an error was in it."""

    def __init__(self, connection: Any, count: int, in_array: bool, buffer: bytearray) -> None:
        self._connection, self._left, self._in_array, self.buffer = connection, count, in_array, buffer
        self.failed = False
        self._have = self._position = 0  # bytes in the buffer, and of these, used
        self._needed = 1  # bytes in the buffer without which there is nothing to do
        timeout_s = connection.socket_timeout
        self._until = float("inf") if timeout_s is None else monotonic() + _TIMEOUTS * timeout_s

    def pieces(self) -> Iterator[Views]:
        """Yield the values up to an error, as many at a time as the buffer has, so that a processor's cache has them.

        The views of a piece are valid until the next one is asked for. All of the answer is read.
        """
        values: Views = []
        while self._left:
            if self._needed > len(self.buffer):
                yield values
                values = []
                self._make_room()
            self._receive()
            try:
                self._parse(values)
            except ValueError:
                raise ConnectionError("what answers is no Redis server") from None
        yield values

    def _parse(self, values: Views) -> None:
        """Append what is in the buffer; raise ValueError for what is no answer."""
        buffer, have, view = self.buffer, self._have, memoryview(self.buffer).toreadonly()
        position, left, failed = self._position, self._left, self.failed
        while left:
            end = buffer.find(b"\r\n", position, have)
            if end < 0:
                if have - position > _LONGEST_LINE:
                    raise ValueError
                self._needed = have + 1
                break
            kind, text, start, value = buffer[position], buffer[position + 1 : end], end + 2, None
            if kind == _BULK:
                stop = start + int(text)
                if stop >= start:
                    if stop + 2 > have:
                        self._needed = stop + 2
                        break
                    start, value = stop + 2, view[start:stop]
            elif kind == _ERROR:
                failed = True
                left = 1 if self._in_array else left  # it is the only answer then
            elif kind == _ARRAY and self._in_array and not position:
                position, self._in_array = start, False
                continue
            else:
                raise ValueError
            position = start
            left -= 1
            if not failed:
                values.append(value)
        self._position, self._left, self.failed = position, left, failed

    def _make_room(self) -> None:
        """Move what is not used yet to the begin of the buffer, or of a larger one if that is too small."""
        rest = memoryview(self.buffer)[self._position : self._have]
        self._needed -= self._position
        if self._needed > _LARGEST:
            raise ConnectionError("what answers is no Redis server")
        if self._needed > len(self.buffer):
            self.buffer = bytearray(max(self._needed, 2 * len(self.buffer)))
        memoryview(self.buffer)[: len(rest)] = rest
        self._have, self._position = len(rest), 0

    def _receive(self) -> None:
        """Receive until there is something to do."""
        with memoryview(self.buffer) as view:
            while self._have < self._needed:
                received = self._connection._sock.recv_into(view[self._have :])
                if not received or monotonic() > self._until:
                    raise ConnectionError("the connection was closed" if not received else "the answer takes too long")
                self._have += received
