"""The command plan: what of a folder's images to keep in a budget, as encoded bytes or as arrays."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..cache.bulk import READ_THREADS
from ..images.batch import decode_batch
from ..images.formats import decode_image
from ..planning.folder import IMAGE_PATTERNS, paths_and_sizes
from ..planning.folder_plan import FolderPlan, plan_folder
from ..planning.workload import Concurrency
from ..stores.values import sizeof
from ..system.byte_sizes import parse_size
from ..system.text import format_bytes, format_patterns, format_table, print_report, printable
from ..system.threads import cpu_count
from .arguments import add_glob, argparse_type, find_files, parse_image_size
from .plan_plot import save_plan_plot
from .plot import check_path

MAX_REFUSED_SHOWN = 20  # --json has all


def add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command; invalid ones are rejected before the folder is read."""
    add = parser.add_argument
    add("path", metavar="DIR", help="folder whose images, also in subfolders, are read once per epoch")
    help_text = 'memory for the cache, such as "2 GiB"'
    add("--maxbytes", metavar="SIZE", type=argparse_type(parse_size), required=True, help=help_text)
    help_text = "height and width to which images are resized, such as 224x224 (default: arrays of all pixels)"
    add("--size", metavar="HxW", type=argparse_type(parse_image_size), help=help_text)
    help_text = (
        "what a read waits for, such as 20 for an object store, 0 for files in the page cache (default: measured)"
    )
    add("--read-ms", metavar="MS", type=argparse_type(parse_milliseconds), help=help_text)
    add_glob(parser, "the endings of images; '*' means all files")
    add("--plot", metavar="FILE", type=argparse_type(check_path), help="plot epoch over budget: png, svg, pdf")
    add("--json", action="store_true", help="print all fields as JSON")


def parse_milliseconds(text: str) -> float:
    """Return a number of milliseconds, 0 or more; raise ValueError for another text."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError(f"expected milliseconds, 0 or more, such as 20, got {text!r}")
    return number


def plan(args: argparse.Namespace) -> int:
    """Measure a sample of a folder's images; print, and plot if asked, what to keep of them; return the exit status."""
    paths, nbytes = find_files(paths_and_sizes, args.path, args.glob)
    decoder = Decoder(args.size)
    found = plan_folder(
        paths,
        nbytes,
        [("read", read_file), (decoder.name, decoder)],
        args.maxbytes,
        Concurrency(cpu_count(), READ_THREADS, overlapped=True),  # as an ImageDataset reads and decodes
        sizeof=sizeof,
        read_s=None if args.read_ms is None else args.read_ms / 1000,
        progress=True,
    )
    forms = ("encoded" if decoder.others else "as JPEG", "as arrays")
    if args.plot:  # first: a reader of the text may close the pipe
        save_plan_plot(args.plot, found, forms)
    print_report(as_fields(args, found, forms), format_plan(args, found, forms), args.json)
    return 0


def read_file(path: str) -> bytes:
    """Return the bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


class Decoder:
    """A decoder of images of any format, resized if there is a `size`, as an ImageDataset decodes them.

    others: how many of its images were no JPEG.
    """

    def __init__(self, size: tuple[int, int] | None) -> None:
        self._size, self.others = size, 0
        self.name = "decode" if size is None else f"decode and resize to {size[0]}x{size[1]}"

    def __call__(self, data: bytes) -> NDArray[np.uint8]:
        if self._size is None:
            image = decode_image(data)
        else:
            image = decode_batch([data], size=self._size, threads=1)[0]
        self.others += data[:2] != b"\xff\xd8"
        return image


def as_fields(args: argparse.Namespace, found: FolderPlan, forms: Sequence[str]) -> dict[str, object]:
    """Return a plan as JSON can have it."""
    budgets = found.budgets()
    return {
        "path": args.path,
        "glob": args.glob or list(IMAGE_PATTERNS),
        "size": args.size,
        "read_ms": args.read_ms,
        "files": found.files,
        "bytes": found.nbytes,
        "decoded_bytes": found.bytes_after(1),
        "sampled": found.sampled,
        "refused": [{"path": path, "reason": reason} for path, reason in found.refused],
        **found.plan.to_dict(),
        "advice": found.plan.advice("files", forms),
        "curve": {"budgets": budgets, **found.plan.curve(budgets)},
    }


def format_plan(args: argparse.Namespace, found: FolderPlan, forms: Sequence[str]) -> list[str]:
    """Return a plan as text."""
    named = format_patterns(args.glob) if args.glob else " with the ending of an image"
    decoded = "decoded" if args.size is None else f"as arrays of {args.size[0]}x{args.size[1]}"
    waits = "reads waiting for the storage" if args.read_ms is None else f"each read waiting for {args.read_ms:g} ms"
    refused = f", {len(found.refused):,} refused" if found.refused else ""
    lines = [
        printable(args.path),
        f"  files   {found.files:,}{named}",
        f"  bytes   {format_bytes(found.nbytes)}, {decoded} {format_bytes(found.bytes_after(1))}",
        f"  sample  {found.sampled:,} of them{refused}, {waits}",
        "",
        *found.plan.report("files", forms),
    ]
    if found.refused:
        shown = [(printable(path), printable(reason)) for path, reason in found.refused[:MAX_REFUSED_SHOWN]]
        lines += ["", *format_table(("refused", "reason"), shown, text_columns=("refused", "reason"))]
        if len(found.refused) > len(shown):
            lines.append(f"and {len(found.refused) - len(shown):,} more (--json)")
    return [*lines, "", *_NOTES]


_NOTES = (
    "an epoch takes: to read and decode, each one after the first; hits are taken to cost nothing",
    "fill_once after ...: what comes first is kept, as much as fits",
    "staged: as ImageDataset(maxbytes=) keeps images; bound: no cache of this budget takes less",
)
