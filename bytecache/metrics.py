"""What caches have counted, for Prometheus, or for whatever else reads numbers.

Every cached function has ``metrics()``: a tuple of :class:`Metric`, for which no package is needed::

    for metric in read.metrics():
        for name, labels, value in metric.samples:
            writer.add_scalar(f"{name}/{labels.get('tier', '')}", value, epoch)

:func:`openmetrics` makes a text of them, and :func:`collector` has them read whenever Prometheus asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from .cache.cached_function import CachedFunction
from .cache.metrics import Metric, Sample
from .cache.stats import check_scope

__all__ = ["Collector", "Metric", "Sample", "collector", "openmetrics"]
Functions = CachedFunction[..., Any] | Mapping[str, CachedFunction[..., Any]]


def openmetrics(metrics: Iterable[Metric]) -> str:
    """Return metrics, also those of several functions one after the other, as a text in the format of OpenMetrics 1.0.

    It is what Prometheus reads from an address or is sent by way of a gateway, as ``application/openmetrics-text``.
    """
    lines: list[str] = []
    for metric in _merged(metrics):
        lines += [f"# TYPE {metric.name} {metric.type}"]
        lines += [f"# UNIT {metric.name} {metric.unit}"] if metric.unit else []
        lines += [f"# HELP {metric.name} {metric.help}"]
        lines += [f"{name}{_format_labels(labels)} {value}" for name, labels, value in metric.samples]
    return "\n".join([*lines, "# EOF\n"])


def collector(functions: Functions, *, scope: str = "all", registry: Any = None) -> Collector:
    """Register cached functions with prometheus_client, and return what was registered.

    functions: a cached function, or several by the names that they are to have as the label ``function``:
    ``collector({"train": train_read, "val": val_read})``. At each scrape they are asked for ``metrics(scope)``, which
    for a store behind a network is a request. scope: "all" counts what all processes have done that share the values,
    so one of them is to be scraped, such as that of rank 0; "process" is for a scrape of each. registry: the registry;
    None: ``prometheus_client.REGISTRY``. A forked child has a copy of it. Safe for threads.

    Raises ImportError without the prometheus_client package, TypeError for a function that is not cached, and
    ValueError for another scope, and for a registry that has such a collector: one may be unregistered from it.
    """
    try:
        import prometheus_client
    except ImportError:
        raise ImportError(
            "bytecache.metrics.collector needs the prometheus_client package: pip install prometheus_client",
            name="prometheus_client",
        ) from None
    check_scope(scope)
    made = Collector(functions, scope)
    try:
        (prometheus_client.REGISTRY if registry is None else registry).register(made)
    except ValueError as problem:
        raise ValueError(
            "a registry takes one collector of bytecache: give it all functions, by name, as in "
            f'collector({{"train": read, "val": other}}), or unregister the first one ({problem})'
        ) from None
    return made


class Collector:
    """What :func:`collector` registers: ``registry.unregister`` takes it."""

    def __init__(self, functions: Functions, scope: str) -> None:
        """Take what `collector` takes; raise TypeError for a function that is not cached."""
        named = functions.items() if isinstance(functions, Mapping) else [(None, functions)]
        self._functions, self._scope = list(named), scope
        for _, function in self._functions:
            if not hasattr(function, "metrics"):
                raise TypeError(
                    f"expected a cached function, or a dict of such by name, got {function!r:.200}: decorate it with "
                    "@bytecache.fill_once"
                )

    def metrics(self) -> Iterator[Metric]:
        """Return what was counted so far, each metric once, with the samples of all functions."""
        return _merged(
            metric for name, function in self._functions for metric in function.metrics(self._scope, name=name)
        )

    def collect(self) -> Iterator[Any]:
        """Yield the same as prometheus_client has it."""
        from prometheus_client import Metric as PrometheusMetric

        for metric in self.metrics():
            family = PrometheusMetric(metric.name, metric.help, metric.type, metric.unit)
            for sample in metric.samples:
                family.add_sample(*sample)
            yield family

    describe = collect  # so that a registry knows the names, and takes no second one


def _merged(metrics: Iterable[Metric]) -> Iterator[Metric]:
    """Yield each metric once, with the samples of all that have its name."""
    found: dict[str, Metric] = {}
    for metric in metrics:
        before = found.get(metric.name)
        samples = (*before.samples, *metric.samples) if before is not None else metric.samples
        found[metric.name] = replace(metric, samples=samples)
    yield from found.values()


def _format_labels(labels: Mapping[str, str]) -> str:
    escapes = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
    return "{" + ",".join(f'{name}="{text.translate(escapes)}"' for name, text in labels.items()) + "}"
