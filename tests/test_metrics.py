"""Metrics as a text, and as prometheus_client registers and serves them; its own parser reads both."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

import pytest
from helpers.processes import in_child
from helpers.servers import free_port

import bytecache
from bytecache.metrics import Metric, collector, openmetrics

prometheus = pytest.importorskip("prometheus_client", reason="the scrapes are those of prometheus_client")
Stores = Callable[..., bytecache.SharedStore]
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def plain(key: str) -> bytes:
    return key.encode()


def parsed(text: str) -> list[Any]:
    """Return the metrics of an OpenMetrics text, as prometheus_client understands it."""
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    return list(text_string_to_metric_families(text))


def as_set(metrics: Iterable[Any]) -> set[Any]:
    """Return all that metrics say, ours or prometheus_client's."""
    found = set()
    for metric in metrics:
        text = metric.help if isinstance(metric, Metric) else metric.documentation
        for name, labels, value, *_ in metric.samples:
            found.add((metric.name, metric.type, metric.unit, text, name, frozenset(labels.items()), value))
    return found


@contextmanager
def scraped(registry: Any) -> Iterator[Callable[[str], str]]:
    """Serve a registry over HTTP; give a function that scrapes it in a format."""
    server, thread = prometheus.start_http_server(0, "127.0.0.1", registry)

    def scrape(accept: str) -> str:
        request = Request(f"http://127.0.0.1:{server.server_port}/metrics", headers={"Accept": accept})
        with urlopen(request, timeout=60) as response:
            return str(response.read().decode())

    try:
        yield scrape
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def registry() -> Any:
    return prometheus.CollectorRegistry()


def used(stores: Stores) -> dict[str, Any]:
    """Return functions of each kind that were called, by names that have to be escaped."""
    port = free_port()
    functions: dict[str, Any] = {
        "memory": bytecache.fill_once(maxbytes=1000)(plain),
        'of "two"\nstores \\': bytecache.fill_once(store=[stores(), stores()])(plain),
        "staged": bytecache.staged(plain, len, maxbytes=1000),
    }
    pytest.importorskip("redis", minversion="8.0", reason="the extra redis")
    absent = bytecache.RemoteStore(f"redis://127.0.0.1:{port}")
    functions["remote"] = bytecache.fill_once(store=absent)(plain)
    for function in functions.values():
        function.map(["a", "b", "a"], threads=1)
    return functions


def test_the_text_says_what_the_metrics_say(stores: Stores) -> None:
    """Those of several functions are one text, with each name once, and the state of a server as a set of states."""
    metrics = [m for name, function in used(stores).items() for m in function.metrics(name=name)]
    families = parsed(openmetrics(metrics))
    assert len({family.name for family in families}) == len(families)
    assert as_set(families) == as_set(metrics)
    (states,) = (family for family in families if family.type == "stateset")
    assert {s.labels[states.name]: s.value for s in states.samples} == {"closed": 0, "open": 1, "half-open": 0}
    assert parsed(openmetrics([])) == []


def test_a_scrape(stores: Stores, registry: Any) -> None:
    """In both formats of Prometheus it has the numbers of that moment, for each function under its name."""
    functions = used(stores)
    made = collector(functions, registry=registry)
    with scraped(registry) as scrape:
        functions["memory"]("a")
        text = scrape(OPENMETRICS)
        assert as_set(parsed(text)) == as_set(made.metrics())
        assert 'bytecache_hits_total{function="memory",tier="memory"} 2.0' in text
        assert 'bytecache_hits_total{function="memory",tier="memory"} 2.0' in scrape("text/plain")


def test_one_process_tells_what_all_have_counted(stores: Stores, registry: Any) -> None:
    """With scope="process" it tells what it has counted itself."""
    read = bytecache.fill_once(store=stores())(plain)
    read("a"), read("a")
    other = prometheus.CollectorRegistry()
    collector(read, registry=registry), collector(read, scope="process", registry=other)
    in_child(lambda: [read("a"), read("b"), read("b")])
    labels = {"function": f"{__name__}.plain", "tier": "SharedStore"}
    found = [one.get_sample_value("bytecache_hits_total", labels) for one in (registry, other)]
    assert found == [3, 1]


def test_the_usual_registry_takes_one(stores: Stores) -> None:
    """A second one is told the way out; the first can be unregistered."""
    read = bytecache.fill_once(plain)
    made = collector(read)
    try:
        with pytest.raises(ValueError, match=r'give it all functions, by name, as in collector\({"train": read'):
            collector(bytecache.fill_once(plain))
    finally:
        prometheus.REGISTRY.unregister(made)
    prometheus.REGISTRY.unregister(collector({"a": read}))


def test_mistakes() -> None:
    """What is no cached function, or no scope, is refused at once."""
    with pytest.raises(TypeError, match="expected a cached function, or a dict of such by name, got <function plain"):
        collector(plain)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got 3: decorate it"):
        collector({"read": 3})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match='scope must be "process" or "all"'):
        collector(bytecache.fill_once(plain), scope="job")


def test_without_prometheus_client() -> None:
    """The text needs no package; the collector says which it needs."""
    code = """
import sys
sys.modules["prometheus_client"] = None
import bytecache, bytecache.metrics
read = bytecache.fill_once(len)
print(bytecache.metrics.openmetrics(read.metrics()))
bytecache.metrics.collector(read)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'bytecache_hits_total{function="builtins.len",tier="memory"} 0' in done.stdout.splitlines()
    needs = "bytecache.metrics.collector needs the prometheus_client package: pip install prometheus_client"
    assert done.stderr.splitlines()[-1] == f"ImportError: {needs}"
