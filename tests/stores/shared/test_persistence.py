"""SharedStore with a path: later runs, damage, full and read-only disks, limits of memory, clearing."""

from __future__ import annotations

import ctypes
import errno
import mmap
import multiprocessing.util  # noqa: F401, also for users who may not read Python's own files
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.counting import stats_of
from helpers.internals import handle_of, store_of
from helpers.processes import in_child, waits_for_lock
from helpers.threads import start, together, until

from bytecache import SharedStore, fill_once
from bytecache.cache.flights import leased_flight
from bytecache.stores.shared import admin, header
from bytecache.stores.shared.binding import begin_anew_locked
from bytecache.stores.shared.header import FunctionRow, Word
from bytecache.stores.shared.locks import ByteRangeLocks, KeyLease
from bytecache.system import filesystem
from bytecache.system.filesystem import is_memory_backed

WORD = 8  # bytes


def text(key: int) -> bytes:
    return b"text %d " % key * 3


def array(key: int) -> np.ndarray[Any, Any]:
    return np.full((key % 3, 2), key, np.int16)


def late(key: int) -> bytes:
    return b"late %d" % key


def cached(store: SharedStore, *functions: Any) -> list[Any]:
    """Return each function, cached in the store."""
    return [fill_once(store=store, version=1)(function) for function in functions]


def end_of(function: Callable[[], Any], seconds: int = 10) -> Any:
    """Return what a function returns in a forked child, or how the child ended: the exception, or the signal."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(seconds)
            try:
                result = function()
            except BaseException as exc:
                last = traceback.extract_tb(exc.__traceback__)[-1]
                result = f"{type(exc).__name__}: {exc} ({Path(last.filename).name}: {last.name})"[:600]
            os.write(writing, pickle.dumps(result))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answer:
        data = answer.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return pickle.loads(data) if data else f"killed by {signal.Signals(-code).name}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def opened(folder: Path) -> Iterator[Any]:
    """Opens the store with a budget; all are closed at the end."""
    stores = []

    def open_it(maxbytes: int | str = 100_000) -> SharedStore:
        stores.append(SharedStore(folder, maxbytes=maxbytes))
        return stores[-1]

    yield open_it
    while stores:
        stores.pop().close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Any]:
    """Mounts an in-memory file system of a size; skips the test if that is not permitted."""
    mounts: list[Path] = []

    def mount(size: str) -> Path:
        target = tmp_path / f"disk{len(mounts)}"
        target.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(target)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"mounting a tmpfs is not permitted here: {done.stderr.strip()}")
        mounts.append(target)
        return target

    yield mount
    for target in mounts:
        subprocess.run(["umount", "-l", target], check=True)


def free(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


# Later runs


def test_a_later_run_finds_everything(folder: Path) -> None:
    """Another process that opens the path later finds all values of all functions, and reads nothing."""

    def first() -> None:
        f, g = cached(SharedStore(folder, maxbytes=1 << 20), text, array)
        for key in range(700):
            f(key), g(key)

    def second() -> Any:
        f, g = cached(SharedStore(folder, maxbytes=1 << 20), text, array)
        right = all(f(key) == text(key) and np.array_equal(g(key), array(key)) for key in range(700))
        return right, f.cache_info()[:2], g.cache_info()[:2], f.cache_info("all")

    end_of(first)
    assert end_of(second) == (True, (700, 0), (700, 0), (700, 700, None, 700))


def test_a_program_that_is_restarted_finds_everything(folder: Path) -> None:
    """The same source in a new interpreter is the same function; with another constant it is another one."""
    source = """
        import sys
        from bytecache import SharedStore, fill_once
        store = SharedStore(sys.argv[1], maxbytes=1000)
        @fill_once(store=store)
        def f(x): return b"one"
        f(1)
        print(f.cache_info().hits)
    """
    runs = [source, source, source.replace('"one"', '"two"'), source]
    outs = []
    for program in runs:
        script = folder.with_name("program.py")
        script.write_text(textwrap.dedent(program))
        outs.append(subprocess.run([sys.executable, script, folder], capture_output=True, text=True).stdout)
    assert outs == ["0\n", "1\n", "0\n", "1\n"]


def test_a_later_run_sets_the_budget(opened: Any) -> None:
    """A later run with a larger budget keeps the values and stores more."""
    store = opened(100)
    (f,) = cached(store, lambda x: bytes(40))
    for key in range(3):
        f(key)
    assert stats_of(f, "stored", "rejected", "currbytes", "maxbytes") == (2, 1, 80, 100)
    store.close()
    (g,) = cached(opened(1000), lambda x: bytes(40))
    assert (g.cache_info().currsize, g(2), stats_of(g, "stored", "maxbytes")) == (2, bytes(40), (1, 1000))


def test_a_budget_larger_than_the_disk(opened: Any, folder: Path) -> None:
    """A budget larger than the disk works, and the files take only what is in them."""
    (f,) = cached(opened("10 TB"), text)
    assert [f(1), f(1)] == [text(1)] * 2
    assert sum(path.stat().st_blocks * 512 for path in folder.iterdir()) < 1 << 20


@pytest.mark.parametrize("maxbytes", [1 << 62, (1 << 63) - 1, 1 << 63, 1 << 70], ids=hex)
def test_a_budget_larger_than_any_file(folder: Path, maxbytes: int) -> None:
    """A budget larger than a file can be is a ValueError that names maxbytes, or a warning and read-through."""

    def try_it() -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                (f,) = cached(SharedStore(folder, maxbytes=maxbytes), text)
            except ValueError as exc:
                return "maxbytes" in str(exc)
            return [f(1), f(1)] == [text(1)] * 2 and len(caught) <= 1

    assert end_of(try_it) is True


def test_values_of_earlier_runs_stay_if_a_budget_is_impossible(folder: Path) -> None:
    """An intact store is not renamed because this run may not create a file as large as its budget."""
    end_of(lambda: cached(SharedStore(folder, maxbytes=100_000), text)[0](1))

    def limited() -> Any:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        try:
            SharedStore(folder, maxbytes=1 << 30)
        except OSError:
            return "error"
        return "opened"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert end_of(limited) in ("error", "opened")
    assert list(folder.parent.iterdir()) == [folder]
    assert end_of(lambda: (f := cached(SharedStore(folder, maxbytes=100_000), text)[0])(1) and f.cache_info().hits) == 1


def test_values_of_earlier_runs_stay_if_there_are_no_descriptors(folder: Path) -> None:
    """An intact store is not renamed because this process may not open more files."""
    end_of(lambda: [f(1) for f in cached(SharedStore(folder, maxbytes=100_000), text, array)])

    def limited(more: int) -> str:
        import resource

        most = max(map(int, os.listdir("/proc/self/fd")))
        last = 0
        while last < most:  # none below is free, whatever other tests have left open
            last = os.dup(0)
        resource.setrlimit(resource.RLIMIT_NOFILE, (last + more, last + more))
        try:
            SharedStore(folder, maxbytes=100_000)
        except OSError as exc:
            return str(exc.errno)
        return "opened"

    ends = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for more in range(1, 24):
            ends.add(end_of(lambda more=more: limited(more)))
            assert list(folder.parent.iterdir()) == [folder], more
    assert ends == {"24", "opened"}


# Paths that are not stores


def test_a_file_is_not_a_store(folder: Path) -> None:
    """A path to a file is a ValueError that names it."""
    folder.write_bytes(b"precious")
    with pytest.raises(ValueError, match="store"):
        SharedStore(folder, maxbytes=100)
    assert folder.read_bytes() == b"precious"


@pytest.mark.parametrize("names", [["photo.jpg"], ["head", "photo.jpg"], ["1.jpg"], ["head.part", "photo.jpg"]])
def test_a_folder_of_other_files_is_left_alone(folder: Path, names: list[str]) -> None:
    """A folder that contains anything else is a ValueError that says what; nothing in it is touched."""
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(b"precious")
    with pytest.raises(ValueError, match="path must be a new or empty folder"):
        SharedStore(folder, maxbytes=100)
    assert sorted(os.listdir(folder.parent)) == ["store"] and sorted(os.listdir(folder)) == sorted(names)


def test_a_folder_of_folders_with_the_names_of_files_is_left_alone(folder: Path) -> None:
    """A user's folder "head" is no damaged header: nothing is renamed, and nothing removed."""
    (folder / "head").mkdir(parents=True)
    (folder / "head" / "photo.jpg").write_bytes(b"precious")
    with pytest.raises(ValueError, match="path must be a new or empty folder"):
        SharedStore(folder, maxbytes=100)
    assert (folder / "head" / "photo.jpg").exists() and sorted(os.listdir(folder.parent)) == ["store"]
    with pytest.raises(admin.StoreNotFound, match="a folder without the file 'head'"):
        admin.describe(folder)


