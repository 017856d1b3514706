"""`make_data`: write a set of pictures, drawn or pasted, into folders named after the number of fish in them."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from .compose import compose_scene, find_backgrounds, find_stamps
from .placement import MOST_FISH
from .problem import Problem
from .scene import draw_scene

FINISHED = "dataset.json"
VERSION = 1  # of the drawings: a set made by another version is another set
SMALLEST_PX = 64
CHUNK = 16  # pictures per task: few enough that Ctrl-C is heard soon

Chunk = list[tuple[int, int]]  # (index, number of fish) of each picture
Results = Generator[tuple[int, int], None, None]  # (pictures, bytes) of each chunk written


@dataclass(frozen=True)
class Job:
    """What every picture of a set has in common."""

    out: Path
    size: int
    seed: int
    quality: int
    stamps: list[Path]
    backgrounds: list[Path]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `make_data` to its parser."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make: DIR/COUNT/NAME.jpg")
    parser.add_argument("--images", type=int, default=1800, metavar="N", help="number of pictures (%(default)s)")
    parser.add_argument("--size", type=int, default=256, metavar="PX", help="width and height (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same bytes (%(default)s)")
    parser.add_argument("--max-count", type=int, default=20, metavar="N", help="most fish in a picture (%(default)s)")
    parser.add_argument("--quality", type=int, default=90, metavar="Q", help="JPEG quality, 1 to 95 (%(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (%(default)s)")
    parser.add_argument("--stamps", type=Path, metavar="DIR", help="paste these PNG cut-outs instead of drawn fish")
    parser.add_argument("--backgrounds", type=Path, metavar="DIR", help="photographs to paste the cut-outs over")


def run(args: argparse.Namespace) -> None:
    """Make the set that the options describe, or say that it is already there.

    The files depend on the options only, never on the number of workers. Raises Problem for options that cannot be met.
    """
    _check(args)
    stamps = find_stamps(args.stamps) if args.stamps else []
    backgrounds = find_backgrounds(args.backgrounds) if args.backgrounds else []
    wanted = _describe(args, stamps + backgrounds)
    if _is_there(args.out, wanted):
        print(f"already there: {args.images} images in {args.out}")
        return
    started = time.perf_counter()
    job = Job(args.out, args.size, args.seed, args.quality, stamps, backgrounds)
    counts = draw_counts(args.images, args.max_count, args.seed)
    nbytes = _write_all(job, counts, args.workers)
    (args.out / FINISHED).write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
    seconds = time.perf_counter() - started
    mean = nbytes / args.images
    print(f"{args.images} images, {nbytes:,} bytes, {mean:,.0f} bytes per image, {seconds:.1f} s: {args.out}")


def draw_counts(images: int, max_count: int, seed: int) -> list[int]:
    """The number of fish in each picture: 0 to `max_count`, all equally likely."""
    return np.random.default_rng(seed).integers(0, max_count + 1, images).tolist()


def write_image(job: Job, index: int, count: int) -> int:
    """Draw one picture from its own random numbers, save it as a baseline JPEG, and return the number of bytes."""
    rng = np.random.default_rng([job.seed, index])
    if job.stamps:
        image = compose_scene(count, job.size, rng, job.stamps, job.backgrounds)
    else:
        image = draw_scene(count, job.size, rng)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=job.quality, subsampling="4:2:0")
    path = job.out / str(count) / f"{index:06d}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.write_bytes(encoded.getbuffer())


def _check(args: argparse.Namespace) -> None:
    """Validate at the door: every number, and that stamps and backgrounds come together."""
    for option, value, least, most in (
        ("--images", args.images, 1, None),
        ("--size", args.size, SMALLEST_PX, None),
        ("--seed", args.seed, 0, None),
        ("--max-count", args.max_count, 0, MOST_FISH),
        ("--quality", args.quality, 1, 95),
        ("--workers", args.workers, 1, None),
    ):
        if value < least or (most is not None and value > most):
            span = f"at least {least}" if most is None else f"{least} to {most}"
            raise Problem(f"{option} must be {span}, got {value}")
    if bool(args.stamps) != bool(args.backgrounds):
        given, missing = ("--stamps", "--backgrounds") if args.stamps else ("--backgrounds", "--stamps")
        raise Problem(f"--stamps and --backgrounds belong together, got {given} only: add {missing} or leave both out")


def _describe(args: argparse.Namespace, sources: list[Path]) -> dict[str, object]:
    """The parameters that decide every byte of the set."""
    names = "".join(f"{path.name} {path.stat().st_size}\n" for path in sources)
    return {
        "version": VERSION,
        "images": args.images,
        "size": args.size,
        "seed": args.seed,
        "max_count": args.max_count,
        "quality": args.quality,
        "sources": hashlib.sha256(names.encode()).hexdigest() if sources else None,
    }


def _is_there(out: Path, wanted: dict[str, object]) -> bool:
    """Is this very set finished in `out`? False for a free place; Problem for anything else."""
    try:
        taken = any(out.iterdir())
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        raise Problem(f"--out must name a folder, got the file {out}: choose another --out or remove it") from None
    if not taken:
        return False
    try:
        found = json.loads((out / FINISHED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise Problem(f"--out must be new or empty, {out} holds files: choose another --out or remove it") from None
    if found == wanted:
        return True
    how = _difference(found, wanted)
    raise Problem(f"--out {out} holds another set, made {how}: choose another --out or remove it")


def _difference(found: object, wanted: dict[str, object]) -> str:
    if not isinstance(found, dict):
        return "by something else"
    differing = [name for name in wanted if found.get(name) != wanted[name]]
    return ", ".join(f"with {name} {found.get(name)} instead of {wanted[name]}" for name in differing) or "otherwise"


def _write_all(job: Job, counts: list[int], workers: int) -> int:
    """Write every picture, with progress on stderr, and return the sum of bytes."""
    tasks = list(enumerate(counts))
    chunks = [tasks[start : start + CHUNK] for start in range(0, len(tasks), CHUNK)]
    nbytes = 0
    try:
        results = _in_turn(job, chunks) if workers == 1 else _in_processes(job, chunks, min(workers, len(chunks)))
        with closing(results), _progress(len(tasks)) as advance:
            for images, written in results:
                nbytes += written
                advance(images)
    except KeyboardInterrupt:
        print(f"\nstopped: {job.out} is unfinished, remove it before the next run", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenProcessPool as error:
        raise Problem(f"a worker process was killed ({error}): remove {job.out}, try --workers 1") from error
    except OSError as error:
        raise Problem(f"could not write into --out {job.out} ({error}): make room or choose another") from error
    return nbytes


def _write_chunk(job: Job, chunk: Chunk) -> tuple[int, int]:
    """Runs in a worker: the number of pictures written and their bytes."""
    return len(chunk), sum(write_image(job, index, count) for index, count in chunk)


def _in_turn(job: Job, chunks: list[Chunk]) -> Results:
    return (_write_chunk(job, chunk) for chunk in chunks)


def _in_processes(job: Job, chunks: list[Chunk], workers: int) -> Results:
    # Spawned, not forked: the caller may have loaded a library whose threads do not survive a fork.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    with _on_ctrl_c(_hear_once):  # a second Ctrl-C inside shutdown() would leave it waiting for ever
        try:
            with _on_ctrl_c(signal.SIG_IGN):  # inherited: the processes started here leave Ctrl-C to their parent
                futures = [pool.submit(_write_chunk, job, chunk) for chunk in chunks]
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _on_ctrl_c(handler: Any) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set a handler
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _hear_once(number: int, frame: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], object]]:
    """A function to call with the number of pictures just made: a tqdm bar, or a line every tenth without tqdm."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield _tenths(total)
    else:
        with tqdm(total=total, unit="image") as bar:
            yield bar.update


def _tenths(total: int) -> Callable[[int], None]:
    done = 0

    def advance(images: int) -> None:
        nonlocal done
        before, done = done, done + images
        if 10 * before // total < 10 * done // total:
            print(f"{done} of {total} images", file=sys.stderr)

    return advance
