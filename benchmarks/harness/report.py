"""From measurements to tables: in the terminal and, from the same JSON, in the READMEs."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness.measure import environment

Report = Mapping[str, Any]  # the measurements of a script, as read from JSON
RESULTS = Path(__file__).parents[1] / "results"


class Table(NamedTuple):
    """Rows of text under columns. A README refers to it by the name of its script and its own."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """Return it for a terminal, with aligned columns."""
        cells = [list(self.columns), *map(list, self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
        ]
        return "\n".join([self.title, lines[0], "  ".join("-" * width for width in widths), *lines[1:]])

    def markdown(self) -> str:
        """Return the title and the table in Markdown."""
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
    """Run a script: parse its options, measure, print its tables, and write the measurements if --json asks for it.

    about: the script's docstring. measure: returns what JSON can represent. tables: makes the tables from that, from
    "about" (versions and processor) and from "options". packages: those whose versions are recorded.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements to FILE")
    options = parser.parse_args()
    machine = environment(*packages)
    print(*(f"{name} {value}" for name, value in machine.items()), sep=", ", flush=True)
    recorded = {name: value for name, value in vars(options).items() if name != "json"}
    written = json.dumps({"about": machine, "options": recorded, **measure(options)}, indent=1, default=str) + "\n"
    for table in tables(json.loads(written)):
        print("", table.text(), sep="\n", flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(written, encoding="utf-8")


def spread(summary: Sequence[float], digits: int = 3) -> str:
    """Return a median with the 10th and 90th percentile, which JSON has as a list: `2.15 (2.06 to 2.20)`."""
    median, low, high = (number(value, digits) for value in summary)
    return f"{median} ({low} to {high})"


def number(value: float, digits: int = 3) -> str:
    """Return `digits` significant digits, without an exponent, with thousands separators: `2.15`, `14,600`."""
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, decimals):,.{max(0, decimals)}f}"


def compared(results: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return rows of name, images per second, and ratio to the first."""
    return [(name, number(result["per_s"][0]), spread(result["times"])) for name, result in results.items()]