def test_other_files_in_the_folder_of_a_store_are_left_alone(opened: Any, folder: Path) -> None:
    """What a user has put into the folder of a store survives opening and clearing."""
    opened().close()
    (folder / "2024.csv").write_bytes(b"precious")
    (folder / "2025").mkdir()
    store = opened()
    (f,) = cached(store, text)
    f(1), f.cache_clear(), store.clear()
    assert (folder / "2024.csv").exists() and (folder / "2025").is_dir()


def test_missing_parents_are_created(tmp_path: Path) -> None:
    """A path whose parents do not exist is created with them, and only its owner can read it."""
    store = SharedStore(tmp_path / "a" / "b", maxbytes=100)
    assert store.path.is_dir() and store.path.stat().st_mode & 0o777 == 0o700
    store.close()


def test_a_read_only_disk_is_an_error_that_names_the_path(disk: Any) -> None:
    """On a read-only file system a new and an empty folder are OSErrors that name the path."""
    root = disk("1m")
    (root / "empty").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", root], check=True)
    for name in "new", "empty":
        with pytest.raises(OSError) as caught:
            SharedStore(root / name, maxbytes=1000)
        assert str(root / name) in str(caught.value) and "aside" not in str(caught.value)


@pytest.mark.parametrize("options", [{"maxbytes": 1000}, {"readonly": True}], ids=str)
def test_a_store_on_a_read_only_disk_is_used(disk: Any, options: Any) -> None:
    """Its values are hits, what is missing is read, and nothing is stored; info and verify work too."""
    root = disk("1m")
    end_of(lambda: [f(key) for f in cached(SharedStore(root / "filled", maxbytes=9000), text, array) for key in (1, 2)])
    subprocess.run(["mount", "-o", "remount,ro", root], check=True)

    def use() -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            store = SharedStore(root / "filled", **options)
            f, g, h = cached(store, text, array, late)
            right = all(f(key) == text(key) and np.array_equal(g(key), array(key)) for key in (1, 2, 3, 3))
            again = pickle.loads(pickle.dumps(store))
            right = right and h(1) == late(1) and cached(again, text)[0](1) == text(1)
            f.warm([5]), in_child(lambda: f(1))
        return right, stats_of(f, "hits", "misses", "stored"), len(caught)

    assert end_of(use) == (True, (2, 2, 0), 0 if "readonly" in options else 1)
    assert admin.verify(root / "filled")["damaged"] == [] and admin.describe(root / "filled")["entries"] == 4


def test_a_readonly_store_beside_a_writer(opened: Any, folder: Path) -> None:
    """It finds what the writer stores meanwhile, notices a clear, and cannot clear; damage is a miss."""
    (f,) = cached(opened(), text)
    f(1)
    reader = SharedStore(folder, readonly=True)
    (g,) = cached(reader, text)
    assert g(1) == text(1) and g.cache_info()[:2] == (1, 0)
    f(2)
    assert g(2) == text(2) and g.cache_info()[:2] == (2, 0)
    f.cache_clear(), f(3)
    assert g(1) == text(1) and g(3) == text(3) and g.cache_info()[:2] == (1, 1)
    with pytest.raises(OSError, match="open for reading alone"):
        g.cache_clear()
    reader.close()
    with pytest.raises(FileNotFoundError):
        SharedStore(folder / "nothing", readonly=True)
    assert not (folder / "nothing").exists()


def test_a_reader_that_was_first_finds_what_a_writer_stores(opened: Any, folder: Path) -> None:
    """It looks again at each call until there is something; its own counts go on."""
    store = opened()
    reader = SharedStore(folder, readonly=True)
    (g,) = cached(reader, text)
    assert g(1) == text(1) and not g.cache_contains(1)
    (f,) = cached(store, text)
    f(1)
    assert g(1) == text(1) and g.cache_info()[:2] == (1, 1)
    reader.close()


