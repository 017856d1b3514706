"""From figures to what people read: tables in the terminal, and the same tables in Markdown, from the same JSON."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness.measure import environment

Report = Mapping[str, Any]  # what a script measured, as JSON has it
RESULTS = Path(__file__).parents[1] / "results"


class Table(NamedTuple):
    """Rows of text under columns; a README asks for it by the script's name and its own."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """For a terminal, in columns of equal width."""
        cells = [list(self.columns), *map(list, self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
        ]
        return "\n".join([self.title, lines[0], "  ".join("-" * width for width in widths), *lines[1:]])

    def markdown(self) -> str:
        """The title and the table."""
        rows = [[cell.replace("|", "\\|") for cell in row] for row in self.rows]
        lines = [self.columns, ["---"] * len(self.columns), *rows]
        return "\n".join([f"{self.title}:", "", *("| " + " | ".join(line) + " |" for line in lines)])


Tables = Callable[[Report], Iterable[Table]]


def main(
    about: str,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    measure: Callable[[argparse.Namespace], Mapping[str, Any]],
    tables: Tables,
    packages: Sequence[str],
) -> None:
    """What every script does: reads its options, measures, prints its tables, and writes the figures on --json.

    about: the script's docstring. measure: gives figures that JSON can hold. tables: makes the tables of them, and of
    "about" (versions and processor) and "options". packages: whose versions count.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    machine = environment(*packages)
    print(*(f"{name} {value}" for name, value in machine.items()), sep=", ", flush=True)
    asked = {name: value for name, value in vars(options).items() if name != "json"}
    written = json.dumps({"about": machine, "options": asked, **measure(options)}, indent=1, default=str) + "\n"
    for table in tables(json.loads(written)):
        print("", table.text(), sep="\n", flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(written, encoding="utf-8")


def spread(figures: Sequence[float], digits: int = 3) -> str:
    """A median with the 10th and 90th percentile, which JSON holds as a list: `2.15 (2.06 to 2.20)`."""
    median, low, high = (number(figure, digits) for figure in figures)
    return f"{median} ({low} to {high})"


def number(figure: float, digits: int = 3) -> str:
    """So many significant digits, without an exponent, thousands set off: `2.15`, `14,600`."""
    if figure == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(figure)))
    return f"{round(figure, decimals):,.{max(0, decimals)}f}"
