"""``make_data``: write a data set of images, drawn or pasted, into folders named by the number of fish in them."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
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

from .errors import UserError
from .scenes.compose import compose_scene, find_backgrounds, find_stamps
from .scenes.draw import draw_scene
from .scenes.placement import MAX_FISH

MANIFEST = "dataset.json"  # written last: a data set that has it is complete
VERSION = 1  # of the drawings: another version makes another data set
MIN_SIZE_PX = 64
CHUNK = 16  # images per task: few enough that Ctrl-C takes effect soon

Chunk = list[tuple[int, int]]  # (index, number of fish) of each image
Results = Generator[tuple[int, int], None, None]  # (images, bytes) of each chunk written


@dataclass(frozen=True)
class ImageSpec:
    """What all images of a data set have in common."""

    out: Path
    size: int
    seed: int
    quality: int
    stamps: list[Path]
    backgrounds: list[Path]


def run(args: argparse.Namespace) -> None:
    """Make the data set that the options describe, unless it exists already.

    The files depend on the options only, never on the number of workers. Raises UserError if an option is not valid.
    """
    _check_options(args)
    stamps = find_stamps(args.stamps) if args.stamps else []
    backgrounds = find_backgrounds(args.backgrounds) if args.backgrounds else []
    manifest = _make_manifest(args, stamps + backgrounds)
    if _exists(args.out, manifest):
        print(f"{args.images} images are already in {args.out}")
        return
    started = time.perf_counter()
    spec = ImageSpec(args.out, args.size, args.seed, args.quality, stamps, backgrounds)
    counts = draw_counts(args.images, args.max_count, args.seed)
    nbytes = _write_all(spec, counts, args.workers)
    (args.out / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    seconds = time.perf_counter() - started
    mean = nbytes / args.images
    print(f"{args.images} images, {nbytes:,} bytes, {mean:,.0f} bytes per image, {seconds:.1f} s: {args.out}")


def draw_counts(images: int, max_count: int, seed: int) -> list[int]:
    """Draw the number of fish in each image: 0 to `max_count`, all equally likely."""
    return np.random.default_rng(seed).integers(0, max_count + 1, images).tolist()


def write_image(spec: ImageSpec, index: int, count: int) -> int:
    """Draw one image from its own random numbers, save it as a baseline JPEG, and return the number of bytes."""
    rng = np.random.default_rng([spec.seed, index])
    if spec.stamps:
        image = compose_scene(count, spec.size, rng, spec.stamps, spec.backgrounds)
    else:
        image = draw_scene(count, spec.size, rng)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=spec.quality, subsampling="4:2:0")
    path = spec.out / str(count) / f"{index:06d}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.write_bytes(encoded.getbuffer())


def _check_options(args: argparse.Namespace) -> None:
    """Raise UserError if a number is out of range, or if only one of stamps and backgrounds is given."""
    for option, value, minimum, maximum in (
        ("--images", args.images, 1, None),
        ("--size", args.size, MIN_SIZE_PX, None),
        ("--seed", args.seed, 0, None),
        ("--max-count", args.max_count, 0, MAX_FISH),
        ("--quality", args.quality, 1, 95),
        ("--workers", args.workers, 1, None),
    ):
        if value < minimum or (maximum is not None and value > maximum):
            expected = f"at least {minimum}" if maximum is None else f"{minimum} to {maximum}"
            raise UserError(f"{option} must be {expected}, got {value}")
    if bool(args.stamps) != bool(args.backgrounds):
        given, missing = ("--stamps", "--backgrounds") if args.stamps else ("--backgrounds", "--stamps")
        raise UserError(f"--stamps and --backgrounds need each other, got only {given}: add {missing} or omit both")


def _make_manifest(args: argparse.Namespace, sources: list[Path]) -> dict[str, object]:
    """Return the parameters that decide every byte of the data set."""
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


def _exists(out: Path, manifest: dict[str, object]) -> bool:
    """Return whether `out` has this data set; False if it is new or empty. Raises UserError if it has anything else."""
    try:
        empty = not any(out.iterdir())
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        raise UserError(f"--out must be a folder, {out} is a file: choose another --out or remove it") from None
    if empty:
        return False
    try:
        existing = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"--out must be new or empty, {out} has files: choose another --out or remove it") from None
    if existing == manifest:
        return True
    difference = _difference(existing, manifest)
    raise UserError(f"--out {out} has another data set, made {difference}: choose another --out or remove it")


def _difference(existing: object, manifest: dict[str, object]) -> str:
    if not isinstance(existing, dict):
        return "by another program"
    differing = [name for name in manifest if existing.get(name) != manifest[name]]
    return (
        ", ".join(f"with {name} {existing.get(name)} instead of {manifest[name]}" for name in differing)
        or "with extra parameters"
    )


def _write_all(spec: ImageSpec, counts: list[int], workers: int) -> int:
    """Write every image, with progress on stderr, and return the sum of bytes."""
    tasks = list(enumerate(counts))
    chunks = [tasks[start : start + CHUNK] for start in range(0, len(tasks), CHUNK)]
    nbytes = 0
    try:
        workers = min(workers, len(chunks))
        results = _in_this_process(spec, chunks) if workers == 1 else _in_workers(spec, chunks, workers)
        with closing(results), _progress(len(tasks)) as advance:
            for images, written in results:
                nbytes += written
                advance(images)
    except KeyboardInterrupt:
        print(f"\nstopped: {spec.out} is incomplete, remove it before the next run", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenProcessPool as error:
        raise UserError(f"a worker process was killed ({error}): remove {spec.out}, try --workers 1") from error
    except OSError as error:
        raise UserError(f"cannot write into --out {spec.out} ({error}): free some space or choose another") from error
    return nbytes


def _write_chunk(spec: ImageSpec, chunk: Chunk) -> tuple[int, int]:
    """Write the images of a chunk, in a worker; return their number and their bytes."""
    return len(chunk), sum(write_image(spec, index, count) for index, count in chunk)


def _in_this_process(spec: ImageSpec, chunks: list[Chunk]) -> Results:
    return (_write_chunk(spec, chunk) for chunk in chunks)


def _in_workers(spec: ImageSpec, chunks: list[Chunk], workers: int) -> Results:
    # Spawned, not forked: the caller may have loaded a library whose threads do not survive a fork.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    with _sigint_handler(_interrupt_once):  # a second Ctrl-C inside shutdown() would leave it waiting for ever
        try:
            with _sigint_handler(signal.SIG_IGN):  # inherited: the workers started here leave Ctrl-C to their parent
                futures = [pool.submit(_write_chunk, spec, chunk) for chunk in chunks]
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _sigint_handler(handler: Any) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set a handler
        yield
        return
    previous = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _interrupt_once(number: int, frame: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], object]]:
    """Give a function to call with the number of images just written: a tqdm bar, or without tqdm ten lines."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield _print_tenths(total)
    else:
        with tqdm(total=total, unit="image") as bar:
            yield bar.update


def _print_tenths(total: int) -> Callable[[int], None]:
    done = 0

    def advance(images: int) -> None:
        nonlocal done
        before, done = done, done + images
        if 10 * before // total < 10 * done // total:
            print(f"{done} of {total} images", file=sys.stderr)

    return advance