def test_a_damaged_table_is_a_warning_for_a_reader(opened: Any, folder: Path) -> None:
    """No search in it goes on for ever, and the warning says that the files cannot be read."""
    store = opened()
    (f,) = cached(store, text)
    f(1)
    store.close()
    (table,) = folder.glob("*.slots*")
    table.write_bytes(b"\1" * table.stat().st_size)

    def read() -> Any:
        (g,) = cached(SharedStore(folder, readonly=True), text)
        with pytest.warns(RuntimeWarning, match="its files cannot be read .the table of the index has slots"):
            return g(1), g.cache_info()[:2]

    assert end_of(read) == (text(1), (0, 1))


def test_counts_go_on_if_the_files_of_a_new_generation_cannot_be_opened(opened: Any) -> None:
    """They are those since the last clear, whatever became of the values."""
    (f,) = cached(opened(), text)

    def run_out_of_descriptors() -> Any:
        f(1), f(1)
        in_child(lambda: replace_damaged(f))
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            f(2)
            return f.cache_info()[:2], f.cache_info("all")[:2]

    assert end_of(run_out_of_descriptors) == ((1, 2), (1, 2))


def replace_damaged(f: Any) -> None:
    handle = handle_of(store_of(f))
    handle.with_writer_lock(lambda: begin_anew_locked(handle, 16))


def as_user(uid: int, gid: int, work: Callable[[], Any]) -> Any:
    """Return what a function returns in a child that belongs to another user."""

    def run() -> Any:
        os.setgroups([]), os.setgid(gid), os.setuid(uid), os.umask(0o022)
        return work()

    return end_of(run)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder to which every user may write; skips the test for all but root."""
    if os.geteuid():
        pytest.skip("only root can be several users")
    root = Path(tempfile.mkdtemp(prefix="bytecache-test-"))
    root.chmod(0o1777)
    yield root
    shutil.rmtree(root)


def hits(folder: Path, *functions: Any, **options: Any) -> Any:
    store = SharedStore(folder, **{"maxbytes": 100_000, **options})
    found = cached(store, *functions)
    for f in found:
        [f(key) for key in range(5)]
    counts = [f.cache_info().hits for f in found]
    store.close()
    return counts


def test_root_in_a_users_store_leaves_it_to_the_user(public: Path) -> None:
    """What root adds belongs to the user; what only root can read is missing to the user alone, with one warning."""
    folder = public / "store"
    assert as_user(1001, 1001, lambda: hits(folder, text)) == [0]
    assert end_of(lambda: hits(folder, text, array)) == [5, 0]
    assert {path.stat().st_uid for path in [folder, *folder.iterdir()]} == {1001}
    assert as_user(1001, 1001, lambda: hits(folder, text, array)) == [5, 5]
    os.chown(next(folder.glob("2.arena")), 0, 0)

    def as_before() -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            return hits(folder, text, array), len(caught)

    assert as_user(1001, 1001, as_before) == ([5, 0], 1)


def test_a_process_that_has_ended_uses_nothing(public: Path) -> None:
    """Also if its parent has not asked for its exit status; users but root may not look into such a process."""

    def uses() -> list[bool]:
        ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE, for children that may be looked into although root has begun
        (f,) = cached(SharedStore(public / "store", maxbytes=1000), text)
        pid = os.fork()
        if pid == 0:
            f(1), os.kill(os.getpid(), signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        ended = admin.describe(public / "store")["functions"][0]["in_use"]
        os.waitpid(pid, 0), f(1)
        return [ended, admin.describe(public / "store")["functions"][0]["in_use"]]

    assert as_user(1001, 0, uses) == [False, True]  # group 0, since /proc may be closed to others


def test_another_users_store_names_the_ways_in(public: Path) -> None:
    """Without the permission it is an error that names group=True and readonly=True."""
    folder = public / "store"
    as_user(1001, 1001, lambda: hits(folder, text))
    said = as_user(1002, 1002, lambda: hits(folder, text))
    assert "PermissionError" in said and "group=True" in said and "readonly=True" in said[:1000]


def test_users_of_a_group_share_a_store(public: Path) -> None:
    """With group=True each finds and adds values, whatever the umask; other users are left out."""
    folder = public / "store"
    assert as_user(1001, 2000, lambda: hits(folder, text, group=True)) == [0]
    assert as_user(1002, 2000, lambda: hits(folder, text, array, group=True)) == [5, 0]
    assert as_user(1001, 2000, lambda: hits(folder, text, array)) == [5, 5]
    assert "PermissionError" in as_user(1003, 2001, lambda: hits(folder, text, group=True))


def test_a_private_store_can_be_opened_to_the_group(public: Path) -> None:
    """Its owner opens it with group=True, and what is in it is for the group from then on."""
    folder = public / "store"
    as_user(1001, 2000, lambda: hits(folder, text))
    as_user(1001, 2000, lambda: hits(folder, text, group=True))
    assert as_user(1002, 2000, lambda: hits(folder, text, group=True)) == [5]


def test_options_of_a_kept_store_need_a_path() -> None:
    """group and readonly without a path, and no maxbytes, are TypeErrors."""
    for options in {"group": True, "maxbytes": 100}, {"readonly": True}, {}:
        with pytest.raises(TypeError, match="path|maxbytes"):
            SharedStore(**options)
    with pytest.raises(TypeError, match=r"path must be a str or a PathLike, the folder of a store, got 5"):
        SharedStore(5, maxbytes=100)  # type: ignore[arg-type]


# Damage


def run_damaged(folder: Path, damage: Callable[[], None]) -> Any:
    """Return the warnings of a run that finds this damage, or what went wrong: a crash, a hang, a wrong value."""

    def run() -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            functions = text, array, late
            store = SharedStore(folder, maxbytes=100_000)
            shared = cached(store, *functions)
            for _ in range(2):
                for key in range(15):
                    for plain, f in zip(functions, shared, strict=True):
                        value, right = f(key), plain(key)
                        if type(value) is not type(right) or not np.array_equal(value, right):
                            return f"wrong: {plain.__name__}({key}) is {value!r}"
            for f in shared:
                if f.cache_info("all").hits < 15 or f.cache_info().currsize < 10:
                    return f"not cached: {f.cache_info('all')}"
                f.cache_clear(), f(1), f.cache_stats()
            store.clear()
        return [str(warning.message) for warning in caught]

    damage()
    return end_of(run, 5)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with ten values of each of two functions, whose process has ended."""
    folder = tmp_path_factory.mktemp("template") / "store"
    end_of(lambda: [f(key) for f in cached(SharedStore(folder, maxbytes=100_000), text, array) for key in range(10)])
    return folder


