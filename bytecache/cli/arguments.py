"""Types of arguments for argparse, whose messages are those of the errors that they raise."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def argparse_type(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return `parse` as a type for argparse, which shows the messages of its errors."""

    def parse_argument(text: str) -> Any:
        try:
            return parse(text)
        except (ImportError, ValueError) as problem:
            raise argparse.ArgumentTypeError(str(problem)) from None

    return parse_argument


def int_at_least(least: int) -> Callable[[str], int]:
    """Return a type for argparse: an int of `least` or more; `least` is not negative."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise ValueError(f"expected an int of {least} or more, got {text!r}")
        return int(text)

    return argparse_type(parse)


def add_glob(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --glob, which may be repeated: ``args.glob`` is a list of patterns, or None. default: in words."""
    parser.add_argument(
        "--glob",
        metavar="PATTERN",
        action="append",
        help=f'names of the files, such as "*.jpg", which means .JPG too; may be repeated (default: {default})',
    )
