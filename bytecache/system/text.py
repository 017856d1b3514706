"""Text for people: reports, tables, sizes, times, dates, ages, counts."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence


def print_report(report: Mapping[str, object], lines: Iterable[str], as_json: bool) -> None:
    """Print a report as JSON, or the lines that say the same to people."""
    print(json.dumps(report, indent=2) if as_json else "\n".join(lines))


def format_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], text_columns: Collection[str] = ()
) -> list[str]:
    """Return the lines of a table; a column whose last cell begins with a digit is aligned to the right.

    text_columns: those that are aligned to the left, whatever they begin with.
    """
    cells = [list(columns), *([str(cell) for cell in row] for row in rows)]
    aligned = []
    for column in zip(*cells, strict=True):
        numbers = column[-1][:1].isdigit() and column[0] not in text_columns
        width, side = max(map(len, column)), ">" if numbers else "<"
        aligned.append([f"{cell:{side}{width}}" for cell in column])
    return ["  ".join(line).rstrip() for line in zip(*aligned, strict=True)]


def format_bytes(nbytes: float) -> str:
    """Return bytes in a unit that leaves at most three digits before the point, up to TiB."""
    units = ("bytes", "KiB", "MiB", "GiB", "TiB")
    power = next((power for power in range(4) if nbytes < 1000 * 1024**power), 4)
    return f"{nbytes / 1024**power:.{min(power, 1)}f} {units[power]}"


def format_seconds(seconds: float) -> str:
    """Return a duration with three digits in the largest unit of which it has one, down to microseconds."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:,.{max(0, 2 - len(str(int(seconds * factor))) + 1)}f} {unit}"
    return f"{seconds * 1e6:.3g} µs" if seconds else "0 s"


def format_date(text: str) -> str:
    """Return an ISO 8601 date in UTC without its letters."""
    return text.replace("T", " ").replace("+00:00", " UTC")


def format_age(seconds: float) -> str:
    """Return a duration in the largest unit of which it has two."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return plural(int(seconds / length), unit)
    return plural(int(seconds), "second")


def plural(count: int, one: str, many: str = "") -> str:
    """Return a number and what it counts."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def format_patterns(patterns: Collection[str]) -> str:
    """Return how files are named that match one of these patterns: nothing if all do."""
    return "" if "*" in patterns else f" named {printable(' or '.join(patterns))}"


def printable(text: str) -> str:
    """Return a text in one line that any terminal shows: names of files may have any bytes."""
    return text if text.isprintable() else repr(text)[1:-1]
