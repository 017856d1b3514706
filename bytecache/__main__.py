"""``bytecache COMMAND`` or ``python -m bytecache COMMAND``: shared stores looked into; hit rates told in advance."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .cli import plot as forecast_plot
from .cli.text import format_age, format_bytes, format_date, format_table, plural
from .planning import folder as forecast
from .planning.simulation import check_policies
from .stores.shared import admin as inspection
from .stores.shared.admin import Facts
from .system.byte_sizes import parse_size

MOST_PROCESSES = 12  # are shown of a function; --json has all
DAMAGED = 1  # exit status of verify; 2 is for what the user must change


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0, 1 where verify found damage, 2 for what the user must change."""
    parser = argparse.ArgumentParser(
        "bytecache", description="Look into shared stores; tell hit rates before training."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (help_text, add_arguments, _) in COMMANDS.items():
        add_arguments(commands.add_parser(name, help=help_text, description=help_text))
    args = parser.parse_args(argv)
    try:
        return COMMANDS[args.command][2](args)
    except (inspection.StoreNotFound, OSError) as problem:
        print(f"{parser.prog} {args.command}: {problem}", file=sys.stderr)
        return 2


def add_store_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of a command on a store."""
    parser.add_argument("path", metavar="PATH", help="the folder of a shared store")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")


def info(args: argparse.Namespace) -> int:
    """What is held, and how it was used."""
    facts = inspection.describe(args.path)
    show(facts, info_lines(facts), args.json)
    return 0


def clear(args: argparse.Namespace) -> int:
    """Forgets everything."""
    facts = inspection.clear(args.path)
    freed = f"{format_bytes(facts['freed_bytes'])} of files are gone"
    show(facts, [f"cleared {values(facts)} of {plural(facts['functions'], 'function')}; {freed}"], args.json)
    return 0


def verify(args: argparse.Namespace) -> int:
    """Reads everything; the exit status says whether all of it is as it was written."""
    facts = inspection.verify(args.path)
    damaged = [(one["function"], one["entry"] or "all", one["problem"]) for one in facts["damaged"]]
    read = f"read {plural(facts['entries'], 'entry', 'entries')}, {format_bytes(facts['read_bytes'])}"
    if damaged:
        lines = [
            f"{read}; damaged: {len(damaged):,}",
            "",
            *format_table(("function", "entry", "what is wrong"), damaged),
        ]
    else:
        lines = [f"{read}: all are as they were written"]
    show(facts, lines, args.json)
    return DAMAGED if damaged else 0


def add_simulate_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of a simulation; what cannot be is refused before the folder is read."""
    add = parser.add_argument
    add("path", metavar="DIR", help="the folder with the files that are read once per epoch; subfolders count")
    add("--maxbytes", metavar="SIZE", type=argument(parse_size), required=True, help='the budget, as "2 GiB"')
    add("--glob", metavar="PATTERN", default="*", help='only files with such a name, as "*.jpg" (default: all)')
    add("--epochs", metavar="N", type=argument(lambda text: whole(text, 2)), default=5, help="2 or more (default: 5)")
    add(
        "--seed",
        metavar="N",
        type=argument(lambda text: whole(text, 0)),
        default=0,
        help="of the shuffles (default: 0)",
    )
    policies = ",".join(forecast.POLICIES)
    add("--policies", type=argument(policy_names), default=policies, help=f"names with commas (default: {policies})")
    add(
        "--plot",
        metavar="FILE",
        type=argument(forecast_plot.check_path),
        help="draw hit rates over cache sizes: png, svg, pdf",
    )
    add("--json", action="store_true", help="print all figures as JSON")


def argument(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """`parse` for argparse, which then shows what it says of a text that it refuses."""

    def parse_argument(text: str) -> Any:
        try:
            return parse(text)
        except (ImportError, ValueError) as problem:
            raise argparse.ArgumentTypeError(str(problem)) from None

    return parse_argument


def whole(text: str, least: int) -> int:
    """A whole number; raises ValueError for a smaller one."""
    if not text.isdecimal() or int(text) < least:
        raise ValueError(f"expected a whole number of {least} or more, got {text!r}")
    return int(text)


def policy_names(text: str) -> list[str]:
    """Names with commas between."""
    return check_policies(name.strip() for name in text.split(","))


def simulate(args: argparse.Namespace) -> int:
    """What each policy would make of a folder's files."""
    nbytes = forecast.file_sizes(args.path, args.glob)
    facts = forecast.simulate_folder(nbytes, args.maxbytes, args.policies, args.epochs, args.seed)
    facts = {"path": args.path, "glob": args.glob, **facts}
    show(facts, simulate_lines(facts), args.json)
    if args.plot:
        forecast_plot.save_plot(args.plot, facts, forecast.hit_rate_curves(nbytes, facts))
    return 0


def simulate_lines(facts: Facts) -> list[str]:
    """A simulation, for people. What concerns files and what concerns bytes are tables of their own."""
    reads, read_bytes = [], [("at most", f"{min(1.0, facts['fraction']):.3f}", format_bytes(facts["least_read_bytes"]))]
    for one in facts["policies"]:
        predicted = "-" if one["predicted_hit_rate"] is None else f"{one['predicted_hit_rate']:.3f}"
        reads.append((one["policy"], f"{one['hit_rate']:.3f}", predicted, f"{one['reads']:,.0f}"))
        read_bytes.append((one["policy"], f"{one['byte_hit_rate']:.3f}", format_bytes(one["read_bytes"])))
    named = "" if facts["glob"] == "*" else f" named {facts['glob']}"
    return [
        facts["path"],
        f"  files   {facts['files']:,}{named}, {format_bytes(facts['bytes'])}",
        f"  budget  {format_bytes(facts['maxbytes'])}, {100 * facts['fraction']:.1f} % of that",
        f"  reads   {facts['epochs']} epochs, each a new shuffle; the figures are means per epoch, without the first",
        "",
        *format_table(("policy", "hit rate", "predicted", "reads from storage"), reads),
        "",
        *format_table(("policy", "byte hit rate", "bytes from storage"), read_bytes),
        "",
        "predicted: for many files of equal size. at most: no policy answers more bytes than the cache holds.",
    ]


def show(facts: Facts, lines: Iterable[str], as_json: bool) -> None:
    """Prints the facts, for programs or for people."""
    print(json.dumps(facts, indent=2) if as_json else "\n".join(lines))


def info_lines(facts: Facts) -> list[str]:
    """A store, for people."""
    lines = [
        facts["path"],
        f"  held    {format_bytes(facts['held_bytes'])} of {format_bytes(facts['maxbytes'])} "
        f"({100 * facts['held_share']:.1f} %), "
        f"{plural(facts['entries'], 'value')}",
        f"  beside  {format_bytes(facts['beside_bytes'])} of index and counters",
        f"  begun   {format_age(facts['age_s'])} ago, {format_date(facts['created'])}",
        f"  on      {facts['filesystem'] or 'a file system of unknown type'}, {format_bytes(facts['free_bytes'])} free",
    ]
    for function in facts["functions"]:
        lines += ["", *function_lines(function)]
    return lines


def function_lines(function: Facts) -> list[str]:
    """A function of a store, for people: the processes that called it, the last ones one by one."""
    lines = [f"{function['name']}: {values(function)}"]
    if function["problem"]:
        lines.append(f"  its files cannot be read: {function['problem']}")
    called = [one for one in function["processes"] if one["hits"] + one["misses"]]
    if not called:
        return [*lines, "  not called yet"]
    rows = [("all", "", *figures(function))]
    rows += [(str(one["pid"]), format_date(one["started"]), *figures(one)) for one in called[-MOST_PROCESSES:]]
    header = ("process", "since", "hits", "misses", "hit rate", "s in reads")
    lines += [f"  {line}" for line in format_table(header, rows)]
    if len(called) > MOST_PROCESSES:
        lines.append(f"  and {plural(len(called) - MOST_PROCESSES, 'earlier process', 'earlier processes')} (--json)")
    return lines


def figures(counted: Facts) -> tuple[str, ...]:
    """hits, misses, hit rate and seconds, as text."""
    return f"{counted['hits']:,}", f"{counted['misses']:,}", f"{counted['hit_rate']:.3f}", f"{counted['read_s']:,.2f}"


def values(facts: Facts) -> str:
    """How many are held."""
    return f"{plural(facts['entries'], 'value')} ({format_bytes(facts['held_bytes'])})"


Command = tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]
COMMANDS: dict[str, Command] = {
    "info": ("show what a store holds, and how each process used it", add_store_arguments, info),
    "verify": ("read every entry of a store against its checksum", add_store_arguments, verify),
    "clear": ("forget the values and figures of all functions of a store", add_store_arguments, clear),
    "simulate": ("tell which hit rates policies would have on a folder's files", add_simulate_arguments, simulate),
}

if __name__ == "__main__":
    sys.exit(main())
