"""``python -m integrations.fish_count COMMAND``: generate images, train on them, count with the model."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys

from . import options
from .errors import UserError
from .requirements import require

COMMANDS = {  # what it does, its options, the packages without which it cannot begin
    "make_data": (
        "draw underwater scenes, or paste fish over photographs",
        options.make_data_options,
        ("PIL",),
    ),
    "train": (
        "train a network to count the fish, reading through a cache",
        options.train_options,
        ("PIL", "matplotlib", "keras"),
    ),
    "train_torch": (
        "do the same in PyTorch, with worker processes or under torchrun",
        options.train_torch_options,
        ("PIL", "matplotlib", "torch"),
    ),
    "predict": ("count the fish in images", options.predict_options, ("PIL",)),
    "compare": ("compare runs in a table and a plot", options.compare_options, ()),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the exit status: 2 for an error that the user can fix, 141 if nobody reads the output."""
    parser = make_parser()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may have any characters
    try:
        try:
            args = parser.parse_args(argv)
            if args.command is None:
                parser.exit(2, parser.format_help())  # on stderr
            require(*COMMANDS[args.command][2])
            importlib.import_module(f".{args.command}", __package__).run(args)
        finally:
            print(end="", flush=True)  # here, where a closed pipe can still be handled
    except UserError as error:
        print(f"{parser.prog} {args.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the interpreter's own flush
        return 141
    except KeyboardInterrupt:
        return 130
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser("python -m integrations.fish_count", description="Count fish in images.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (help_text, add_options, _) in COMMANDS.items():
        add_options(commands.add_parser(name, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}."))
    return parser


if __name__ == "__main__":
    sys.exit(main())
