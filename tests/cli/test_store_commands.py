"""``bytecache info``, ``verify`` and ``clear``: what they print of a store, and that looking changes nothing."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.processes import in_child
from helpers.threads import start

from bytecache import SharedStore, fill_once
from bytecache.cli import store as store_commands
from bytecache.cli.main import main
from bytecache.stores.shared import admin, run_folder
from bytecache.stores.shared.counters import CounterRow
from bytecache.stores.shared.locks import OFD_LOCKS_AVAILABLE

pytestmark = pytest.mark.skipif(not OFD_LOCKS_AVAILABLE, reason="shared stores are for Linux")


def plain(i: int) -> bytes:
    return bytes([i % 251]) * 1000


def failing(i: int) -> bytes:
    raise OSError(i)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SharedStore]:
    """An empty store of 1 MiB."""
    one = SharedStore(tmp_path / "store", maxbytes="1 MiB")
    yield one
    one.close()


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command; return its exit status, and what it printed on stdout and stderr."""

    def run(*argv: Any) -> tuple[int, str, str]:
        status = main([str(one) for one in argv])
        return status, *capsys.readouterr()

    return run


def damage(path: Path, offset: int) -> None:
    """Change one byte of a file."""
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return modification time and content of each file."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


# info


def test_info_has_the_counters_of_each_process(store: SharedStore, call: Any) -> None:
    """Entries, bytes and counters are those of the calls, for each process and for all together."""
    read, broken = fill_once(store=store)(plain), fill_once(store=store)(failing)
    for i in (1, 2, 3, 1):
        read(i)
    with pytest.raises(OSError):
        broken(1)
    child = in_child(lambda: [read(i) for i in (1, 2, 3, 4, 4)] and os.getpid())
    status, out, _ = call("info", store.path, "--json")
    report = json.loads(out)
    assert status == 0
    assert (report["path"], report["entries"], report["currbytes"]) == (str(store.path), 4, 4000)
    assert (report["maxbytes"], report["used_fraction"]) == (2**20, 4000 / 2**20)
    assert report["age_s"] >= 0 and report["overhead_bytes"] > 0 and report["filesystem"]
    first, second = report["functions"]
    assert (first["name"], second["name"]) == (f"{__name__}.plain", f"{__name__}.failing")
    assert [first[name] for name in ("hits", "misses", "stored", "hit_rate")] == [5, 4, 4, 5 / 9]
    assert [(one["pid"], one["hits"], one["misses"]) for one in first["processes"]] == [
        (os.getpid(), 1, 3),
        (child, 4, 1),
    ]
    assert [second[name] for name in ("entries", "misses", "errors", "problem")] == [0, 1, 1, None]


def test_info_is_readable(store: SharedStore, call: Any) -> None:
    """The text has units, a line for all processes together and one for each."""
    read = fill_once(store=store)(plain)
    for i in range(10):
        read(i % 8)
    in_child(lambda: [read(i) for i in range(8)])
    lines = call("info", store.path)[1].splitlines()
    assert lines[0] == str(store.path)
    assert lines[1] == "  used        7.8 KiB of 1.0 MiB (0.8 %), 8 values"
    assert [line.split()[0] for line in lines[2:5]] == ["overhead", "created", "filesystem"]
    at = lines.index(f"{__name__}.plain: 8 values (7.8 KiB), in use")
    assert lines[at + 1].split() == ["process", "since", "hits", "misses", "hit", "rate", "load", "s"]
    assert lines[at + 2].split()[:4] == ["all", "10", "8", "0.556"]
    assert lines[at + 3].split()[0] == str(os.getpid()) and lines[at + 4].split()[4:7] == ["8", "0", "1.000"]
    assert len({line.rindex(".") for line in lines[at + 2 : at + 5]}) == 1


