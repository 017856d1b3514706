"""``python -m integrations.fish_count COMMAND``: make a set of pictures, train on it, count with the model."""

from __future__ import annotations

import argparse
import importlib
import sys

from .problem import Problem

COMMANDS = {
    "make_data": "draw underwater pictures, or paste fish over photographs",
    "train": "train a network to count the fish, reading through a cache",
    "train_torch": "the same in PyTorch: with worker processes, or on the ranks of torchrun",
    "predict": "count the fish in pictures",
    "compare": "put runs side by side",
}


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit status: 2 for what the user must change."""
    parser = argparse.ArgumentParser("python -m integrations.fish_count", description="Count fish in pictures.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    argv = sys.argv[1:] if argv is None else argv
    try:
        for name, help_text in COMMANDS.items():
            command = commands.add_parser(name, help=help_text, description=help_text)
            if name in argv[:1]:  # the others may need packages that are not there
                module = importlib.import_module(f".{name}", __package__)
                module.add_arguments(command)
        args = parser.parse_args(argv)  # exits for --help, and unless argv begins with a command
        module.run(args)
    except Problem as problem:
        print(f"{parser.prog} {argv[0]}: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
