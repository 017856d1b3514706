"""The commands on a remote store, which is named by its URL: info and clear."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..stores.remote import admin
from ..stores.remote.admin import RemoteFunctionReport, RemoteReport, ServerReport
from ..stores.remote.connection import PASSWORD_VARIABLE, USER_VARIABLE
from ..system.text import format_bytes, format_table, plural, print_report
from .arguments import Refused

T = TypeVar("T")
DEFAULT_NAMESPACE = "bytecache"


def add_store_argument(parser: argparse.ArgumentParser) -> None:
    """Add what names a store: a path, or a URL and a namespace."""
    parser.add_argument(
        "path",
        metavar="STORE",
        help="folder of a shared store, or URL of a server, such as redis://host:6379; user and password are those "
        f"of the environment, {USER_VARIABLE} and {PASSWORD_VARIABLE}, if the URL has none",
    )
    parser.add_argument("--namespace", metavar="NAME", help=f"of a server (default: {DEFAULT_NAMESPACE})")


def is_url(args: argparse.Namespace) -> bool:
    """Return whether a command is about a remote store; raise Refused for options that do not go with it."""
    url = "://" in args.path
    if not url and getattr(args, "namespace", None) is not None:
        raise Refused("--namespace is for a server: give its URL, such as redis://host:6379, in the place of a path")
    if url and getattr(args, "stale", False):
        raise Refused("--stale is for the folder of a shared store: a server does not know who uses a function")
    return url


def info(args: argparse.Namespace) -> int:
    """Print what a namespace contains, and how its functions and servers did; return the exit status."""
    report = _asked(lambda: admin.describe(args.path, namespace=args.namespace or DEFAULT_NAMESPACE))
    print_report(report, format_info(report), args.json)
    return 0


def clear(args: argparse.Namespace) -> int:
    """Remove the values of all functions of a namespace, or of one name, and print how many; return the exit status."""
    report = _asked(lambda: admin.clear(args.path, args.function, namespace=args.namespace or DEFAULT_NAMESPACE))
    values = f"{plural(report['entries'], 'value')} ({format_bytes(report['currbytes'])})"
    print_report(report, [f"cleared {values} of {plural(report['functions'], 'function')}"], args.json)
    return 0


def _asked(work: Callable[[], T]) -> T:
    """Return what a function returns; raise Refused if its arguments, or the packages here, are not what it needs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a server that evicts: the report says so
        try:
            return work()
        except (ImportError, ValueError) as problem:
            raise Refused(str(problem)) from None


def format_info(report: RemoteReport) -> list[str]:
    """Return a report as text: the namespace, its servers, its functions."""
    used = f"{format_bytes(report['currbytes'])}, {plural(report['entries'], 'value')}"
    lines = [f"{report['url']}, namespace {report['namespace']}", f"  used  {used}", ""]
    answering = [server for server in report["servers"] if server["problem"] is None]
    columns = ("server", "engine", "keys", "memory", "of", "policy", "hits", "misses", "hit rate", "evicted")
    lines += format_table(columns, map(_format_server, answering), text_columns=("server",)) if answering else []
    lines += [f"{server['name']} does not answer: {server['problem']}" for server in report["servers"]
              if server["problem"] is not None]  # fmt: skip
    lines += [
        f"{server['name']} removes values when its memory is full: set its maxmemory-policy to noeviction"
        for server in answering
        if server["policy"].startswith("allkeys-")
    ]
    return [*lines, "", *_format_functions(report["functions"])]


def _format_functions(functions: Sequence[RemoteFunctionReport]) -> list[str]:
    if not functions:
        return ["no function has stored anything in this namespace"]
    header = ("function", "values", "bytes", "hits", "misses", "hit rate", "load s")
    lines = format_table(header, map(_format_function, functions), text_columns=("function",))
    if any(map(_is_a_lower_tier, functions)):
        lines += ["", "-: counted in the store above this one, by each machine"]
    return lines


def _is_a_lower_tier(function: RemoteFunctionReport) -> bool:
    """Return whether values were stored by calls that another store has counted."""
    return function["stored"] > function["misses"]


def _format_function(function: RemoteFunctionReport) -> tuple[str, ...]:
    calls = f"{function['misses']:,}", f"{function['hit_rate']:.3f}", f"{function['load_s']:,.2f}"
    shown = ("-", "-", "-") if _is_a_lower_tier(function) else calls
    values = f"{function['entries']:,}", format_bytes(function["currbytes"]), f"{function['hits']:,}"
    return (function["name"], *values, *shown)


def _format_server(server: ServerReport) -> tuple[str, ...]:
    limit = format_bytes(server["maxmemory_bytes"]) if server["maxmemory_bytes"] else "no limit"
    numbers = f"{server['hits']:,}", f"{server['misses']:,}", f"{server['hit_rate']:.3f}", f"{server['evicted']:,}"
    used = f"{server['keys']:,}", format_bytes(server["used_bytes"]), limit
    return (server["name"], server["engine"], *used, server["policy"], *numbers)