def flips() -> list[tuple[str, int, int]]:
    rng = random.Random(0)
    offsets = [("head", byte) for byte in [*range(7 * WORD), *range(128, 160), *range(256, 288)]]
    offsets += [("1.index", byte) for byte in range(5 * WORD)]
    offsets += [("1.index", 4096 + byte) for byte in rng.sample(range(480), 12)]
    offsets += [("1.arena", byte) for byte in rng.sample(range(180), 6)]
    offsets += [("1.slots10", byte) for byte in rng.sample(range(4096), 6)]
    offsets += [("head", (1 << 16) + byte) for byte in rng.sample(range(256), 6)]
    return [(name, byte, rng.choice([0x01, 0x02, 0x80, 0xFF])) for name, byte in offsets]


@pytest.mark.exhaustive
def test_no_flipped_byte_makes_a_wrong_value(template: Path, tmp_path: Path) -> None:
    """With one byte changed anywhere, every value is right and cached, whether the store is kept or renamed."""
    ends = {}
    for name, byte, mask in flips():
        folder = tmp_path / "case" / "store"
        shutil.copytree(template, folder)

        def flip(path: Path = folder / name, byte: int = byte, mask: int = mask) -> None:
            with open(path, "r+b") as file:
                old = os.pread(file.fileno(), 1, byte)[0]
                os.pwrite(file.fileno(), bytes([old ^ mask]), byte)

        end = run_damaged(folder, flip)
        if not isinstance(end, list):
            ends[name, byte, hex(mask)] = end
        shutil.rmtree(folder.parent)
    assert ends == {}


@pytest.mark.parametrize("size", [0, 1, 5000])
@pytest.mark.parametrize("name", ["head", "1.index", "1.slots10", "1.arena"])
def test_no_truncated_file_makes_a_wrong_value(template: Path, folder: Path, name: str, size: int) -> None:
    """With a file cut short or zero-padded, a store is renamed with one warning, or kept; all values are right."""
    shutil.copytree(template, folder)
    end = run_damaged(folder, lambda: os.truncate(folder / name, size))
    assert isinstance(end, list) and len(end) <= 1, end
    if end:
        assert "renamed" in end[0] and (folder.parent / "store.aside1").is_dir()


@pytest.mark.parametrize("name", ["1.index", "1.slots10", "1.arena"])
@pytest.mark.parametrize("how", ["missing", "folder", "garbage"])
def test_no_replaced_file_makes_a_wrong_value(template: Path, folder: Path, name: str, how: str) -> None:
    """A file that is missing, a folder, or noise is noticed; all values are right."""

    def damage() -> None:
        size = (folder / name).stat().st_size
        (folder / name).unlink()
        if how == "folder":
            (folder / name).mkdir()
        elif how == "garbage":
            (folder / name).write_bytes(random.Random(1).randbytes(size))

    shutil.copytree(template, folder)
    end = run_damaged(folder, damage)
    assert isinstance(end, list) and len(end) <= 1, end


def test_versions_of_two_formats_take_turns_at_a_path(template: Path, folder: Path) -> None:
    """Each finds its own values again, and one warning says where the second one is; nothing is left behind."""
    shutil.copytree(template, folder)
    with open(folder / "head", "r+b") as file:
        os.pwrite(file.fileno(), (99).to_bytes(8, "little"), WORD)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.warns(RuntimeWarning, match="another version of bytecache .format 99.*left alone.*format1") as caught:
        store = SharedStore(folder, maxbytes=1000)
    (f,) = cached(store, late)
    f(1), store.close()
    again = SharedStore(folder, maxbytes=1000)
    (f,) = cached(again, late)
    assert (f(1), f.cache_info().hits, len(caught)) == (late(1), 1, 1)
    again.close()
    assert [path.name for path in folder.parent.iterdir()] == ["store"]
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert admin.describe(folder)["entries"] == 1


def test_a_second_damaged_store_takes_the_place_of_the_first(template: Path, folder: Path) -> None:
    """What is put aside never takes more than one budget."""
    for _ in range(3):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(template, folder)
        os.truncate(folder / "head", 10)
        with pytest.warns(RuntimeWarning, match="renamed to .*aside1"):
            SharedStore(folder, maxbytes=1000).close()
    assert sorted(path.name for path in folder.parent.iterdir()) == ["store", "store.aside1"]


@pytest.mark.parametrize(
    "path", ["s3://bucket/cache", "file:///tmp/x", "gs:/bucket", "~nobody-of-this-name/x", "$TMP/x"]
)
def test_a_path_that_cannot_be_meant_literally_is_refused(tmp_path: Path, monkeypatch: Any, path: str) -> None:
    """A URL, an unknown home directory, a variable: ValueError, and no folder of that name is made."""
    monkeypatch.chdir(tmp_path)
    for given in path, Path(path):
        with pytest.raises(ValueError, match="path must be a folder of this machine, got"):
            SharedStore(given, maxbytes=1000)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_too_long_says_so(tmp_path: Path) -> None:
    """The error names the path and what to do, and nothing is left."""
    with pytest.raises(OSError, match="too long.*give a shorter one.*xxxxx"):
        SharedStore(tmp_path / ("x" * 300), maxbytes=1000)
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_mappings_says_so(tmp_path: Path, monkeypatch: Any) -> None:
    """As some FUSE pools are: the error names the path and the way out, and no folder is left."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    monkeypatch.setattr(header, "map_words", refuse)
    with pytest.raises(OSError, match="cannot map files into memory.*give a path on a local disk.*pool"):
        SharedStore(tmp_path / "pool", maxbytes=1000)
    assert list(tmp_path.iterdir()) == []


def test_a_limit_of_address_space_is_not_taken_for_a_full_disk(folder: Path) -> None:
    """The warning names ulimit and a smaller maxbytes; values are read through."""

    def limited() -> Any:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            (f,) = cached(SharedStore(folder, maxbytes="200 GB"), text)
            right = [f(1), f(1)] == [text(1)] * 2
        return right, [str(warning.message) for warning in caught]

    right, (message,) = end_of(limited)
    assert right and "ulimit -v" in message and "smaller maxbytes" in message and "disk" not in message


def test_the_home_directory_and_links_are_resolved(tmp_path: Path, monkeypatch: Any) -> None:
    """``~`` is the home directory; a damaged store behind a link is put aside where it is, and the link stays."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    store = SharedStore("~/link/cache", maxbytes=1000)
    assert store.path == tmp_path / "real" / "cache"
    store.close()
    (tmp_path / "link2").symlink_to(tmp_path / "real" / "cache")
    os.truncate(tmp_path / "real" / "cache" / "head", 10)
    with pytest.warns(RuntimeWarning, match="real/cache.aside1"):
        SharedStore(tmp_path / "link2", maxbytes=1000).close()
    assert (tmp_path / "link2").is_symlink() and (tmp_path / "real" / "cache" / "head").exists()


