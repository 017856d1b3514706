"""``bytecache COMMAND`` or ``python -m bytecache COMMAND``: look into shared stores, check them, empty them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence

from . import inspection
from .inspection import Facts

MOST_PROCESSES = 12  # are shown of a function; --json has all
DAMAGED = 1  # exit status of verify; 2 is for what the user must change


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0, 1 where verify found damage, 2 for what the user must change."""
    parser = argparse.ArgumentParser("bytecache", description="Look into the stores that processes share.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (help_text, add_arguments, _) in COMMANDS.items():
        add_arguments(commands.add_parser(name, help=help_text, description=help_text))
    args = parser.parse_args(argv)
    try:
        return COMMANDS[args.command][2](args)
    except (inspection.NoStore, OSError) as problem:
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
    freed = f"{size(facts['freed_bytes'])} of files are gone"
    show(facts, [f"cleared {values(facts)} of {plural(facts['functions'], 'function')}; {freed}"], args.json)
    return 0


def verify(args: argparse.Namespace) -> int:
    """Reads everything; the exit status says whether all of it is as it was written."""
    facts = inspection.verify(args.path)
    damaged = [(one["function"], one["entry"] or "all", one["problem"]) for one in facts["damaged"]]
    read = f"read {plural(facts['entries'], 'entry', 'entries')}, {size(facts['read_bytes'])}"
    if damaged:
        lines = [f"{read}; damaged: {len(damaged):,}", "", *table(("function", "entry", "what is wrong"), damaged)]
    else:
        lines = [f"{read}: all are as they were written"]
    show(facts, lines, args.json)
    return DAMAGED if damaged else 0


def show(facts: Facts, lines: Iterable[str], as_json: bool) -> None:
    """Prints the facts, for programs or for people."""
    print(json.dumps(facts, indent=2) if as_json else "\n".join(lines))


def info_lines(facts: Facts) -> list[str]:
    """A store, for people."""
    lines = [
        facts["path"],
        f"  held    {size(facts['held_bytes'])} of {size(facts['maxbytes'])} ({100 * facts['held_share']:.1f} %), "
        f"{plural(facts['entries'], 'value')}",
        f"  beside  {size(facts['beside_bytes'])} of index and counters",
        f"  begun   {age(facts['age_s'])} ago, {date(facts['created'])}",
        f"  on      {facts['filesystem'] or 'a file system of unknown type'}, {size(facts['free_bytes'])} free",
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
    rows += [(str(one["pid"]), date(one["started"]), *figures(one)) for one in called[-MOST_PROCESSES:]]
    header = ("process", "since", "hits", "misses", "hit rate", "s in reads")
    lines += [f"  {line}" for line in table(header, rows)]
    if len(called) > MOST_PROCESSES:
        lines.append(f"  and {plural(len(called) - MOST_PROCESSES, 'earlier process', 'earlier processes')} (--json)")
    return lines


def figures(counted: Facts) -> tuple[str, ...]:
    """hits, misses, hit rate and seconds, as text."""
    return f"{counted['hits']:,}", f"{counted['misses']:,}", f"{counted['hit_rate']:.3f}", f"{counted['read_s']:,.2f}"


def values(facts: Facts) -> str:
    """How many are held."""
    return f"{plural(facts['entries'], 'value')} ({size(facts['held_bytes'])})"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of rows under their columns; a column whose last cell begins with a digit stands at the right."""
    cells = [list(columns), *([str(cell) for cell in row] for row in rows)]
    aligned = []
    for column in zip(*cells, strict=True):
        width, side = max(map(len, column)), ">" if column[-1][:1].isdigit() else "<"
        aligned.append([f"{cell:{side}{width}}" for cell in column])
    return ["  ".join(line).rstrip() for line in zip(*aligned, strict=True)]


def size(nbytes: float) -> str:
    """Bytes in the unit that suits them."""
    units = ("bytes", "KiB", "MiB", "GiB", "TiB")
    power = next((power for power in range(4) if nbytes < 1000 * 1024**power), 4)
    return f"{nbytes / 1024**power:.{min(power, 1)}f} {units[power]}"


def date(text: str) -> str:
    """A date of ISO 8601 in UTC, without the letters."""
    return text.replace("T", " ").replace("+00:00", " UTC")


def age(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return plural(int(seconds / length), unit)
    return plural(int(seconds), "second")


def plural(count: int, one: str, many: str = "") -> str:
    """A number and what it counts."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


Command = tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]
COMMANDS: dict[str, Command] = {
    "info": ("show what a store holds, and how each process used it", add_store_arguments, info),
    "verify": ("read every entry of a store against its checksum", add_store_arguments, verify),
    "clear": ("forget the values and figures of all functions of a store", add_store_arguments, clear),
}

if __name__ == "__main__":
    sys.exit(main())