def test_info_leaves_out_processes_that_called_nothing_and_the_first_of_many(
    store: SharedStore, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many processes the last are shown one by one, and how many came before; a function may have no calls."""
    monkeypatch.setattr(store_commands, "MAX_PROCESSES_SHOWN", 2)
    read = fill_once(store=store)(plain)
    read.cache_info()
    assert "  not called yet" in call("info", store.path)[1].splitlines()
    children = [str(in_child(lambda: read(1) and os.getpid())) for _ in range(3)]
    lines = call("info", store.path)[1].splitlines()
    assert [line.split()[0] for line in lines[-3:-1]] == children[-2:]
    assert lines[-1] == "  and 1 earlier process (--json)"


def test_looking_changes_nothing(store: SharedStore, call: Any) -> None:
    """info and verify leave every file of a closed store as it was, also its times."""
    fill_once(store=store)(plain)(1)
    path = store.path
    store.close()
    before = snapshot(path)
    assert call("info", path)[0] == call("verify", path)[0] == 0
    assert snapshot(path) == before


def test_a_run_that_starts_during_an_inspection_is_the_first(store: SharedStore) -> None:
    """An inspection does not attach to the store: a run that starts meanwhile sets the budget and checks the files."""
    path = store.path
    store.close()
    with admin._open_unattached(path):
        fresh = SharedStore(path, maxbytes="2 MiB")
        assert fresh.maxbytes == 2 * 2**20
        fresh.close()


# verify


def test_verify_reads_everything(store: SharedStore, call: Any) -> None:
    """Without damage the status is 0, and the output says how many entries and bytes were read."""
    read = fill_once(store=store)(plain)
    for i in range(600):  # the index grows once
        read(i)
    status, out, _ = call("verify", store.path)
    assert (status, out) == (0, "read 600 entries, 585.9 KiB: all match their checksums\n")
    assert json.loads(call("verify", store.path, "--json")[1])["read_bytes"] == 600_000


def test_verify_lists_what_is_damaged(store: SharedStore, call: Any) -> None:
    """If a byte of a value or an entry has changed, the status is 1, with the function and the entry's number."""
    read = fill_once(store=store)(plain)
    for i in range(5):
        read(i)
    damage(store.path / "1.arena", 2500)
    damage(store.path / "1.index", 4096 + 4 * 48)
    status, out, _ = call("verify", store.path, "--json")
    report = json.loads(out)
    assert status == 1
    assert [(one["function"], one["entry"]) for one in report["damaged"]] == [
        (f"{__name__}.plain", 3),
        (f"{__name__}.plain", 5),
    ]
    assert (report["entries"], report["read_bytes"]) == (5, 3000)
    lines = call("verify", store.path)[1].splitlines()
    assert lines[0] == "read 5 entries, 2.9 KiB: 2 damaged"
    assert lines[3].split(maxsplit=2) == [f"{__name__}.plain", "3", "does not match its checksum"]


def test_an_entry_that_was_replaced_is_not_damage(store: SharedStore, call: Any) -> None:
    """The next run reads a damaged value again; then the store is clean, though the old entry is still in it."""
    read = fill_once(store=store)(plain)
    values = [read(i) for i in range(3)]
    path = store.path
    store.close()
    damage(path / "1.arena", 1500)
    assert call("verify", path)[0] == 1
    assert [read(i) for i in range(3)] == values
    assert call("verify", store.path)[:2] == (0, "read 4 entries, 2.9 KiB: all match their checksums\n")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: os.truncate(path / "1.index", 4096),
        lambda path: os.truncate(path / "1.arena", 0),
        lambda path: (path / "1.slots10").unlink(),
        lambda path: (path / "1.slots10").write_bytes(b"\1" * 4096),
    ],
    ids=["index cut", "arena cut", "no slots", "no free slot"],
)
def test_files_that_cannot_be_read_are_damage(store: SharedStore, call: Any, spoil: Any) -> None:
    """If a function's files are invalid, verify reports all its entries, and info goes on."""
    fill_once(store=store)(plain)(1)
    fill_once(store=store)(failing).cache_info()
    path = store.path
    store.close()
    spoil(path)
    status, out, _ = call("verify", path, "--json")
    damaged = json.loads(out)["damaged"]
    assert status == 1 and [(one["function"], one["entry"]) for one in damaged] == [(f"{__name__}.plain", None)]
    assert call("verify", path)[1].splitlines()[3].split()[:2] == [f"{__name__}.plain", "all"]
    status, out, _ = call("info", path)
    assert status == 0 and "  its files cannot be read: " in out and f"{__name__}.failing: 0 values" in out


