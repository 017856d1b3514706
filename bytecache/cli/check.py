"""The command check: which files of a folder can be trained on, and what they are like."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence

from ..images.check import ImageReport, SimilarFiles, check_images
from ..planning.folder import file_paths
from ..system.text import format_patterns, format_table, plural, print_report, printable
from .arguments import add_glob, argparse_type, parse_image_size

MAX_REFUSED_SHOWN, MAX_SIZES_SHOWN = 20, 5  # --json has all
EXIT_REFUSED = 1
_NOTES = {
    "with a remark": "libjpeg warns of what costs no pixel; training reads these, but decodes some two or three times",
    "through Pillow": "libjpeg-turbo does not take these; training reads them through Pillow, most of them more slowly",
    "refused": 'training stops at these files, or skips them with on_error="skip"',
}


def add_check_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command; invalid ones are rejected before the folder is read."""
    add = parser.add_argument
    add("path", metavar="DIR", help="folder whose files, also in subfolders, are checked by content")
    add_glob(parser, "all")
    add(
        "--size",
        metavar="HxW",
        type=argparse_type(parse_image_size),
        help="decode at the scale for training at this height and width, such as 224x224 (default: all pixels)",
    )
    add("--json", action="store_true", help="print all fields as JSON")


def check(args: argparse.Namespace) -> int:
    """Decode every file of a folder, print what was found; return the exit status, EXIT_REFUSED if any is refused."""
    patterns = args.glob or ["*"]
    report = check_images(file_paths(args.path, patterns), size=args.size, progress=True)
    fields = {"path": args.path, "glob": patterns, "size": args.size, **as_fields(report)}
    print_report(fields, format_check(args.path, patterns, args.size, report), args.json)
    return EXIT_REFUSED if report.refused else 0


def as_fields(report: ImageReport) -> dict[str, object]:
    """Return a report as JSON can have it."""
    sizes = [{"height": height, "width": width, "files": files} for (height, width), files in report.sizes.items()]
    return {
        **report._asdict(),
        "remarks": {kind: similar._asdict() for kind, similar in report.remarks.items()},
        "through_pillow": {kind: similar._asdict() for kind, similar in report.through_pillow.items()},
        "refused": [file._asdict() for file in report.refused],
        "sizes": sizes,
    }


def format_check(path: str, patterns: Sequence[str], size: tuple[int, int] | None, report: ImageReport) -> list[str]:
    """Return a report as text: how many files are what, and a table for each that there is."""
    decoded = "all pixels decoded" if size is None else f"decoded at the scale for {size[0]} x {size[1]}"
    counts = {
        "as they are": report.as_they_are,
        "with a remark": sum(similar.files for similar in report.remarks.values()),
        "through Pillow": sum(similar.files for similar in report.through_pillow.values()),
        "refused": len(report.refused),
    }
    lines = [printable(path), f"  {plural(report.files, 'file')}{format_patterns(patterns)}, {decoded}", ""]
    lines += format_table(("read", "files"), [(name, f"{files:,}") for name, files in counts.items()])
    for table in _tables(report):
        lines += ["", *table]
    notes = [f"{name}: {note}" for name, note in _NOTES.items() if counts[name]]
    return [*lines, "", *notes] if notes else lines


def _tables(report: ImageReport) -> Iterator[list[str]]:
    for title, remarks in (("remark", report.remarks), ("through Pillow", report.through_pillow)):
        if remarks:
            yield _format_remarks(title, remarks)
    if report.refused:
        yield _format_refused(report)
    if set(report.orientations) - {1}:
        yield _format_counts("orientation", {str(value): files for value, files in report.orientations.items()})
    if report.sizes:
        yield _format_sizes(report.sizes)
        yield _format_counts("colorspace", report.colorspaces)


def _format_remarks(title: str, remarks: Mapping[str, SimilarFiles]) -> list[str]:
    rows = [(kind, f"{files:,}", printable(example)) for kind, (files, example) in remarks.items()]
    return format_table((title, "files", "example"), rows, text_columns=("example",))


def _format_refused(report: ImageReport) -> list[str]:
    rows = [(printable(path), printable(reason)) for path, reason in report.refused[:MAX_REFUSED_SHOWN]]
    lines = format_table(("refused", "reason"), rows, text_columns=("refused", "reason"))
    if len(report.refused) > MAX_REFUSED_SHOWN:
        lines.append(f"and {len(report.refused) - MAX_REFUSED_SHOWN:,} more (--json)")
    return lines


def _format_sizes(sizes: Mapping[tuple[int, int], int]) -> list[str]:
    shown = {f"{height} x {width}": files for (height, width), files in [*sizes.items()][:MAX_SIZES_SHOWN]}
    lines = _format_counts("height x width", shown)
    if len(sizes) > MAX_SIZES_SHOWN:
        heights, widths = zip(*sizes, strict=True)
        others = plural(len(sizes) - MAX_SIZES_SHOWN, "other size")
        lines.append(
            f"and {others} (--json); heights from {min(heights):,} to {max(heights):,}, "
            f"widths from {min(widths):,} to {max(widths):,}"
        )
    return lines


def _format_counts(title: str, counts: Mapping[str, int]) -> list[str]:
    rows = [(name, f"{files:,}") for name, files in counts.items()]
    return format_table((title, "files"), rows, text_columns=(title,))
