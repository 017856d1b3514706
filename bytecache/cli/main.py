"""The parser: ``bytecache COMMAND`` or ``python -m bytecache COMMAND``."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence

from .. import __version__
from ..stores.shared.admin import StoreNotFound
from .arguments import Refused
from .check import add_check_arguments, check
from .plan import add_plan_arguments, plan
from .simulate import add_simulate_arguments, simulate
from .store import (
    add_clear_arguments,
    add_info_arguments,
    add_runs_arguments,
    add_verify_arguments,
    clear,
    info,
    ls,
    sweep,
    verify,
)

Command = tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]
COMMANDS: dict[str, Command] = {
    "info": ("show what a store contains and how it was used", add_info_arguments, info),
    "verify": ("read every entry of a store and check it against its checksum", add_verify_arguments, verify),
    "clear": ("remove the values and reset the counters of a store's functions", add_clear_arguments, clear),
    "ls": ("list the stores of runs, in use or left behind, on this machine", add_runs_arguments, ls),
    "sweep": ("remove the stores of runs of which no process is left", add_runs_arguments, sweep),
    "simulate": ("predict the hit rate of each policy on the files of a folder", add_simulate_arguments, simulate),
    "plan": ("measure a folder's images, and advise what to keep of them in memory", add_plan_arguments, plan),
    "check": ("decode every image of a folder before training, and list what is odd", add_check_arguments, check),
}
EXIT_USAGE, EXIT_INTERRUPTED, EXIT_PIPE_CLOSED = 2, 130, 141  # the last two as shells count them: 128 + the signal


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status: 0, 1 if verify or check found damage, 2 if the user must change it.

    A reader that closes the pipe, as ``head`` does, ends the command without a message. What the terminal's encoding
    does not have, such as names of files in another one, is escaped.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            return _run(argv)
        finally:
            print(end="", flush=True)  # here, where an error can still be handled; --help comes this way too
    except BrokenPipeError:
        _discard_output()
        return EXIT_PIPE_CLOSED
    except OSError as problem:  # of flush(): no space left, for example
        _discard_output()
        print(f"bytecache: the output cannot be written: {problem}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        "bytecache", description="Inspect stores; predict hit rates and epochs; check images."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (help_text, add_arguments, _) in COMMANDS.items():
        add_arguments(commands.add_parser(name, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}."))
    return parser


def _run(argv: Sequence[str] | None) -> int:
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.exit(EXIT_USAGE, parser.format_help())  # on stderr
    try:
        return COMMANDS[args.command][2](args)
    except BrokenPipeError:
        raise
    except (Refused, StoreNotFound, OSError) as problem:
        print(f"{parser.prog} {args.command}: {problem}", file=sys.stderr)
        return EXIT_USAGE


def _discard_output() -> None:
    """Let nothing fail that is still buffered when the interpreter flushes its streams at exit."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(devnull, stream.fileno())
    os.close(devnull)