def test_a_job_may_write_meanwhile(store: SharedStore, call: Any) -> None:
    """While another process fills the store and its index grows, verify and info find nothing wrong."""
    read = fill_once(store=store)(plain)
    started, done = os.pipe(), os.pipe()

    def fill() -> int:
        for i in range(1000):
            read(i)
            if i == 10:
                os.write(started[1], b"1")
        return os.write(done[1], b"1")

    end = start(lambda: in_child(fill))
    os.set_blocking(done[0], False)
    os.read(started[0], 1)
    rounds, ended = 0, b""
    while not ended:
        try:
            ended = os.read(done[0], 1)
        except BlockingIOError:
            pass
        assert call("verify", store.path)[0] == call("info", store.path)[0] == 0
        rounds += 1
    assert end() == 1
    for fd in (*started, *done):
        os.close(fd)
    assert rounds >= 1
    assert json.loads(call("verify", store.path, "--json")[1])["entries"] == 1000


def test_the_store_of_a_running_job(call: Any) -> None:
    """The folder of a store without a path is a store like any other, and is gone with its job."""
    read = fill_once(shared=True, maxbytes="1 MiB")(plain)
    read(1)
    path = read._cache.partition._store.path
    report = json.loads(call("info", path, "--json")[1])
    assert (report["entries"], report["functions"][0]["misses"]) == (1, 1)
    assert call("verify", path)[0] == 0
    read._cache.partition._store.close()
    assert not path.exists()


# clear


def test_clear_empties_the_store_for_all(store: SharedStore, call: Any) -> None:
    """The output says what was freed; a job that uses the store goes on with an empty cache."""
    read = fill_once(store=store)(plain)
    for i in range(5):
        read(i)
    status, out, _ = call("clear", store.path)
    assert status == 0 and out.startswith("cleared 5 values (4.9 KiB) of 1 function, freed ")
    assert read.cache_info() == (0, 0, None, 0)
    read(1)
    report = json.loads(call("clear", store.path, "--json")[1])
    assert (report["entries"], report["currbytes"], report["functions"]) == (1, 1000, 1)
    assert report["freed_bytes"] >= 4096
    assert store.currbytes == 0


# No store


def version(store: SharedStore, number: int, function: Any = plain) -> Any:
    """Return a version of a function."""
    return fill_once(store=store, version=number)(function)


def names_in_use(report: Any) -> list[tuple[str, int, bool]]:
    return [(one["name"].rpartition(".")[2], one["entries"], one["in_use"]) for one in report["functions"]]


def test_a_function_is_in_use_while_a_process_that_has_called_it_runs(store: SharedStore, call: Any) -> None:
    """Not one whose processes have ended, nor one that this process has never called, nor once the store is closed."""
    version(store, 1)(1)
    in_child(lambda: version(store, 2)(1))
    assert names_in_use(admin.describe(store.path)) == [("plain", 1, True), ("plain", 1, False)]
    lines = call("info", store.path)[1].splitlines()
    assert [line.rpartition(", ")[2] for line in lines if "plain" in line] == ["in use", "not in use"]
    path = store.path
    store.close()
    assert names_in_use(json.loads(call("info", path, "--json")[1])) == [("plain", 1, False)] * 2


def test_a_number_that_another_process_has_got_is_not_in_use(store: SharedStore) -> None:
    """As in a container that is started again: the process with this number began after the function was used."""
    version(store, 1)(1)
    handle = store.handle()
    row = next(handle.header.function_rows())
    handle.counters.claim_locked(0, row, handle.header.counted_since(row))[CounterRow.STARTED_NS] = 10**18
    assert names_in_use(admin.describe(store.path)) == [("plain", 1, False)]


def test_clear_of_one_function(store: SharedStore, call: Any) -> None:
    """All its versions are gone, with their rows, and their room is usable at once; the others stay."""
    old, new, other = version(store, 1), version(store, 2), version(store, 1, bytes)
    assert [f(3) for f in (old, new, other)] == [plain(3), plain(3), bytes(3)]
    assert new.cache_info("all")[:2] == (0, 1)
    status, out, _ = call("clear", store.path, "--function", f"{__name__}.plain")
    assert status == 0 and out.startswith("cleared 2 values (2.0 KiB) of 2 functions, freed ")
    assert names_in_use(admin.describe(store.path)) == [("bytes", 1, True)] and store.currbytes == 3
    assert new.cache_info("all")[:2] == (0, 0) and not old.cache_contains(3)
    assert new(3) == plain(3) and in_child(lambda: new(3)) == plain(3) and new.cache_info("all")[:2] == (1, 1)
    assert other.cache_info() == (0, 1, None, 1)
    assert names_in_use(admin.describe(store.path))[0] == ("plain", 1, True)  # in the first row again
    assert admin.verify(store.path)["damaged"] == []


