"""A process of its own that does something again and again on the word of this one."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

PATIENCE_S = 3600


class Process:
    """``with Process(make, *arguments) as process: answer = process.ask(question)``, any number of times.

    make: a function of a module, which is called there and gives the function that answers. It starts bare, or
    (start="forkserver") sooner, as a fork of one that has imported that module and nothing else.
    """

    def __init__(self, make: Callable[..., Callable[[Any], Any]], *arguments: Any, start: str = "spawn") -> None:
        context: Any = multiprocessing.get_context(start)
        if start == "forkserver":
            context.set_forkserver_preload([make.__module__])
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(make, arguments, theirs))
        self._process.start()
        theirs.close()  # here, so that its death is seen

    def ask(self, question: Any) -> Any:
        """What it answers; raises RuntimeError where it has ended, having said why, or does not answer in an hour."""
        try:
            self._pipe.send(question)
            if self._pipe.poll(PATIENCE_S):
                return self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            raise RuntimeError(f"a process ended with exit status {self._process.exitcode}") from None
        raise RuntimeError(f"a process did not answer within {PATIENCE_S} s")

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pipe.close()
        if exception[0] is not None:
            self._process.terminate()  # it may be in the midst of what nobody waits for any more
        self._process.join()


def in_turn(
    processes: Mapping[int, Process], questions: Sequence[Any], rounds: int, warmup: int = 0
) -> dict[Any, dict[int, list[Any]]]:
    """Asks all processes each question in every round, beginning with another process each time; the answers."""
    numbers = list(processes)
    answers: dict[Any, dict[int, list[Any]]] = {question: {number: [] for number in numbers} for question in questions}
    for turn in range(-warmup, rounds):
        first = turn % len(numbers)
        for question in questions:
            for number in numbers[first:] + numbers[:first]:
                answer = processes[number].ask(question)
                if turn >= 0:
                    answers[question][number].append(answer)
    return answers


def _serve(make: Callable[..., Callable[[Any], Any]], arguments: tuple[Any, ...], pipe: Connection) -> None:
    multiprocessing.set_start_method(None, force=True)  # what it starts starts as it would in the user's process
    answer = make(*arguments)
    while True:
        try:
            question = pipe.recv()
        except EOFError:
            return
        pipe.send(answer(question))
