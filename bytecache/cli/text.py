"""How the command line words things: tables, sizes, dates, ages, counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def format_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of rows under their columns; a column whose last cell begins with a digit stands at the right."""
    cells = [list(columns), *([str(cell) for cell in row] for row in rows)]
    aligned = []
    for column in zip(*cells, strict=True):
        width, side = max(map(len, column)), ">" if column[-1][:1].isdigit() else "<"
        aligned.append([f"{cell:{side}{width}}" for cell in column])
    return ["  ".join(line).rstrip() for line in zip(*aligned, strict=True)]


def format_bytes(nbytes: float) -> str:
    """Bytes in the unit that suits them."""
    units = ("bytes", "KiB", "MiB", "GiB", "TiB")
    power = next((power for power in range(4) if nbytes < 1000 * 1024**power), 4)
    return f"{nbytes / 1024**power:.{min(power, 1)}f} {units[power]}"


def format_date(text: str) -> str:
    """A date of ISO 8601 in UTC, without the letters."""
    return text.replace("T", " ").replace("+00:00", " UTC")


def format_age(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return plural(int(seconds / length), unit)
    return plural(int(seconds), "second")


def plural(count: int, one: str, many: str = "") -> str:
    """A number and what it counts."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