def test_a_damaged_store_on_a_mount_point_is_quarantined(template: Path, disk: Any) -> None:
    """A damaged store is moved away even if its folder cannot be renamed, such as a container's volume."""
    root = disk("4m")
    shutil.copytree(template, root, dirs_exist_ok=True)
    os.truncate(root / "head", 10)

    def run() -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            (f,) = cached(SharedStore(root, maxbytes=10_000), text)
            return [f(1), f(1)] == [text(1)] * 2 and len(caught)

    assert end_of(run) == 1


def test_bytes_that_a_killed_writer_reserved_are_released(folder: Path) -> None:
    """A writer that was killed while it wrote leaves no bytes counted as used, in this run or the next."""
    store = SharedStore(folder, maxbytes=100)
    (f,) = cached(store, lambda x: bytes(60))
    f.cache_info()
    handle = store.handle()
    row = next(iter(handle.header.function_rows()))
    handle.header.words[row + FunctionRow.USED_BYTES] = 60  # as put does before it writes
    f(1)
    assert stats_of(f, "stored", "rejected", "currbytes") == (1, 0, 60)
    handle.header.words[row + FunctionRow.USED_BYTES] = 90
    store.close()
    again = SharedStore(folder, maxbytes=100)
    assert again.currbytes == 60
    again.close()


def test_a_function_too_many_is_an_error(opened: Any) -> None:
    """It is an OSError that says to clear the store, and clearing it helps."""
    store = opened()
    words = store.handle().header.words

    def fill() -> None:
        for number in range(600):
            store.handle().header.add_function_locked(number.to_bytes(16, "little"), "f")

    with pytest.raises(OSError, match="at most 511 functions: clear it"):
        fill()
    store.clear()
    (f,) = cached(store, text)
    assert [f(1), f(1)] == [text(1)] * 2 and f.cache_info().hits == 1
    assert words[Word.FUNCTIONS] < 511


@pytest.mark.parametrize(
    "word, value", [(Word.FUNCTIONS, 1 << 40), (Word.COUNTER_ROWS, 1 << 58), (Word.NEXT_GENERATION, 1)], ids=str
)
def test_an_impossible_header_is_quarantined(template: Path, folder: Path, word: int, value: int) -> None:
    """Counts that do not match the files mean a damaged header."""
    shutil.copytree(template, folder)

    def damage() -> None:
        with open(folder / "head", "r+b") as file:
            os.pwrite(file.fileno(), value.to_bytes(8, "little"), word * WORD)

    end = run_damaged(folder, damage)
    assert isinstance(end, list) and ["renamed" in message for message in end] == [True], end


def test_two_functions_of_one_generation_are_kept_apart(template: Path, folder: Path) -> None:
    """A header that gives two functions one generation, or a generation of 0, makes no wrong value."""
    for value in 2, 0, 1 << 60:
        shutil.copytree(template, folder)

        def damage(value: int = value) -> None:
            with open(folder / "head", "r+b") as file:
                word = FunctionRow.WORDS + FunctionRow.GENERATION
                os.pwrite(file.fileno(), value.to_bytes(8, "little"), word * WORD)

        end = run_damaged(folder, damage)
        assert isinstance(end, list), end
        for path in folder.parent.iterdir():
            shutil.rmtree(path)


# Full disks


def test_a_full_disk_is_read_through_with_one_warning(disk: Any) -> None:
    """With 16 MB for a larger budget each process warns once, reads right values, and stores what fits."""
    root = disk("16m")

    def use(f: Any) -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            right = all(f(key) == bytes([key]) * 100_000 for _ in range(2) for key in range(200))
        return right, [warning.category for warning in caught], f.cache_info().hits

    def run() -> Any:
        (f,) = cached(SharedStore(root / "store", maxbytes="1 GiB"), lambda key: bytes([key]) * 100_000)
        mine = use(f)
        return mine, end_of(lambda: use(f)), use(f)

    first, child, again = end_of(run, 30)
    assert first[:2] == (True, [RuntimeWarning])
    assert child[:2] == (True, [RuntimeWarning]) and again[:2] == (True, [])
    assert 150 <= first[2] <= 168 and child[2] >= 2 * first[2] and again[2] >= 3 * first[2]


def test_a_value_that_does_not_fit_leaves_its_space_to_others(disk: Any) -> None:
    """What was written of a value that the file system did not accept is freed."""
    root = disk("4m")

    def run() -> Any:
        warnings.simplefilter("ignore")
        f, g = cached(SharedStore(root / "store", maxbytes="1 GiB"), bytes, bytearray)
        f(1), g(1)
        before = free(root)
        f(10 << 20)
        after = free(root)
        g(100_000)
        return after >= before - 65536, g.cache_stats().stored

    assert end_of(run) == (True, 2)


def test_space_that_a_clear_frees_is_used(disk: Any) -> None:
    """After a full disk and cache_clear the space is free again, warm stores again, and there is no second warning."""
    root = disk("2m")

    def run() -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            (f,) = cached(SharedStore(root / "store", maxbytes="1 GiB"), lambda key: bytes(100_000))
            f.warm(range(30), threads=1)
            first = f.cache_stats().stored
            f.cache_clear()
            f.cache_info()
            freed = free(root)
            f.warm(range(30), threads=1)
        return first > 10, f.cache_stats().stored == first, freed > 1_500_000, len(caught)

    assert end_of(run) == (True, True, True, 1)


