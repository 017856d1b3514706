"""``python -m integrations.fish_count COMMAND``: generate images, train on them, count with the model."""

from __future__ import annotations

import argparse
import importlib
import sys

from .errors import UserError

COMMANDS = {
    "make_data": "draw underwater scenes, or paste fish over photographs",
    "train": "train a network to count the fish, reading through a cache",
    "train_torch": "do the same in PyTorch, with worker processes or under torchrun",
    "predict": "count the fish in images",
    "compare": "compare runs in a table and a plot",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command and return the exit status: 2 for an error that the user can fix."""
    parser = argparse.ArgumentParser("python -m integrations.fish_count", description="Count fish in images.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    argv = sys.argv[1:] if argv is None else argv
    try:
        for name, help_text in COMMANDS.items():
            command = commands.add_parser(name, help=help_text, description=help_text)
            if name in argv[:1]:  # the others may need packages that are not installed
                module = importlib.import_module(f".{name}", __package__)
                module.add_arguments(command)
        args = parser.parse_args(argv)  # exits for --help, and unless argv begins with a command
        module.run(args)
    except UserError as error:
        print(f"{parser.prog} {argv[0]}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
