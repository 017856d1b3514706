"""What do 8, 64 or 512 hosts read from each other, and from storage, if the data fit in none of them?

    python -m benchmarks.hosts_scale [--hosts N ...] [--data-tb X] [--room-gb X] [--items N] [--json FILE]

On paper, and by `fill_once` itself: hosts in one process read a scaled data set in turns, through tiers whose stores
are in memory. No network: its load follows from who answers. Part of each host's room is its own, a first tier; the
rest it gives to a cluster that all read through.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from typing import Any

from benchmarks.harness.plot import CASE_MARKS, GRID
from benchmarks.harness.rates import percent
from benchmarks.harness.report import Report, Table, main, number
from benchmarks.runs.hosts_scale_run import FIXED, SHUFFLE, Case, Shares, predicted, simulated

SPLITS = ((SHUFFLE, 0.0), (SHUFFLE, 0.5), (FIXED, 0.5), (FIXED, 1.0))  # order, and which part of its room a host keeps
LINKS_GBIT = (10, 25, 100)
COPIES_AFTER = 4096  # calls in a row that were all hits: then what is below is copied up
FEWEST_EPOCHS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the hosts, the data, and the size of the simulation."""
    parser.add_argument("--hosts", type=int, nargs="+", default=(8, 64, 512), metavar="N", help="(default: 8 64 512)")
    parser.add_argument("--data-tb", type=float, default=10.0, metavar="X", help="(default: %(default)s)")
    parser.add_argument("--room-gb", type=float, default=256.0, metavar="X", help="of a host (default: %(default)s)")
    parser.add_argument("--image-kb", type=float, default=110.0, metavar="X", help="(default: %(default)s)")
    parser.add_argument(
        "--per-s", type=float, default=3_000.0, metavar="X", help="images that a host reads (default: %(default)s)"
    )
    parser.add_argument("--items", type=int, default=20_480, metavar="N", help="simulated (default: %(default)s)")
    parser.add_argument("--epochs", type=int, metavar="N", help="(default: until nothing changes)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="(default: %(default)s)")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the shares of each epoch of each case, predicted and simulated."""
    fits = options.room_gb / options.data_tb / 1000
    results = []
    for hosts in options.hosts:
        items = options.items // hosts * hosts
        epochs = options.epochs or FEWEST_EPOCHS + math.ceil(COPIES_AFTER * hosts / items)
        for order, own in SPLITS:
            case = Case(hosts, order, own * fits, (1 - own) * fits)
            shares = simulated(case, items, epochs, options.seed)
            paper = [predicted(case, epoch) for epoch in range(1, epochs + 1)]
            results.append({"case": case, "own": own, "simulated": shares, "predicted": paper})
    return {"cases": results}


def tables(report: Report) -> Iterator[Table]:
    """Make a table of hit rates, one of the bytes on the network, and a few lines of both."""
    yield _short(report)
    yield _rates(report)
    yield _network(report)


def _short(report: Report) -> Table:
    """Compare, for a new shuffle in each epoch, room that is all given to the cluster with half of it."""
    options, rows = report["options"], []
    for result in report["cases"]:
        (hosts, order, *_), found, paper = result["case"], Shares(*result["simulated"][-1]), result["predicted"][-1]
        if order == SHUFFLE:
            limits = [_most_per_s(link, options["image_kb"], Shares(*paper).incoming(hosts)) for link in LINKS_GBIT]
            rates = (f"{1 - Shares(*paper).storage:.3f}", f"{1 - found.storage:.3f}")
            rows.append((str(hosts), _room(result, options), *rates, *limits))
    title = (
        f"Hit rates over {options['data_tb']:g} TB, each epoch a new shuffle, and at how many images/s of "
        f"{options['image_kb']:g} KB on each machine its link is full"
    )
    links = (f"{link} Gbit/s" for link in LINKS_GBIT)
    return Table("short", title, ("machines", "own + cluster, GB each", "predicted", "simulated", *links), rows)


def _rates(report: Report) -> Table:
    options, rows = report["options"], []
    for result in report["cases"]:
        paper, found = ([Shares(*one) for one in result[kind]] for kind in ("predicted", "simulated"))
        apart = max(abs(one.storage - other.storage) for one, other in zip(paper, found, strict=True))
        last = [text for one in (paper[-1], found[-1]) for text in (f"{one.local:.3f}", f"{one.remote:.3f}")]
        rows.append((*_labels(result, options), str(len(found)), *last, f"{1 - found[-1].storage:.3f}", f"{apart:.3f}"))
    title = (
        f"Who answers in the last epoch, {options['data_tb']:g} TB read by hosts with room for {options['room_gb']:g} "
        f"GB each (simulated with {options['items']:,} items)"
    )
    columns = (
        *_COLUMNS, "epochs", "own room: predicted", "cluster: predicted", "own room: simulated", "cluster: simulated",
        "hit rate", "hit rate, largest difference in an epoch",
    )  # fmt: skip
    return Table("rates", title, columns, rows)


def _network(report: Report) -> Table:
    options, rows = report["options"], []
    for result in report["cases"]:
        hosts, shares = result["case"][0], Shares(*result["predicted"][-1])
        bytes_per_s = options["per_s"] * options["image_kb"] * 1e3
        load = (shares.outgoing(hosts), shares.storage, shares.outgoing(hosts))
        most = max(shares.incoming(hosts), shares.outgoing(hosts))
        limits = [_most_per_s(link, options["image_kb"], most) for link in LINKS_GBIT]
        limit = "memory" if shares.storage > 0 else "network" if most else "nothing of both"
        rows.append((*_labels(result, options), *(_mb(part * bytes_per_s) for part in load), *limits, limit))
    title = (
        f"MB/s on each host's network at {options['per_s']:,.0f} images/s of {options['image_kb']:g} KB, and at how "
        "many images/s and host the link is full, if the storage is behind it too"
    )
    columns = (
        *_COLUMNS, "in, from other hosts", "in, from storage", "out, to other hosts",
        *(f"{link} Gbit/s" for link in LINKS_GBIT), "limited by",
    )  # fmt: skip
    return Table("network", title, columns, rows)


_COLUMNS = ("hosts", "order", "own + given, GB")


def _labels(result: Report, options: Report) -> tuple[str, str, str]:
    hosts, order, *_ = result["case"]
    return str(hosts), order, _room(result, options)


def _room(result: Report, options: Report) -> str:
    room = options["room_gb"]
    return f"{result['own'] * room:g} + {(1 - result['own']) * room:g}"


def _mb(bytes_per_s: float) -> str:
    return number(bytes_per_s / 1e6)


def _most_per_s(link_gbit: float, image_kb: float, share: float) -> str:
    """Return how many images per second fill a link, if this share of their bytes comes over it."""
    return number(link_gbit * 1e9 / 8 / (image_kb * 1e3 * share)) if share else "–"


def plot(report: Report, figure: Any) -> None:
    """Draw hit rates over hosts: a line as predicted, and a mark as simulated, for each way of dividing the room."""
    options, axes = report["options"], figure.subplots()
    fits = options["room_gb"] / options["data_tb"] / 1000
    widths = (8, 1.5, 4, 1.5)  # those that lie over each other become thinner
    for (order, own), (mark, color), width in zip(SPLITS, CASE_MARKS.items(), widths, strict=False):
        here = [result for result in report["cases"] if (result["case"][1], result["own"]) == (order, own)]
        epoch, text = len(here[-1]["simulated"]), f"{order}, {percent(own)} of the room its own"
        counts = [2 ** (n / 8) for n in range(81)]
        rates = [1 - predicted(Case(n, order, own * fits, (1 - own) * fits), epoch).storage for n in counts]
        axes.plot(counts, rates, color=color, linewidth=width)
        found = [1 - result["simulated"][-1][2] for result in here]
        axes.plot([result["case"][0] for result in here], found, mark, color=color, label=text, markersize=6 + width)
    alone = [min(1.0, fits)] * 2
    axes.plot((1, 1024), alone, "--", color="#1b1b1e", label="shuffle, all of the room its own")
    axes.set(xscale="log", xlim=(1, 1024), ylim=(0, 1.05), xlabel="hosts", ylabel="hit rate (higher is better)")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(**GRID)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    title = f"{options['data_tb']:g} TB, room for {options['room_gb']:g} GB per host: what share of the reads hits?"
    figure.suptitle(f"{title}\nlines: predicted; marks: simulated")


if __name__ == "__main__":
    main(__doc__ or "", add_arguments, measure, tables, ("numpy",))
