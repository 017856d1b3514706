"""Text for people: reports, tables, sizes, times, dates, ages, counts."""

from __future__ import annotations

import json
from collections import Counter
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
    """Return a duration with three digits, or all before the point, in s, ms or µs; below 10 ns it is nothing.

    >>> format_seconds(8.1), format_seconds(0.01234), format_seconds(12_345.6)
    ('8.10 s', '12.3 ms', '12,346 s')
    """
    if seconds < 1e-8:
        return "0 s"
    unit, factor = next(((unit, factor) for unit, factor in _UNITS_OF_TIME if seconds * factor >= 0.9995), ("µs", 1e6))
    number = seconds * factor
    digits = next((digits for digits, most in ((2, 9.995), (1, 99.95)) if number < most), 0)
    return f"{number:,.{digits}f} {unit}"


_UNITS_OF_TIME = (("s", 1.0), ("ms", 1e3))


def format_share(share: float) -> str:
    """Return a part of a whole as a percentage, which is 0 or 100 only if that is exact.

    >>> format_share(0.614), format_share(0.998), format_share(1.0), format_share(0.0004)
    ('61 %', '99.8 %', '100 %', 'below 0.1 %')
    """
    percent = 100 * share
    if 1 <= percent <= 99 or percent == 0 or percent >= 100:
        return f"{percent:.0f} %"
    return "below 0.1 %" if percent < 0.1 else f"{min(percent, 99.9):.1f} %"


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


def numbered(names: Iterable[str]) -> list[str]:
    """Return names that differ: those that were there before with a number, from 2 on."""
    seen = Counter[str]()
    found = []
    for name in names:
        seen[name] += 1
        found.append(f"{name} {seen[name]}" if seen[name] > 1 else name)
    return found


def format_patterns(patterns: Collection[str]) -> str:
    """Return how files are named that match one of these patterns: nothing if all do."""
    return "" if "*" in patterns else f" named {printable(' or '.join(patterns))}"


def printable(text: str) -> str:
    """Return a text in one line that any terminal shows: names of files may have any bytes."""
    return text if text.isprintable() else repr(text)[1:-1]
