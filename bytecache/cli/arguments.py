"""Types of arguments for argparse, whose messages are those of the errors that they raise."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..planning.folder import IMAGE_PATTERNS

T = TypeVar("T")


class Refused(Exception):
    """What was asked for cannot be done; the message says why, and the way out."""


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


def parse_image_size(text: str) -> tuple[int, int]:
    """Return (height, width) of a text such as "224x224"; raise ValueError for another."""
    match = re.fullmatch(r"([0-9]+)[x×]([0-9]+)", text.strip().lower())
    if match is None or not int(match[1]) or not int(match[2]):
        raise ValueError(f"expected height and width in pixels, such as 224x224, got {text!r}")
    return int(match[1]), int(match[2])


def add_glob(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --glob, which may be repeated: ``args.glob`` is a list of patterns, or None. default: in words."""
    parser.add_argument(
        "--glob",
        metavar="PATTERN",
        action="append",
        help=f'names of the files, such as "*.jpg", which means .JPG too; may be repeated (default: {default})',
    )


def find_files(find: Callable[[str, Sequence[str]], T], path: str, patterns: Sequence[str] | None) -> T:
    """Return ``find(path, patterns)``; without patterns, what it finds among files with an image's ending.

    Raises FileNotFoundError as it does, with the way out.
    """
    try:
        return find(path, patterns or IMAGE_PATTERNS)
    except FileNotFoundError as problem:
        if patterns is not None:
            raise
        raise FileNotFoundError(f"{problem}: --glob '*' counts all files") from None