def test_a_disk_full_to_the_last_page_at_every_step(disk: Any) -> None:
    """However many pages are left, the result is a clear OSError, or right values with a warning."""
    root = disk("256k")
    seen = set()
    for pages in range(30):
        shutil.rmtree(root / "store", ignore_errors=True)
        filler = root / "filler"
        filler.write_bytes(b"")
        with open(filler, "wb") as file:
            file.write(bytes(free(root) - 4096 * pages))

        def run() -> Any:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    store = SharedStore(root / "store", maxbytes="1 GiB")
                except OSError as exc:
                    return "error" if str(root / "store") in str(exc) else f"unclear: {exc}"
                f, g = cached(store, text, array)
                for key in [*range(1100), *range(1100)]:
                    if f(key) != text(key):
                        return f"wrong {key}"
                if not np.array_equal(g(5), array(5)) or g.cache_info("all").misses > 1 or f.cache_info().misses < 1100:
                    return "wrong"
                f.cache_clear(), f.cache_info("all"), f(1), store.clear(), store.close()
            # Besides, a cache that stores next to nothing says that it does not help.
            return [warning.category for warning in caught if "has no space left" in str(warning.message)]

        end = end_of(run)
        assert end in ("error", [], [RuntimeWarning]), (pages, end)
        seen.add(str(end))
    assert {"error", str([RuntimeWarning])} <= seen


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """A memory cgroup (v1) of 192 MiB; skips the test if none can be created."""
    group = Path(f"/sys/fs/cgroup/memory/bytecache-test-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(192 << 20))
    except OSError as exc:
        pytest.skip(f"no memory cgroup (v1) can be created here: {exc}")
    yield group
    group.rmdir()


def test_nothing_dies_in_a_memory_cgroup(memory_group: Path, disk: Any) -> None:
    """With a budget below the limit of the group no process is killed, in memory or on disk, and the budget is used."""
    source = """
        import os, sys, warnings
        with open(sys.argv[1] + "/cgroup.procs", "w") as group:
            group.write(str(os.getpid()))
        from bytecache import SharedStore, fill_once
        f = fill_once(store=SharedStore(sys.argv[2], maxbytes="64 MiB"))(lambda key: bytes([key % 256]) * 1_000_000)
        pids = []
        for _ in range(2):
            pid = os.fork()
            if not pid:
                ok = all(f(key) == bytes([key % 256]) * 1_000_000 for _ in range(2) for key in range(100))
                os._exit(0 if ok else 1)
            pids.append(pid)
        for pid in pids:
            assert os.waitpid(pid, 0)[1] == 0
        assert f.cache_stats("all").stored == 67, f.cache_stats("all")
    """
    for path in disk("128m") / "store", disk("1k").parent / "on disk":
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(source), memory_group, path],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")


# Clearing, and several functions


def test_clearing_frees_the_space_and_spares_views_and_others(opened: Any, folder: Path) -> None:
    """cache_clear frees the space; views that were handed out and other functions' values stay."""
    f, g = cached(opened(1 << 20), lambda x: np.full(10_000, x), text)
    view = f(7)
    f(8), g(1)
    f.cache_clear()
    assert (f.cache_info().currsize, g.cache_info().currsize) == (0, 1)
    assert (view == 7).all()
    assert g(1) == text(1) and g.cache_info().hits == 1
    assert sum(path.stat().st_blocks * 512 for path in folder.glob("*.arena")) < 80_000
    assert (f(7) == 7).all() and f.cache_info()[:2] == (0, 1)


def test_clearing_a_thousand_times_leaks_nothing(opened: Any, folder: Path) -> None:
    """The numbers of descriptors, files and mappings do not grow with the number of clears."""
    (f,) = cached(opened(), text)

    def resources() -> tuple[int, int, int]:
        with open("/proc/self/maps") as maps:
            mapped = sum("store" in line for line in maps)
        return len(os.listdir("/proc/self/fd")), mapped, len(os.listdir(folder))

    f(1), f.cache_clear(), f(1)
    before = resources()
    for _ in range(1000):
        f.cache_clear()
        f(1)
    assert resources() == before


def test_functions_share_the_budget(opened: Any) -> None:
    """Bytes that one function uses are not available to the other, until the first one is cleared."""
    store = opened(100)
    f, g = cached(store, bytes, bytearray)
    f(60), g(50)
    assert stats_of(g, "stored", "rejected") == (0, 1) and store.currbytes == 60
    f.cache_clear()
    g(50)
    assert stats_of(g, "stored", "rejected") == (1, 1) and store.currbytes == 50


def test_maxsize_applies_to_all_processes(opened: Any) -> None:
    """maxsize is per function, whichever process stored the entries."""
    f = fill_once(2, store=opened())(text)
    in_child(lambda: f(1))
    f(2), f(3)
    assert stats_of(f, "stored", "rejected", "currsize") == (1, 1, 2)
    assert in_child(lambda: (f(4), f.cache_stats().rejected)) == (text(4), 1)


def test_a_value_is_the_same_on_a_miss_and_on_a_hit(opened: Any) -> None:
    """bytes, views and arrays have one type, read-only, whether this call ran the function or another one did."""
    store = opened("1 MiB")
    for number, value in enumerate(
        [b"a", bytearray(b"a"), memoryview(bytearray(b"a")), np.arange(3), np.array(1.5), np.empty((0, 2))]
    ):
        f = fill_once(store=store, version=number)(lambda x, value=value: value)
        missed, hit = f(1), f(1)
        assert type(missed) is type(hit) and np.array_equal(missed, hit)
        if isinstance(hit, memoryview):
            assert missed.readonly and hit.readonly
        if isinstance(hit, np.ndarray):
            assert not missed.flags.writeable and not hit.flags.writeable


def test_errors_for_values_and_keys_name_the_way_out(opened: Any) -> None:
    """A value or key that cannot be shared raises TypeError; a value's counts as an error, a key's as nothing."""
    (f,) = cached(opened(), lambda x: {"text"})
    with pytest.raises(TypeError, match="codec of a shared store"):
        f(1)
    with pytest.raises(TypeError, match="key="):
        f([1])
    assert stats_of(f, "misses", "errors", "stored") == (1, 1, 0)


# Closing, clearing and forking during a call


def test_a_store_may_be_closed_during_a_call(opened: Any) -> None:
    """A call that was running when the store was closed returns its value, and the next call opens it again."""
    store = opened()

    def closing(x: int) -> bytes:
        store.close()
        return b"%d" % x

    (f,) = cached(store, closing)
    assert [f(1), f(1), f(2)] == [b"1", b"1", b"2"]


