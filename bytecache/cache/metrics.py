"""What a cache counted, as metrics under the names of OpenMetrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..system.text import numbered
from .stats import CacheStats, ServerStats

STATES = ("closed", "open", "half-open")


class Sample(NamedTuple):
    """One number of a metric. name: that of the metric; of a counter, with ``_total`` behind it."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Metric:
    """A name and all that was measured under it: what OpenMetrics calls a metric family.

    type: "counter", which only a clear sets to zero, "gauge", or "stateset", of whose samples with otherwise equal
    labels one is 1 and the others 0. unit: "seconds", "bytes", or empty. help: what it is, in a sentence. samples: at
    least one, all with the same names of labels.
    """

    name: str
    type: str
    unit: str
    help: str
    samples: tuple[Sample, ...]


class _Column(NamedTuple):
    """How a field of counters is shown. name: without the prefix that all have."""

    field: str
    name: str
    type: str
    unit: str
    help: str


_OF_TIER = (
    _Column("hits", "hits", "counter", "", "Calls that a tier has answered."),
    _Column("misses", "misses", "counter", "", "Calls that a tier has left to the next one, or to the function."),
    _Column("stored", "insertions", "counter", "", "Values that were stored in a tier."),
    _Column("rejected", "rejections", "counter", "", "Values for which a tier had no room."),
    _Column("evicted", "evictions", "counter", "", "Values that were removed from a tier."),
    _Column("currsize", "entries", "gauge", "", "Values that are in a tier."),
    _Column("currbytes", "stored_bytes", "gauge", "bytes", "Bytes of the values that are in a tier."),
    _Column("lookup_s", "lookup_seconds", "counter", "seconds", "Seconds of look-ups in a tier behind a network."),
    _Column("maxbytes", "limit_bytes", "gauge", "bytes", "The most bytes of values in a tier, of all who share it."),
)
_OF_FUNCTION = (
    _Column("misses", "loads", "counter", "", "Calls that ran the function."),
    _Column("errors", "load_errors", "counter", "", "Runs of the function that raised."),
    _Column("load_s", "load_seconds", "counter", "seconds", "Seconds spent in the function, summed over threads."),
)
_OF_STAGE = (
    _Column("runs", "stage_runs", "counter", "", "Runs of a stage."),
    _Column("errors", "stage_errors", "counter", "", "Runs of a stage that raised."),
    _Column("hits", "stage_hits", "counter", "", "Calls that went on from the value of a stage, or returned it."),
    _Column("cpu_s", "stage_cpu_seconds", "counter", "seconds", "CPU time of a stage, in this process."),
    _Column("wait_s", "stage_wait_seconds", "counter", "seconds", "Time that a stage has waited, in this process."),
    _Column("currsize", "stage_entries", "gauge", "", "Values that are kept after a stage."),
    _Column("currbytes", "stage_stored_bytes", "gauge", "bytes", "Bytes of the values that are kept after a stage."),
)


def metrics_of(function: str, store: str, stats: CacheStats) -> tuple[Metric, ...]:
    """Return what was counted of a function. store: what to call the only tier, if there are not several."""
    of_function = {"function": function}
    tiers: list[tuple[dict[str, str], Any]] = [({**of_function, "tier": tier.name}, tier) for tier in stats.tiers]
    tiers = tiers or [({**of_function, "tier": store}, stats)]  # which has the same fields
    names = numbered(stage.name for stage in stats.stages)
    stages = [({**of_function, "stage": name}, stage) for name, stage in zip(names, stats.stages, strict=True)]
    found = [
        *_metrics(_OF_TIER, tiers),
        *_metrics(_OF_FUNCTION, [(of_function, stats)]),
        *_metrics(_OF_STAGE, stages),
        _server_state(of_function, stats.servers),
    ]
    return tuple(metric for metric in found if metric.samples)


def _metrics(columns: Sequence[_Column], rows: Sequence[tuple[dict[str, str], Any]]) -> Iterable[Metric]:
    """Yield a metric for each column, with a sample for each row in which it is known."""
    for column in columns:
        name = f"bytecache_{column.name}"
        sample_name = f"{name}_total" if column.type == "counter" else name
        known = [(labels, getattr(row, column.field)) for labels, row in rows]
        samples = tuple(Sample(sample_name, labels, value) for labels, value in known if value is not None)
        yield Metric(name, column.type, column.unit, column.help, samples)


def _server_state(labels: dict[str, str], servers: Sequence[ServerStats]) -> Metric:
    name = "bytecache_server_state"
    samples = tuple(
        Sample(name, {**labels, "server": server.name, name: state}, int(state == server.state))
        for server in servers
        for state in STATES
    )
    return Metric(name, "stateset", "", "Whether a server is asked: closed if so, as of a circuit breaker.", samples)
