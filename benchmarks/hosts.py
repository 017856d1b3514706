"""How much of a data set do the memories of several hosts together answer?

    python -m benchmarks.hosts [--items N] [--value-bytes B] [--epochs N] [--ways NAME ...] [--seed S] [--json FILE]

Three hosts, network namespaces of this machine joined by a switch (without root: loopback addresses), train on N items
that a fourth one stores behind HTTP and counts. Each has room for N/4 of its own; a cluster of Redis or Valkey with a
node on each has room for N/2 in all. In each epoch every item is read once, by one of the hosts: by a new random one
each time, as DistributedSampler and EpochSampler shuffle, or always by the same, as fixed shards are read.

The bound, for any policy that does not know the next epoch's shuffle, with C items in each host's own memory, R in the
cluster, and H hosts: what the cluster has is a hit whoever reads it, but what a host has itself is one only if that
host is to read it: one time in H if shares are new, so that all H C are worth C. That is (R + C) / N, and with fixed
shares (R + H min(C, N/H)) / N, neither above 1. With new shares that is an expectation, about which epochs vary. R is
what the cluster holds. Hit rates are means over the epochs after the third.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import mean
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness import network
from benchmarks.harness.plot import GRID, OUR_COLOR, REFERENCE_COLOR
from benchmarks.harness.report import Report, Table, main, number
from benchmarks.harness.worker import Process
from benchmarks.runs.host_run import Tiers, make_host
from benchmarks.workloads.counted_storage import serve
from benchmarks.workloads.files import MEMORY, scratch
from benchmarks.workloads.redis_server import redis_servers, why_not

HOSTS = 3
WARMUP = 3  # epochs, in which caches fill
PACKAGES = ("redis", "hiredis")
SHARES = {"new": "a new share in each epoch", "fixed": "the same share in each epoch"}


class Way(NamedTuple):
    """How memory is divided, in parts of the data set: of each host for itself, and of all together in the cluster.

    maxmemory: whether the servers limit it, by all that they need for an entry; else the store does, by its value.
    """

    name: str
    local: float
    remote: float
    maxmemory: bool = False

    def bound(self, shares: str, held: float) -> float:
        """Return the highest hit rate if the cluster holds this part of all items; see above."""
        local = self.local if shares == "new" else HOSTS * min(self.local, 1 / HOSTS)
        return min(1.0, held + local)


WAYS = {
    "own": Way("each host's own memory alone", 1 / 4, 0),
    "cluster": Way("the cluster alone", 0, 1 / 2),
    "both": Way("both: own memory over the cluster", 1 / 4, 1 / 2),
    "maxmemory": Way("both, the cluster's by maxmemory", 1 / 4, 1 / 2, maxmemory=True),
    "all": Way("as much as both, all in the cluster", 0, HOSTS / 4 + 1 / 2),
}
COLORS = dict(zip(WAYS, ("#7a8ba3", "#2a6f97", OUR_COLOR, "#e09f3e", REFERENCE_COLOR), strict=True))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the numbers of items, bytes and epochs, and the seed of the shuffles."""
    parser.add_argument("--items", type=_items, default=3000, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--value-bytes", type=int, default=8192, metavar="B", help="of an item (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=7, metavar="N", help="more than three (default: %(default)s)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="to divide memory (default: all)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="(default: %(default)s)")


def _items(text: str) -> int:
    items = int(text)
    if items < HOSTS or items % HOSTS:
        raise argparse.ArgumentTypeError(f"must be a multiple of the {HOSTS} hosts, got {text}")
    return items


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return for each way, and each kind of shares, what each epoch has brought, and the bound."""
    if why := why_not():
        raise SystemExit(f"benchmarks.hosts needs a server: {why}")
    with ExitStack() as stack:
        hosts = stack.enter_context(network.hosts(HOSTS + 1))
        job = Job(hosts, options, stack)
        cases = [job.run(shares, way) for shares in SHARES for way in options.ways]
    return {"cases": cases, "why_no_namespaces": network.why_not()}


class Job:
    """The processes of a job: storage on the last host, a node of the cluster and a reader on each of the others."""

    def __init__(self, hosts: Sequence[network.Host], options: argparse.Namespace, stack: ExitStack) -> None:
        *self._hosts, far = hosts
        self._options, self._runs = options, 0
        self._folder = stack.enter_context(scratch(MEMORY))
        self._nodes = stack.enter_context(redis_servers(self._hosts))
        with far.entered():
            self._storage = stack.enter_context(Process(serve, far.address, options.value_bytes))
        self._readers = []
        for host in self._hosts:
            with host.entered():
                process = Process(make_host, self._storage.ask("url"), options.value_bytes)
            self._readers.append(stack.enter_context(process))
        self._threads = stack.enter_context(ThreadPoolExecutor(HOSTS))

    def run(self, shares: str, name: str) -> dict[str, Any]:
        """Return what each epoch has brought, from empty caches on."""
        self._runs, way = self._runs + 1, WAYS[name]
        items = self._options.items
        local_bytes, remote_bytes = (int(part * items * self._options.value_bytes) for part in (way.local, way.remote))
        for node in self._nodes:
            node.ask("FLUSHALL")
            used_bytes = node.ask("INFO", "memory")["used_memory"]
            limit = used_bytes + remote_bytes // HOSTS if way.maxmemory else 0
            node.ask("CONFIG", "SET", "maxmemory", limit)
        folders = [str(self._folder / f"{self._runs}-{host}") for host in range(HOSTS)]
        remote = None if way.maxmemory else remote_bytes, self._nodes[0].url, f"run{self._runs}"
        self._ask([Tiers(folder, local_bytes, *remote) for folder in folders])
        epochs = [self._epoch(shares, epoch) for epoch in range(self._options.epochs)]
        # At the begin of each epoch that counts, as the host says that has looked last.
        held = mean(_most(epoch["values"]) for epoch in epochs[WARMUP - 1 : -1]) / items
        return {
            "shares": shares,
            "way": name,
            **way._asdict(),
            "held": held,
            "bound": way.bound(shares, held),
            "epochs": epochs,
        }

    def _ask(self, questions: Sequence[Any]) -> list[Any]:
        """Return what the readers answer, all at the same time."""
        return list(self._threads.map(lambda pair: pair[0].ask(pair[1]), zip(self._readers, questions, strict=True)))

    def _epoch(self, shares: str, epoch: int) -> dict[str, Any]:
        order = _order(shares, epoch, self._options)
        before = [host.traffic() for host in self._hosts]
        answers = self._ask([order[host::HOSTS] for host in range(HOSTS)])
        after = [host.traffic() for host in self._hosts]
        passed = [then and now.since(then) for then, now in zip(before, after, strict=True) if now]
        return {
            "storage_reads": self._storage.ask("requests"),
            "misses": [answer["misses"] for answer in answers],
            "hits": [answer["hits"] for answer in answers],
            "values": [answer["values"] for answer in answers],
            "received_bytes": [one.received for one in passed if one],
            "sent_bytes": [one.sent for one in passed if one],
        }


def _most(values: Sequence[dict[str, int]]) -> int:
    return max(of_host.get("RemoteStore", 0) for of_host in values)


def _order(shares: str, epoch: int, options: argparse.Namespace) -> list[int]:
    """Return the items in the order of an epoch, of which each host reads every third."""
    rng = np.random.default_rng((options.seed, epoch))
    if shares == "new":
        return [int(item) for item in rng.permutation(options.items)]
    rows = np.arange(options.items).reshape(-1, HOSTS)  # a column for each host
    return [int(item) for item in rng.permutation(rows).ravel()]


def tables(report: Report) -> Iterator[Table]:
    """Make a table for each kind of shares: the bound, hit rates, reads from storage, and bytes over the network."""
    options = report["options"]
    columns = (
        "memory", "each host's own, of N", "the cluster's, of N: room; values", "bound", "hit rate", "own memory",
        "cluster", "reads from storage per epoch: the first; later", "received per host, of its share's bytes",
    )  # fmt: skip
    where = "in network namespaces" if not report["why_no_namespaces"] else "at loopback addresses"
    for shares, text in SHARES.items():
        title = (
            f"{HOSTS} hosts {where}, {options['items']:,} items of {options['value_bytes']:,} bytes, {text}; means of "
            f"epochs {WARMUP + 1} to {options['epochs']}"
        )
        rows = [_row(case, options) for case in report["cases"] if case["shares"] == shares]
        yield Table(shares, title, columns, rows)


def hit_rate(epoch: Report, items: int, tier: str = "") -> float:
    """Return the hits per read of an epoch, by what the storage has counted; those of one tier by its counters."""
    if tier:
        return sum(hits.get(tier, 0) for hits in epoch["hits"]) / items
    return 1 - epoch["storage_reads"] / items


def _row(case: Report, options: Report) -> list[str]:
    items, steady = options["items"], case["epochs"][WARMUP:]
    rates = [mean(hit_rate(epoch, items, tier) for epoch in steady) for tier in ("", "SharedStore", "RemoteStore")]
    reads = mean(epoch["storage_reads"] for epoch in steady)
    received = [sum(epoch["received_bytes"]) / (items * options["value_bytes"]) for epoch in steady]
    return [
        case["name"], f"{case['local']:.2f}", f"{case['remote']:.2f}; {case['held']:.3f}", f"{case['bound']:.3f}",
        *(f"{rate:.3f}" for rate in rates),
        f"{case['epochs'][0]['storage_reads']:,}; {reads:,.0f}",
        number(mean(received), 2) if any(received) else "not known",
    ]  # fmt: skip


def plot(report: Report, figure: Any) -> None:
    """Draw the hit rate over the epochs: a panel per kind of shares, a line per way, its bound dashed."""
    figure.set_size_inches(11, 5)
    figure.suptitle(f"How much do the memories of {HOSTS} hosts answer together?")
    panels = figure.subplots(1, len(SHARES), sharey=True)
    for axes, (shares, text) in zip(panels, SHARES.items(), strict=True):
        for case in report["cases"]:
            if case["shares"] == shares:
                rates = [hit_rate(epoch, report["options"]["items"]) for epoch in case["epochs"]]
                color = COLORS[case["way"]]
                axes.plot(range(1, len(rates) + 1), rates, "o-", color=color, label=case["name"], ms=4)
                axes.axhline(case["bound"], color=color, linestyle="--", linewidth=1)
        axes.set(title=text, xlabel="epoch", ylim=(-0.03, 1.05))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(**GRID)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("hits per read (dashed: the bound)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)


if __name__ == "__main__":
    main(__doc__ or "", add_arguments, measure, tables, PACKAGES)