def test_a_child_forked_during_a_call_returns_too(opened: Any) -> None:
    """If the function forks, parent and child both get its value."""

    def forking(x: int) -> bytes:
        nonlocal child
        child = os.fork()
        return b"%d" % x

    child = -1
    (f,) = cached(opened(), forking)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
        try:
            value = f(1)
        except BaseException:
            if child == 0:
                os._exit(1)
            raise
    if child == 0:
        os._exit(0 if value == b"1" else 2)
    assert value == b"1"
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_call_during_which_others_fill_and_clear_returns(opened: Any) -> None:
    """If another process makes the table larger during a call and then clears it, the call returns its value."""

    def slow(x: int) -> bytes:
        if x < 0:
            assert in_child(lambda: ([f(key) for key in range(600)], f.cache_clear())[1]) is None
        return b"%d" % x

    (f,) = cached(opened(), slow)
    f(0)
    assert f(-1) == b"-1"
    assert f.cache_info().currsize == 0


def test_calls_of_threads_that_start_together_are_all_counted(opened: Any) -> None:
    """If threads are the first to use a function, or the first after a clear, no call is missing from the counters."""
    (f,) = cached(opened(), text)
    for _ in range(20):
        together(*[lambda key=key: f(key) for key in range(8)])
        assert f.cache_info()[:2] == (0, 8)
        assert f.cache_info("all")[:2] == (0, 8)
        f.cache_clear()


def test_two_functions_with_one_key_do_not_wait_for_each_other(opened: Any) -> None:
    """While one function runs for a key, another process can run another function for it."""
    asking, asked = os.pipe()
    answering, answered = os.pipe()

    def outer(x: int) -> bytes:
        os.write(asked, b"?")
        return os.read(answering, 10)

    f, g = cached(opened(), outer, text)

    def other() -> Any:
        os.read(asking, 1)
        value = g(1)
        os.write(answered, b"answer")
        return value

    end = start(lambda: in_child(other))
    try:
        assert f(1) == b"answer" and end() == text(1)
    finally:
        for fd in asking, asked, answering, answered:
            os.close(fd)


def test_a_call_inside_of_a_call_keeps_the_outer_lease(opened: Any) -> None:
    """A function that calls another one with the same key is still run by one process only."""
    store = opened()
    (inner,) = cached(store, text)

    def outer(x: int) -> bytes:
        inner(x)
        locks = ByteRangeLocks(store.path / "head")  # as another process opens them
        try:
            lease = KeyLease(locks, f._digest_of((x,), {}), f._cache.partition.generation)
            return b"free" if lease.acquire(wait=False) else b"leased"
        finally:
            locks.close()

    (f,) = cached(store, outer)
    assert f(1) == b"leased"


def test_an_interrupted_wait_for_another_process_leaves_no_trace(opened: Any) -> None:
    """Ctrl-C while another process runs the function raises, and this thread has no lease afterwards."""
    asking, asked = os.pipe()

    def slow(x: int) -> bytes:
        os.write(asked, b"?")
        signal.pause()
        return b""

    (f,) = cached(opened(), slow)
    f.cache_info()
    pid = os.fork()
    if pid == 0:
        f(1)
        os._exit(0)
    os.read(asking, 1)
    main_thread = f"/proc/self/task/{threading.main_thread().native_id}"

    def interrupt() -> None:
        until(lambda: waits_for_lock(main_thread))
        os.kill(os.getpid(), signal.SIGINT)

    end = start(interrupt)
    with pytest.raises(KeyboardInterrupt):
        f(1)
    end()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(asking), os.close(asked)
    assert not leased_flight._leases_of_thread.get(threading.get_ident())
    assert f._cache.flights._flights == {}


def test_two_wrappers_of_one_function_run_it_once(opened: Any) -> None:
    """A function decorated twice, as an unpickled copy is, is run once by two threads that miss together."""
    running, ran = threading.Barrier(2), []

    def slow(x: int) -> bytes:
        ran.append(x)
        try:
            running.wait(0.5)
        except threading.BrokenBarrierError:
            pass
        return b"x"

    store = opened()
    one, other = (fill_once(store=store, version=1)(slow) for _ in range(2))
    one.cache_info(), other.cache_info()
    assert together(lambda: one(1), lambda: other(1)) == [b"x", b"x"]
    assert ran == [1]


def test_values_stay_right_while_threads_close_the_store(tmp_path: Path) -> None:
    """Closing in one thread does not unlock another thread's write, in three processes at once."""
    maxbytes = 1 << 22

    def fill_and_close(seed: int) -> str:
        store = SharedStore(tmp_path / "store", maxbytes=maxbytes)
        (f,) = cached(store, lambda x: b"%d" % x * 50)
        ended = threading.Event()

        def close() -> None:
            while not ended.is_set():
                store.close()

        def fill() -> list[int]:
            try:
                return [x for x in random.Random(seed).choices(range(1500), k=1500) if f(x) != b"%d" % x * 50]
            finally:
                ended.set()

        return repr(together(fill, close))

    ends = [start(lambda seed=seed: in_child(lambda: fill_and_close(seed), 60)) for seed in range(3)]
    assert [end() for end in ends] == ["[[], None]"] * 3


def test_an_arena_that_was_left_short_is_extended(tmp_path: Path) -> None:
    """A process that is killed while it frees space leaves a short arena; no value is cut off."""
    store = SharedStore(tmp_path / "store", maxbytes=1 << 20)
    (f,) = cached(store, lambda x: bytes([x]) * 1000)
    f(1)
    (arena,) = (tmp_path / "store").glob("*.arena")
    os.truncate(arena, 1000)
    store.close()
    other = SharedStore(tmp_path / "store", maxbytes=1 << 20)
    (g,) = cached(other, lambda x: bytes([x]) * 1000)
    assert [g(1), g(2), g(2)] == [bytes([1]) * 1000, *2 * [bytes([2]) * 1000]]
    assert arena.stat().st_size >= 1 << 20
    other.close()


def test_a_path_below_a_dangling_link_is_an_error(tmp_path: Path) -> None:
    """A link to storage that is not mounted raises at once."""
    (tmp_path / "scratch").symlink_to(tmp_path / "unmounted")
    with pytest.raises(OSError):
        SharedStore(tmp_path / "scratch" / "store", maxbytes=1000)