def test_clear_of_a_function_that_is_not_there(store: SharedStore, call: Any) -> None:
    """The status is 2, stderr lists the names, and nothing is cleared."""
    version(store, 1)(1), version(store, 1, bytes)(1)
    status, out, err = call("clear", store.path, "--function", "plain")
    assert (status, out) == (2, "") and err.endswith(f"no function 'plain'; it has builtins.bytes, {__name__}.plain\n")
    assert admin.describe(store.path)["entries"] == 2


def test_clear_of_what_no_process_uses(store: SharedStore, call: Any) -> None:
    """While a process uses a function, all others go that none uses; what it uses stays, also its counters."""
    for number in 1, 2:
        in_child(lambda number=number: version(store, number)(1))
    in_child(lambda: version(store, 1, bytes)(1))
    current = version(store, 3)
    current(1), current(1)
    assert json.loads(call("clear", store.path, "--stale", "--json")[1])["functions"] == 3
    assert names_in_use(admin.describe(store.path)) == [("plain", 1, True)]
    assert current(1) == plain(1) and current.cache_info() == (2, 1, None, 1)
    assert json.loads(call("clear", store.path, "--stale", "--json")[1])["functions"] == 0


def test_clear_of_old_versions_between_two_runs(store: SharedStore, call: Any) -> None:
    """If no process uses anything, the version of each name that was used last stays."""
    path = store.path
    for number in 1, 2:
        version(store, number)(1), version(store, number, bytes)(number)
    rows = list(store.handle().header.function_rows())
    started = 1 + store.handle().header.counter_rows
    store.handle().counters.claim_locked(started, rows[0], store.handle().header.counted_since(rows[0]))[
        CounterRow.STARTED_NS
    ] = 3 * 10**18
    store.handle().header.counter_rows = started + 1
    store.close()
    call("clear", path, "--stale", "--function", "builtins.bytes")
    assert names_in_use(admin.describe(path)) == [("plain", 1, False), ("plain", 1, False), ("bytes", 1, False)]
    report = json.loads(call("clear", path, "--stale", "--json")[1])
    assert (report["functions"], report["entries"], report["currbytes"]) == (1, 1, 1000)
    fresh = SharedStore(path, maxbytes="1 MiB")
    assert version(fresh, 1).cache_contains(1) and not version(fresh, 2).cache_contains(1)
    assert version(fresh, 2, bytes).cache_contains(2) and fresh.currbytes == 1002
    fresh.close()


def test_of_versions_of_one_second_the_last_one_stays(store: SharedStore, call: Any) -> None:
    """Also if it is in a row before the others."""
    path, handle = store.path, store.handle()
    version(store, 1)(1), version(store, 2)(1)
    handle.remove([handle.header.function_id(next(handle.header.function_rows()))])
    version(store, 3)(1)
    store.close()
    call("clear", path, "--stale")
    fresh = SharedStore(path, maxbytes="1 MiB")
    assert version(fresh, 3).cache_contains(1) and not version(fresh, 2).cache_contains(1)
    fresh.close()


def test_rows_of_functions_are_used_again(store: SharedStore) -> None:
    """However many versions come and go, there is a row for the next one, and each process finds its own."""
    for number in range(1200):
        assert version(store, number)(1) == plain(1)
        if number % 100 == 99:
            admin.clear(store.path, function=f"{__name__}.plain")
    assert admin.describe(store.path)["functions"] == []
    path = store.path
    store.close()
    again = SharedStore(path, maxbytes="1 MiB")
    assert version(again, 5)(1) == plain(1) and again.currbytes == 1000
    again.close()


