"""The parser: ``bytecache COMMAND`` or ``python -m bytecache COMMAND``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from ..stores.shared.admin import StoreNotFound
from .check import add_check_arguments, check
from .simulate import add_simulate_arguments, simulate
from .store import add_clear_arguments, add_runs_arguments, add_store_arguments, clear, info, ls, sweep, verify

Command = tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]
COMMANDS: dict[str, Command] = {
    "info": ("show what a store contains and how each process has used it", add_store_arguments, info),
    "verify": ("read every entry of a store and check it against its checksum", add_store_arguments, verify),
    "clear": ("remove the values and reset the counters of a store's functions", add_clear_arguments, clear),
    "ls": ("list the stores of runs, in use or left behind, on this machine", add_runs_arguments, ls),
    "sweep": ("remove the stores of runs of which no process is left", add_runs_arguments, sweep),
    "simulate": ("predict the hit rate of each policy on the files of a folder", add_simulate_arguments, simulate),
    "check": ("decode every image of a folder before training, and list what is odd", add_check_arguments, check),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status: 0, 1 if verify or check found damage, 2 if the user must change it."""
    parser = argparse.ArgumentParser("bytecache", description="Inspect shared stores; predict hit rates; check images.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (help_text, add_arguments, _) in COMMANDS.items():
        add_arguments(commands.add_parser(name, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}."))
    args = parser.parse_args(argv)
    try:
        return COMMANDS[args.command][2](args)
    except (StoreNotFound, OSError) as problem:
        print(f"{parser.prog} {args.command}: {problem}", file=sys.stderr)
        return 2
