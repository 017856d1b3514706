"""The command simulate: what each policy makes of a folder's files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..planning.folder import (
    DEFAULT_POLICIES,
    IMAGE_PATTERNS,
    FolderReport,
    file_sizes,
    hit_rate_curves,
    simulate_folder,
)
from ..planning.simulation import check_policies
from ..system.byte_sizes import parse_size
from ..system.text import format_bytes, format_patterns, format_table, print_report, printable
from .arguments import add_glob, argparse_type, find_files, int_at_least
from .plot import check_path, save_plot


def add_simulate_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command; invalid ones are rejected before the folder is read."""
    add, policies = parser.add_argument, ",".join(DEFAULT_POLICIES)
    add("path", metavar="DIR", help="folder whose files, also in subfolders, are read once per epoch")
    add(
        "--maxbytes",
        metavar="SIZE",
        type=argparse_type(parse_size),
        required=True,
        help='size of the cache, such as "2 GiB"',
    )
    add_glob(parser, "the endings of images; '*' means all files")
    add("--epochs", metavar="N", type=int_at_least(2), default=5, help="number of epochs, 2 or more (default: 5)")
    add("--seed", metavar="N", type=int_at_least(0), default=0, help="seed of the shuffles (default: 0)")
    default = f"policies, separated by commas (default: {policies})"
    add("--policies", metavar="NAMES", type=argparse_type(parse_policies), default=policies, help=default)
    add("--plot", metavar="FILE", type=argparse_type(check_path), help="plot hit rate over cache size: png, svg, pdf")
    add("--json", action="store_true", help="print all fields as JSON")


def parse_policies(text: str) -> list[str]:
    """Return the names of policies in a text with commas; raise ValueError for an unknown one."""
    return check_policies(name.strip() for name in text.split(","))


def simulate(args: argparse.Namespace) -> int:
    """Print, and plot if asked, what each policy makes of a folder's files; return the exit status."""
    nbytes = find_files(file_sizes, args.path, args.glob)
    report = simulate_folder(nbytes, args.maxbytes, args.policies, args.epochs, args.seed)
    lines = format_simulation(args.path, args.glob, report)
    fields = {"path": args.path, "glob": args.glob or list(IMAGE_PATTERNS), **report}
    if args.plot:  # first: a reader of the text may close the pipe
        save_plot(args.plot, report, hit_rate_curves(nbytes, report))
    print_report(fields, lines, args.json)
    return 0


def format_simulation(path: str, patterns: Sequence[str] | None, report: FolderReport) -> list[str]:
    """Return a simulation as text, with a table of files and one of bytes."""
    by_files, by_bytes = [], []
    for policy in report["policies"]:
        name, predicted = policy["policy"], policy["predicted_hit_rate"]
        formula = "-" if predicted is None else f"{predicted:.3f}"
        by_files.append((name, f"{policy['hit_rate']:.3f}", formula, f"{policy['misses']:,.0f}"))
        by_bytes.append((name, f"{policy['byte_hit_rate']:.3f}", format_bytes(policy["missed_bytes"])))
    share = "all of it" if report["fraction"] >= 1 else f"{100 * report['fraction']:.1f} % of that"
    bound = ("bound", f"{min(1.0, report['fraction']):.3f}", format_bytes(report["least_missed_bytes"]))
    named = format_patterns(patterns) if patterns else " with the ending of an image"
    return [
        printable(path),
        f"  files   {report['files']:,}{named}, {format_bytes(report['bytes'])}",
        f"  budget  {format_bytes(report['maxbytes'])}, {share}",
        f"  epochs  {report['epochs']}, each in a new random order; below: means per epoch without the first",
        "",
        *format_table(("policy", "hit rate", "predicted", "misses"), by_files),
        "",
        *format_table(("policy", "byte hit rate", "missed bytes"), [bound, *by_bytes]),
        "",
        "predicted: by formula, for many files of equal size",
        "bound: no policy can hit more bytes than fit in the cache",
        "misses, missed bytes: what is read from the storage",
    ]