@pytest.mark.parametrize("command", ["info", "verify", "clear"])
@pytest.mark.parametrize("what", ["nothing", "a file", "empty", "other", "version", "cut"])
def test_where_there_is_no_store(tmp_path: Path, call: Any, command: str, what: str) -> None:
    """The status is 2, stderr says what was expected and what is there, stdout is empty, and nothing changes."""
    path = tmp_path / "store"
    if what == "a file":
        path.write_text("text")
    elif what != "nothing":
        path.mkdir()
    if what == "other":
        (path / "photo.jpg").write_text("text")
    if what in ("version", "cut"):
        (path / "head").write_bytes(bytes(1 << 16 if what == "version" else 100))
    before = sorted(str(one) for one in tmp_path.rglob("*"))
    status, out, err = call(command, path)
    assert (status, out) == (2, "")
    assert err.startswith(f"bytecache {command}: expected the folder of a shared store") and str(path) in err
    came = {
        "nothing": "it does not exist",
        "a file": "that is a file",
        "empty": "an empty folder",
        "other": "a folder without the file 'head', with 'photo.jpg' in it",
        "version": "is not a shared store of format 1",
        "cut": "its header is not 65536 bytes long",
    }[what]
    assert came in err
    assert sorted(str(one) for one in tmp_path.rglob("*")) == before


def test_no_command_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command, or with an unknown one, the status is 2 and stderr shows the usage."""
    for argv in ([], ["train"]):
        with pytest.raises(SystemExit) as caught:
            main(argv)
        assert caught.value.code == 2 and "usage: bytecache" in capsys.readouterr().err


# Entry points


def test_python_m_bytecache(store: SharedStore) -> None:
    """``python -m bytecache`` exits with main's status."""
    command = [sys.executable, "-m", "bytecache", "info"]
    done = subprocess.run([*command, store.path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and str(store.path) in done.stdout
    assert subprocess.run([*command, store.path / "no"], capture_output=True).returncode == 2


def test_the_console_script_leads_to_main() -> None:
    """pyproject.toml names main for the command ``bytecache``."""
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    target = next(line for line in text.splitlines() if line.startswith("bytecache = ")).split('"')[1]
    module, _, name = target.partition(":")
    assert getattr(importlib.import_module(module), name) is main


# The stores of runs

FILL = """
import pathlib, sys, time
from bytecache import fill_once
from bytecache.stores.shared import run_folder
run_folder._MEMORY = pathlib.Path(sys.argv[1])
f = fill_once(shared=True, maxbytes="4 MB")(lambda key: bytes(100_000))
[f(key) for key in range(10)]
print(f._store.path, flush=True)
time.sleep(60)
"""


def fill(memory: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a run that fills a store, with a folder in place of /dev/shm; return its process and the store's folder."""
    environment = {name: value for name, value in os.environ.items() if name != "BYTECACHE_RUN"}
    environment["TMPDIR"] = str(memory)
    command = [sys.executable, "-c", FILL, str(memory)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str], number: int) -> int:
    process.send_signal(number)
    process.communicate(timeout=60)
    return process.returncode


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_told_to_end_gives_its_memory_back(number: int, tmp_path: Path) -> None:
    """It still ends by that signal; a batch system or a container sends it."""
    process, folder = fill(tmp_path)
    assert folder.is_dir()
    assert end(process, number) == -number
    assert not folder.exists()


def test_a_handler_that_the_program_has_set_is_left_alone() -> None:
    """And a forked child has the default one again."""
    source = """
        import os, signal
        from bytecache import SharedStore
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        store = SharedStore(maxbytes=1000)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL
        if not os.fork():
            os._exit(signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL)
        assert os.wait()[1] == 0
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(source)], check=True, timeout=60)


def test_ls_lists_runs_and_sweep_removes_the_dead(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A run that was killed leaves its store, which both commands show; one in use stays."""
    monkeypatch.setattr(run_folder, "_MEMORY", tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    live, in_use = fill(tmp_path)
    try:
        killed, left = fill(tmp_path)
        # A third run would sweep the dead one itself.
        end(killed, signal.SIGKILL)
        assert main(["ls", "--json"]) == 0
        runs = {run["path"]: run for run in json.loads(capsys.readouterr().out)["stores"]}
        assert (runs[str(in_use)]["live"], runs[str(left)]["live"]) == (True, False)
        assert runs[str(left)]["nbytes"] >= 1_000_000
        assert main(["ls"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split()[-4:] == ["user", "state", "age", "size"]
        assert any(str(left) in line and " dead " in line for line in lines)
        assert main(["sweep", "--json"]) == 0
        swept = json.loads(capsys.readouterr().out)
        assert str(left) in swept["removed"] and swept["freed_bytes"] >= 1_000_000
        assert not left.exists() and in_use.is_dir()
        assert main(["sweep"]) == 0
        assert "removed 0 stores of dead runs" in capsys.readouterr().out
    finally:
        end(live, signal.SIGTERM)
    assert not in_use.exists()
