"""The commands on a store: info, verify, clear, of which remote has those for URLs; and on those of runs: ls, sweep."""

from __future__ import annotations

import argparse

from ..stores.shared import admin, run_folder
from ..stores.shared.reports import ClearReport, CounterReport, FunctionReport, StoreReport
from ..stores.tiered.reports import TieredReport, join_tiers
from ..system.text import format_age, format_bytes, format_date, format_table, plural, print_report
from . import remote
from .arguments import Refused

MAX_PROCESSES_SHOWN = 12  # of a function; --json has all
EXIT_DAMAGED = 1


def add_verify_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``verify``."""
    parser.add_argument("path", metavar="PATH", help="folder of a shared store")
    parser.add_argument("--json", action="store_true", help="print all fields as JSON")


def add_info_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``info``."""
    remote.add_store_argument(parser)
    parser.add_argument("--json", action="store_true", help="print all fields as JSON")


def add_clear_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``clear``."""
    add_info_arguments(parser)
    parser.add_argument("--function", metavar="NAME", help="only the functions of this name, as info shows it")
    parser.add_argument(
        "--stale",
        action="store_true",
        help="only functions that no running process uses (those of other containers cannot be seen); if no process "
        "uses any, all but the version of each name that was used last",
    )


def info(args: argparse.Namespace) -> int:
    """Print what a store contains and how it was used; return the exit status."""
    if remote.is_url(args):
        return remote.info(args)
    report = admin.describe(args.path)
    print_report(report, format_info(report), args.json)
    return 0


def verify(args: argparse.Namespace) -> int:
    """Read every entry of a store and print what is damaged; return the exit status, EXIT_DAMAGED if anything is."""
    if remote.is_url(args):
        raise Refused(
            "verify reads the files of a shared store, got a URL: each entry of a server is checked against its "
            "checksum whenever it is read, and a damaged one is a miss"
        )
    report = admin.verify(args.path)
    damaged = [(entry["function"], entry["entry"] or "all", entry["problem"]) for entry in report["damaged"]]
    lines = [f"read {plural(report['entries'], 'entry', 'entries')}, {format_bytes(report['read_bytes'])}: "]
    if damaged:
        lines[0] += f"{len(damaged):,} damaged"
        lines += ["", *format_table(("function", "entry", "problem"), damaged)]
    else:
        lines[0] += "all match their checksums"
    print_report(report, lines, args.json)
    return EXIT_DAMAGED if damaged else 0


def clear(args: argparse.Namespace) -> int:
    """Remove the values of all functions of a store, or of some, and print how many; return the exit status."""
    if remote.is_url(args):
        return remote.clear(args)
    report = admin.clear(args.path, args.function, args.stale)
    functions, freed = plural(report["functions"], "function"), format_bytes(report["freed_bytes"])
    print_report(report, [f"cleared {format_values(report)} of {functions}, freed {freed}"], args.json)
    return 0


def add_runs_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a command on the stores of all runs."""
    parser.add_argument("--json", action="store_true", help="print all fields as JSON")


def ls(args: argparse.Namespace) -> int:
    """Print the stores of all runs on this machine; return the exit status."""
    report = run_folder.list_runs()
    states = {True: "live", False: "dead", None: "unknown"}
    rows = [
        (run["path"], run["user"], states[run["live"]], format_age(run["age_s"]), format_bytes(run["nbytes"]))
        for run in report["stores"]
    ]
    lines = format_table(("store of a run", "user", "state", "age", "size"), rows) if rows else ["no run has a store"]
    print_report(report, lines, args.json)
    return 0


def sweep(args: argparse.Namespace) -> int:
    """Remove the stores of dead runs and print which; return the exit status."""
    report = run_folder.sweep()
    count = plural(len(report["removed"]), "store of a dead run", "stores of dead runs")
    print_report(
        report, [f"removed {count}, freed {format_bytes(report['freed_bytes'])}", *report["removed"]], args.json
    )
    return 0


def format_info(report: StoreReport) -> list[str]:
    """Return a store's report as text."""
    used = f"{format_bytes(report['currbytes'])} of {format_bytes(report['maxbytes'])}"
    percent, values = f"{100 * report['used_fraction']:.1f} %", plural(report["entries"], "value")
    filesystem = report["filesystem"] or "of unknown type"
    lines = [
        report["path"],
        f"  used        {used} ({percent}), {values}",
        f"  overhead    {format_bytes(report['overhead_bytes'])} for index and counters",
        f"  created     {format_age(report['age_s'])} ago, {format_date(report['created'])}",
        f"  filesystem  {filesystem}, {format_bytes(report['free_bytes'])} free",
    ]
    for function in join_tiers(report["functions"]):
        lines += ["", *format_function(function)]
    return lines


def format_function(function: TieredReport) -> list[str]:
    """Return a function's report as text: the last processes that called it one by one, and all together."""
    lines = [f"{function['name']}: {format_values(function)}, {'in use' if function['in_use'] else 'not in use'}"]
    if function["problem"]:
        lines.append(f"  its files cannot be read: {function['problem']}")
    called = [process for process in function["processes"] if process["hits"] + process["misses"]]
    if not called:
        return [*lines, "  not called yet"]
    rows = [("all", "", *format_counters(function))]
    for process in called[-MAX_PROCESSES_SHOWN:]:
        rows.append((str(process["pid"]), format_date(process["started"]), *format_counters(process)))
    header = ("process", "since", "hits", "misses", "hit rate", "load s")
    lines += [f"  {line}" for line in format_table(header, rows)]
    if len(called) > MAX_PROCESSES_SHOWN:
        earlier = plural(len(called) - MAX_PROCESSES_SHOWN, "earlier process", "earlier processes")
        lines.append(f"  and {earlier} (--json)")
    if function["tiers"]:
        tiers = [
            (tier["name"], f"{tier['hits']:,}", f"{tier['misses']:,}", f"{tier['hit_rate']:.3f}")
            for tier in function["tiers"]
        ]
        lines += ["", *(f"  {line}" for line in format_table(("tier", "hits", "misses", "hit rate"), tiers))]
    return lines


def format_counters(counters: CounterReport) -> tuple[str, str, str, str]:
    """Return hits, misses, hit rate and load seconds as text."""
    hits, misses = f"{counters['hits']:,}", f"{counters['misses']:,}"
    return hits, misses, f"{counters['hit_rate']:.3f}", f"{counters['load_s']:,.2f}"


def format_values(report: FunctionReport | ClearReport) -> str:
    """Return the number of values and their bytes as text."""
    return f"{plural(report['entries'], 'value')} ({format_bytes(report['currbytes'])})"
