"""Write the measurements into the tables of both READMEs, and draw a plot per question.

    python -m benchmarks.publish [--check]

Every FILE.json in benchmarks/results was written by the script of that name, FILE-MORE.json by the same script with
other options. Its tables replace what is between `<!-- table FILE.NAME -->` and `<!-- end -->` in a README, and its
plot is drawn next to it. With --check nothing is written: it fails if a README differs from the results.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness.report import RESULTS, Report

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "benchmarks" / "README.md")
BLOCK = re.compile(r"(?<=<!-- table )([\w.-]+) -->\n.*?(?=<!-- end -->)", re.DOTALL)


def reports() -> dict[str, Report]:
    """Return the reports in the results folder, by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}


def module(script: str) -> Any:
    """Return the script that wrote a report: it has `tables`, and may have `plot`."""
    return importlib.import_module(f"benchmarks.{script.partition('-')[0]}")


def blocks(measured: dict[str, Report]) -> dict[str, str]:
    """Return the contents of all blocks by name: every table, and the machine."""
    contents = {"machine": machine(measured)}
    for script, report in measured.items():
        for table in module(script).tables(report):
            contents[f"{script}.{table.name}"] = table.markdown()
    return contents


def machine(measured: dict[str, Report]) -> str:
    """Return versions and processor, each once; all of them if the scripts ran with different ones."""
    seen: dict[str, list[str]] = {}
    for report in measured.values():
        for name, value in report["about"].items():
            if value not in seen.setdefault(name, []):
                seen[name].append(value)
    return ", ".join(f"{name} {' / '.join(values)}" for name, values in seen.items())


def filled(page: str, contents: dict[str, str]) -> str:
    """Return the page with its blocks filled; a table without measurements says how to make them."""

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]} -->\n\n{contents.get(match[1]) or unmeasured(match[1])}\n\n"

    return BLOCK.sub(fill, page)


def unmeasured(name: str) -> str:
    """Return what stands for a table that has not been measured. Raises ImportError if there is no such script."""
    report, _, table = name.partition(".")
    module(report)
    return f"*{table}: not measured yet, see `python -m benchmarks.{report.partition('-')[0]} --help`.*"


def draw(script: str, report: Report, folder: Path) -> None:
    """Draw a report's plot into a folder, if its script has one."""
    plot = getattr(module(script), "plot", None)
    if plot is None:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    plot(report, figure)
    figure.savefig(folder / f"{script}.png", dpi=110)


def differences(measured: dict[str, Report], contents: dict[str, str]) -> Iterator[str]:
    """Yield what differs from the results."""
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    for page, text in texts.items():
        if filled(text, contents) != text:
            yield f"{page.relative_to(ROOT)} differs from benchmarks/results: run python -m benchmarks.publish"
    for name in contents:
        if not any(f"<!-- table {name} -->" in text for text in texts.values()):
            yield f"the table {name} is in no README"
    plots = {script for script in measured if hasattr(module(script), "plot")}
    for script in plots ^ {path.stem for path in RESULTS.glob("*.png")}:
        yield f"benchmarks/results/{script}.png must exist if {script}.json does and its script draws, else not"


def main() -> None:
    """Write or check all pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is not up to date")
    options = parser.parse_args()
    measured = reports()
    contents = blocks(measured)
    if options.check:
        sys.exit("\n".join(differences(measured, contents)) or 0)
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8"), contents), encoding="utf-8")
    for script, report in measured.items():
        draw(script, report, RESULTS)


if __name__ == "__main__":
    main()
