"""Writes what was measured where people read it: the tables of both READMEs, and a picture per question.

    python -m benchmarks.publish [--check]

Every FILE.json in benchmarks/results was written by the script of that name, FILE-MORE.json by the same with other
options. Its figures replace what stands in a README between `<!-- table FILE.NAME -->` and `<!-- end -->`, and its
picture is drawn beside it. With --check nothing is written: it fails where a README says anything else.
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
    """What each script measured, by its name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}


def module(script: str) -> Any:
    """The script that wrote a file, with its `tables` and perhaps a `plot`."""
    return importlib.import_module(f"benchmarks.{script.partition('-')[0]}")


def blocks(measured: dict[str, Report]) -> dict[str, str]:
    """What may stand in a README, by name: every table, and the machine it was measured on."""
    found = {"machine": machine(measured)}
    for script, report in measured.items():
        for table in module(script).tables(report):
            found[f"{script}.{table.name}"] = table.markdown()
    return found


def machine(measured: dict[str, Report]) -> str:
    """Versions and processor, each once; where scripts ran on several, all of them."""
    seen: dict[str, list[str]] = {}
    for report in measured.values():
        for name, value in report["about"].items():
            if value not in seen.setdefault(name, []):
                seen[name].append(value)
    return ", ".join(f"{name} {' / '.join(values)}" for name, values in seen.items())


def filled(page: str, found: dict[str, str]) -> str:
    """The page with the figures in their places. Raises KeyError for a table that no script makes."""
    return BLOCK.sub(lambda match: f"{match[1]} -->\n\n{found[match[1]]}\n\n", page)


def draw(script: str, report: Report, folder: Path) -> None:
    """The picture of a script that has one, into a folder."""
    plot = getattr(module(script), "plot", None)
    if plot is None:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    plot(report, figure)
    figure.savefig(folder / f"{script}.png", dpi=110)


def wrong(measured: dict[str, Report], found: dict[str, str]) -> Iterator[str]:
    """What is not as the figures say."""
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    for page, text in texts.items():
        if filled(text, found) != text:
            yield f"{page.relative_to(ROOT)} has other figures than benchmarks/results"
    for name in found:
        if not any(f"<!-- table {name} -->" in text for text in texts.values()):
            yield f"the table {name} is in no README"
    pictures = {script for script in measured if hasattr(module(script), "plot")}
    for script in pictures ^ {path.stem for path in RESULTS.glob("*.png")}:
        yield f"benchmarks/results/{script}.png must be there if the script draws one and was run"


def main() -> None:
    """Writes or checks all pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page is not up to date")
    options = parser.parse_args()
    measured = reports()
    found = blocks(measured)
    if options.check:
        sys.exit("\n".join(wrong(measured, found)) or 0)
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8"), found), encoding="utf-8")
    for script, report in measured.items():
        draw(script, report, RESULTS)


if __name__ == "__main__":
    main()
