"""One server, or one node of a cluster: what it is asked, and whether it is worth asking."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from .circuit_breaker import CircuitBreaker
from .connection import is_connection_fault
from .reader import pack_get, read_values

T = TypeVar("T")
Use = Callable[[Sequence[bytes], Sequence[Any]], list[Any]]  # from keys and entries to values
_FULL_S = 10.0  # for which a server that had no memory for a value is not given another one


class Unanswered(Exception):
    """A server did not answer, or refused what it was asked: that it says so is `refused`."""

    refused = False


class Server:
    """A server, or one node of a cluster. name: host and port. is_own: whether the client was made here."""

    def __init__(self, name: str, client: Any, clock: Callable[[], float], is_own: bool) -> None:
        self.name, self.client, self._clock, self.is_own = name, client, clock, is_own
        self.breaker = CircuitBreaker(name, clock)
        self._full_until = float("-inf")

    @contextmanager
    def _asking(self) -> Iterator[Any]:
        """Give the client for a request; raise Unanswered if there is no answer, or an error instead of one."""
        entered = self.breaker.enter()
        if entered is None:
            raise Unanswered(f"{self.name} did not answer a moment ago")
        try:
            yield self.client
        except Exception as exc:
            unanswered = Unanswered(f"{self.name}: {exc}")
            if is_connection_fault(exc):
                self.breaker.fail(entered, f"{type(exc).__name__}: {exc}")
            else:
                self.breaker.succeed(entered)
                unanswered.refused = True
            raise unanswered from None
        self.breaker.succeed(entered)

    def ask(self, request: Callable[[Any], T]) -> T:
        """Return ``request(client)``; raise Unanswered if there is no answer, or an error instead of one."""
        with self._asking() as client:
            return request(client)

    def ask_each(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the answer to each command, or the exception instead of it, from one request; raise Unanswered."""

        def request(client: Any) -> Any:
            pipeline = client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return pipeline.execute(raise_on_error=False)

        return list(self.ask(request)) if commands else []

    def get_many(self, keys: Sequence[bytes], use: Use, one_slot: bool) -> Generator[list[Any] | None, None, None]:
        """Send a request for several keys, yield None, then receive the answer and yield ``use(keys, entries)``.

        So several servers can be asked before the first has answered. What is yielded at last is None if there is an
        error in the answer. Raises Unanswered at either step; to be exhausted or closed. one_slot: whether all keys
        are, or if there is no cluster, count as in one.
        """
        if not self.is_own:
            yield None
            yield None
            return
        with self._asking() as client:
            connection = client.connection_pool.get_connection()
            try:
                connection.send_packed_command([pack_get(keys, one_slot)])
                yield None
                values = read_values(connection, keys, one_slot, use)
            except BaseException:
                connection.disconnect()  # the rest of the answer would be taken for that to the next request
                raise
            finally:
                client.connection_pool.release(connection)
        yield values

    @property
    def full(self) -> bool:
        """Whether it had no memory left a moment ago."""
        return self._clock() < self._full_until

    def note_full(self) -> None:
        """Take note that it has no memory left."""
        self._full_until = self._clock() + _FULL_S
