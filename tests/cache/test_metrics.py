"""``metrics()`` of cached functions: the counters of ``cache_stats()`` under the names of OpenMetrics."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from helpers.processes import in_child

import bytecache
from bytecache.metrics import Metric

Stores = Callable[..., bytecache.SharedStore]


def numbers(metrics: tuple[Metric, ...], tier: str | None = None, stage: str | None = None) -> dict[str, float]:
    """Return the samples of one tier or stage, or of the function, by name without the prefix."""
    samples = [sample for metric in metrics for sample in metric.samples if "server" not in sample.labels]
    found = {s.name: s.value for s in samples if (s.labels.get("tier"), s.labels.get("stage")) == (tier, stage)}
    return {name.removeprefix("bytecache_"): value for name, value in found.items()}


def labels_of(metrics: tuple[Metric, ...], label: str) -> set[str]:
    return {s.labels[label] for metric in metrics for s in metric.samples if label in s.labels}


def failing(key: str) -> bytes:
    if key == "no":
        raise OSError(key)
    return key.encode()


def test_a_cache_in_memory(in_memory: Any) -> None:
    """It is one tier, and the function is named by its module and its name."""
    read = in_memory(maxbytes=80)(failing)
    for key in "a", "b", "c", "a", "no":
        try:
            read(key)
        except OSError:
            pass
    stats = read.cache_stats()
    assert labels_of(read.metrics(), "function") == {f"{__name__}.failing"}
    assert numbers(read.metrics(), "memory") == {
        "hits_total": stats.hits,
        "misses_total": stats.misses,
        "insertions_total": stats.stored,
        "rejections_total": stats.rejected,
        "evictions_total": stats.evicted,
        "entries": stats.currsize,
        "stored_bytes": stats.currbytes,
        "limit_bytes": 80,
        "lookup_seconds_total": 0,
    }
    assert numbers(read.metrics()) == {
        "loads_total": stats.misses,
        "load_errors_total": 1,
        "load_seconds_total": stats.load_s,
    }


def test_what_is_not_measured_is_left_out(in_memory: Any) -> None:
    """Without sizes there are no bytes, without a limit there is none."""
    names = {metric.name for metric in in_memory(str).metrics()}
    assert "bytecache_entries" in names and not names & {"bytecache_stored_bytes", "bytecache_limit_bytes"}


def test_of_several_stores_each_is_a_tier(stores: Stores) -> None:
    """The hits of all tiers are those of the function, and the misses of the last are its runs."""
    read = bytecache.fill_once(store=[stores(1000, "a"), stores(10_000, "b")])(lambda n: bytes(100))
    read.map(range(50)), read.map(range(50))
    first, second = (numbers(read.metrics(), tier.name) for tier in read.cache_stats().tiers)
    assert labels_of(read.metrics(), "tier") == {"SharedStore", "SharedStore 2"}
    assert first["hits_total"] + second["hits_total"] == read.cache_info().hits == 50
    assert second["misses_total"] == numbers(read.metrics())["loads_total"] == 50
    assert (first["limit_bytes"], second["limit_bytes"]) == (1000, 10_000)


def test_the_stages_of_a_staged_function(stores: Stores) -> None:
    """Each has its runs, hits and seconds; together with the tiers they are those of cache_stats."""
    load = bytecache.staged(failing, len, store=stores())
    load.map(["a", "b", "a"])
    for stage in load.cache_stats().stages:
        found = numbers(load.metrics(), stage=stage.name)
        assert (found["stage_runs_total"], found["stage_hits_total"]) == (stage.runs, stage.hits)
        assert found["stage_cpu_seconds_total"] == stage.cpu_s and found["stage_entries"] == stage.currsize
    assert labels_of(load.metrics(), "function") == {f"{__name__}.staged(failing, len)"}
    assert numbers(load.metrics(), "SharedStore")["misses_total"] == 2


def test_stages_with_one_name() -> None:
    """Each has samples of its own, the later ones under a name with a number."""
    load = bytecache.staged(failing, bytes.upper, bytes.upper, maxbytes=1000)
    load("a")
    assert labels_of(load.metrics(), "stage") == {"failing", "upper", "upper 2"}
    keys = [(s.name, *sorted(s.labels.items())) for metric in load.metrics() for s in metric.samples]
    assert len(keys) == len(set(keys))


def test_scope_and_name(stores: Stores) -> None:
    """Those of all processes, or of this one, under the name that is given."""
    read = bytecache.fill_once(store=stores())(failing)
    read("a")
    in_child(lambda: [read("a"), read("b")])
    assert numbers(read.metrics(), "SharedStore")["hits_total"] == 0
    assert numbers(read.metrics("all", name="train"), "SharedStore")["hits_total"] == 1
    assert labels_of(read.metrics(name="train"), "function") == {"train"}
    with pytest.raises(ValueError, match='scope must be "process" or "all"'):
        read.metrics("job")


class Reader:
    @bytecache.fill_once(batched=True)
    def read(self, keys: list[str]) -> list[bytes]:
        return [key.encode() for key in keys]


def test_methods() -> None:
    """Through the class and an instance they are those of all instances; what is uncached counts for itself."""
    one, other = Reader(), Reader()
    one.read("a"), other.read("a"), other.read("a"), other.read.uncached("a")
    for read in (Reader.read, one.read):
        assert labels_of(read.metrics(), "function") == {f"{__name__}.Reader.read"}
        assert numbers(read.metrics(), "memory")["hits_total"] == 1
    assert numbers(one.read.uncached.metrics())["loads_total"] == 1


def test_names_follow_the_rules(stores: Stores) -> None:
    """Of OpenMetrics: counters end in _total, units are the end of the name, labels are the same in all samples."""
    load = bytecache.staged(failing, len, store=[stores(), stores()])
    load("a")
    metrics = load.metrics()
    assert len({metric.name for metric in metrics}) == len(metrics)
    for metric in metrics:
        assert re.fullmatch("bytecache_[a-z]+(_[a-z]+)*", metric.name) and metric.help.endswith(".")
        assert (
            metric.name.endswith(f"_{metric.unit}") if metric.unit else not re.search("_(bytes|seconds)$", metric.name)
        )
        assert {s.name for s in metric.samples} == {metric.name + "_total" * (metric.type == "counter")}
        assert len({tuple(s.labels) for s in metric.samples}) == 1
