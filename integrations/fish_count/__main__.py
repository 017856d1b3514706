"""``python -m integrations.fish_count COMMAND``: make a set of pictures, train on it, count with the model."""

from __future__ import annotations

import argparse
import importlib
import sys

from .problem import Problem

COMMANDS = {
    "make_data": "draw underwater pictures, or paste fish over photographs",
    "train": "train a network to count the fish, reading through a cache",
    "predict": "count the fish in pictures",
    "compare": "put runs side by side",
}


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit status: 2 for what the user must change."""
    parser = argparse.ArgumentParser("python -m integrations.fish_count", description="Count fish in pictures.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_text in COMMANDS.items():
        command = commands.add_parser(name, help=help_text, description=help_text)
        importlib.import_module(f".{name}", __package__).add_arguments(command)
    args = parser.parse_args(argv)
    try:
        importlib.import_module(f".{args.command}", __package__).run(args)
    except Problem as problem:
        print(f"{parser.prog} {args.command}: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