def test_a_function_warns_if_the_store_is_full_of_other_values(tmp_path: Path) -> None:
    """That includes a function whose code has changed: its old values use the whole budget."""
    store = SharedStore(tmp_path / "store", maxbytes=100)
    old, new = cached(store, lambda x: b"old" + bytes(97), lambda x: b"new" + bytes(97))
    old(1)
    with pytest.warns(RuntimeWarning, match="full of the values of .*: those of .*<lambda> are read each time.*clear"):
        assert new(1)[:3] == b"new"
    store.clear()
    assert (new(1)[:3], new(1)[:3], new.cache_info()[:2]) == (b"new", b"new", (1, 1))
    store.close()


def resident_pages(path: Path) -> int:
    """Return how many pages of a file are in the page cache."""
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open("rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as pages:
        mapped = np.frombuffer(pages, np.uint8)
        seen = np.zeros(-(-len(mapped) // mmap.PAGESIZE), np.uint8)
        address = ctypes.c_void_p(mapped.ctypes.data)
        failed = libc.mincore(address, ctypes.c_size_t(len(mapped)), ctypes.c_void_p(seen.ctypes.data))
        del mapped
    assert not failed, os.strerror(ctypes.get_errno())
    return int((seen & 1).sum())


def test_a_hit_on_disk_reads_its_value_and_no_more(tmp_path: Path) -> None:
    """By default the kernel reads megabytes around each page of a mapping: too much if memory is short."""
    if is_memory_backed(tmp_path):
        pytest.skip(f"{tmp_path} is in memory")
    nbytes = 25 * mmap.PAGESIZE
    store = SharedStore(tmp_path / "store", maxbytes="64 MB")
    [read] = cached(store, lambda key: bytes([key]) * nbytes)
    for key in range(100):
        read(key)
    arena = next((tmp_path / "store").rglob("*.arena"))
    with arena.open("rb") as f:
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    store.close()
    dropped = resident_pages(arena)
    assert read(50) == bytes([50]) * nbytes
    assert dropped + 25 <= resident_pages(arena) <= dropped + 26


def test_an_empty_value_at_the_end_of_a_full_store(tmp_path: Path) -> None:
    """It is stored and read, although no page follows that the kernel could read ahead."""
    store = SharedStore(tmp_path / "store", maxbytes=4 * mmap.PAGESIZE)
    [read] = cached(store, lambda key: bytes(key * mmap.PAGESIZE))
    assert [len(read(key)) for key in (4, 0, 4, 0)] == [4 * mmap.PAGESIZE, 0, 4 * mmap.PAGESIZE, 0]
    assert read.cache_info()[:2] == (2, 2)


# File systems that write a changed page to another place


def test_a_file_system_that_copies_on_write(disk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a store through a mapping could fail, words are written by a call: all works, also on a full disk."""
    monkeypatch.setattr(filesystem, "_IN_PLACE", frozenset())
    root = disk("4m")

    def run() -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            store = SharedStore(root / "store", maxbytes="1 GiB")
            assert not isinstance(store.handle().header.words, memoryview)
            f, g = cached(store, lambda key: b"%d" % key * 2000, array)
            right = np.array_equal(g(5), array(5)) and np.array_equal(g(5), array(5))
            for _ in range(2):
                right = right and all(f(key) == b"%d" % key * 2000 for key in range(1500))
            counted = [f.cache_info()[:2], f.cache_info("all")[:2], g.cache_info()[:2]]
        return right, sum(counted[0]), counted[0] == counted[1], counted[2], len(caught)

    assert end_of(run, 30) == (True, 3000, True, (1, 1), 1)


@pytest.fixture
def btrfs(tmp_path: Path) -> Iterator[Path]:
    """Mounts a btrfs of 120 MB, which is half full; skips the test if that is not possible here."""
    image, root = tmp_path / "image", tmp_path / "btrfs"
    root.mkdir()
    image.touch()
    os.truncate(image, 120_000_000)
    try:
        for command in (["mkfs.btrfs", "-q", image], ["mount", "-o", "loop", image, root]):
            subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        pytest.skip(f"no btrfs can be mounted here: {exc}")
    yield root
    subprocess.run(["umount", "-l", root], check=True)


@pytest.mark.parametrize("nbytes", [200, 100_000])
def test_a_full_btrfs_is_read_through_with_one_warning(btrfs: Path, nbytes: int) -> None:
    """No process is ended by SIGBUS, whoever has filled the disk, and calls are counted in full."""

    def run() -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            (f,) = cached(SharedStore(btrfs / "store", maxbytes="1 GiB"), lambda key: bytes([key % 256]) * nbytes)
            f(0)
            filler = os.open(btrfs / "filler", os.O_WRONLY | os.O_CREAT)
            try:
                while True:
                    os.write(filler, bytes(1 << 16))
            except OSError:
                os.fsync(filler)
            right = all(f(key) == bytes([key % 256]) * nbytes for _ in range(3) for key in range(2000))
        return right, sum(f.cache_info()[:2]), sum("no space left" in str(warning.message) for warning in caught) <= 1

    assert end_of(run, 60) == (True, 6001, True)


# What is left for copies


def test_the_arena_ends_where_its_last_value_ends(opened: Any, folder: Path) -> None:
    """Once the last process lets go, an archive of the folder is as large as its values; the next run fills it up."""
    store = opened("100 MB")
    f, g = cached(store, lambda key: bytes([key]) * 1000, text)
    for key in range(50):
        f(key)
    g(1), g.cache_clear(), g.cache_info()
    store.close()
    (arena, empty) = sorted(folder.glob("*.arena"), key=lambda path: -path.stat().st_size)
    assert 50_000 <= arena.stat().st_size <= 50_000 + 3 * mmap.PAGESIZE
    assert empty.stat().st_size <= 3 * mmap.PAGESIZE
    shutil.copytree(folder, folder.with_name("copy"))
    for path in folder, folder.with_name("copy"):
        again = SharedStore(path, maxbytes="100 MB")
        f, g = cached(again, lambda key: bytes([key]) * 1000, text)
        assert all(f(key) == bytes([key]) * 1000 for key in range(200)) and g(1) == text(1)
        assert f.cache_info()[:2] == (50, 150)
        again.close()


def test_a_process_that_is_not_the_last_leaves_the_arena(opened: Any, folder: Path) -> None:
    """Others go on writing to it."""
    store, other = opened("1 MB"), opened("1 MB")
    (f,) = cached(store, text)
    f(1)
    other.close()
    assert next(folder.glob("*.arena")).stat().st_size >= 1_000_000
    assert [f(2), f(2)] == [text(2)] * 2
