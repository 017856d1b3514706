"""A process that answers questions, one at a time, until its caller is done with it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.harness.measure import turns

PATIENCE_S = 3600


class Process:
    """``with Process(make, *arguments) as process: answer = process.ask(question)``, any number of times.

    make: a module-level function, called in the process with the arguments; it returns the function that answers.
    start: "spawn", or "forkserver", which is faster: a fork of a process that has imported make's module only.
    """

    def __init__(self, make: Callable[..., Callable[[Any], Any]], *arguments: Any, start: str = "spawn") -> None:
        context: Any = multiprocessing.get_context(start)
        if start == "forkserver":
            context.set_forkserver_preload([make.__module__])
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(make, arguments, theirs))
        self._process.start()
        theirs.close()  # or the end of the process would not close the pipe

    def ask(self, question: Any) -> Any:
        """Return the answer. Raises RuntimeError if the process has ended, or does not answer within an hour."""
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
            self._process.terminate()  # it may be computing an answer that is no longer needed
        self._process.join()


def ask_in_rounds(
    processes: Mapping[int, Process], questions: Sequence[Any], rounds: int, warmup: int = 0
) -> dict[Any, dict[int, list[Any]]]:
    """Return the answers: every round asks all processes each question, and starts with a different process."""
    numbers = list(processes)
    answers: dict[Any, dict[int, list[Any]]] = {question: {number: [] for number in numbers} for question in questions}
    for round_number in range(-warmup, rounds):
        for question in questions:
            for number in turns(numbers, round_number):
                answer = processes[number].ask(question)
                if round_number >= 0:
                    answers[question][number].append(answer)
    return answers


def _serve(make: Callable[..., Callable[[Any], Any]], arguments: tuple[Any, ...], pipe: Connection) -> None:
    multiprocessing.set_start_method(None, force=True)  # processes started here start as in the user's process
    answer = make(*arguments)
    while True:
        try:
            question = pipe.recv()
        except EOFError:
            return
        pipe.send(answer(question))
