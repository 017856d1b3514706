"""The name of a run, and the folder that all its processes find."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.internals import store_of
from helpers.mounts import mounted_tmpfs
from helpers.processes import in_child
from helpers.threads import PATIENCE_S

from bytecache import SharedStore, fill_once
from bytecache.stores.shared import run_folder
from bytecache.stores.shared.attachment import attach
from bytecache.stores.shared.run_folder import attach_run_folder, run_id
from bytecache.system import filesystem, launcher

VARIABLES = {
    run_folder.RUN_VARIABLE,
    *launcher._BATCH_JOBS,
    *(name for one in launcher.LAUNCHERS for name in (one.rank, *one.common, *one.alone, one.parts) if name),
}


@pytest.fixture
def no_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment without a run or a launcher; what run_id sets in it is removed after the test."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    yield monkeypatch
    os.environ.pop(run_folder.RUN_VARIABLE, None)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An in-memory file system of 64 KiB instead of /dev/shm, next to a temporary directory."""
    (tmp_path / "temp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    with mounted_tmpfs(tmp_path / "shm", "size=64k") as folder:
        monkeypatch.setattr(run_folder, "_MEMORY", folder)
        monkeypatch.setattr(filesystem, "SHARED_MEMORY", folder)
        yield folder


# The run


def test_the_run_is_in_the_environment_of_descendants(no_run: Any) -> None:
    """The first call sets BYTECACHE_RUN, and later calls return the same."""
    name = run_id()
    assert os.environ["BYTECACHE_RUN"] == name == run_id()
    assert name.isalnum()


@pytest.mark.parametrize("value", ["abc", "a/../../b", "", "x" * 65, "ä b", "\udcff", "\N{SUPERSCRIPT TWO}" * 64])
def test_any_value_of_the_variable_makes_a_folder_name(no_run: Any, value: str) -> None:
    """Whatever BYTECACHE_RUN is, the name of the run is one short path component, the same each time."""
    no_run.setenv("BYTECACHE_RUN", value)
    name = run_id()
    assert name == run_id() != ""
    assert "/" not in name and len(os.fsencode(name)) <= 64


def test_different_values_of_the_variable_are_different_runs(no_run: Any) -> None:
    """Two values are two runs, even if they cannot be folder names."""
    names = set()
    for value in "a", "b", "a/b", "a/c", "":
        no_run.setenv("BYTECACHE_RUN", value)
        names.add(run_id())
    assert len(names) == 5


RANKS = [
    ({"TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}, {}),
    ({"MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}, {"LOCAL_RANK": "%d"}),
    ({"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}, {"SLURM_PROCID": "%d"}),
    ({"PMIX_NAMESPACE": "x"}, {"PMIX_RANK": "%d"}),
]


@pytest.mark.parametrize("common, own", RANKS, ids=["torchrun", "torch.distributed", "slurm", "pmix"])
def test_ranks_of_one_launcher_are_one_run(no_run: Any, common: dict[str, str], own: dict[str, str]) -> None:
    """Ranks share what the launcher has set for all of them; another job of the same launcher is another run."""

    def name_in(rank: int, **other: str) -> str:
        os.environ.pop("BYTECACHE_RUN", None)
        for name, value in {**common, **{name: value % rank for name, value in own.items()}, **other}.items():
            no_run.setenv(name, value)
        return run_id()

    assert name_in(0) == name_in(1)
    assert name_in(0, **{list(common)[-1]: "other"}) != name_in(0)


def test_two_programs_are_two_runs(no_run: Any) -> None:
    """Programs that were not launched together have different runs; a program's child is in its parent's run."""
    code = "from bytecache.stores.shared.run_folder import run_id; print(run_id())"
    nested = f"import subprocess, sys; {code}; sys.stdout.flush(); subprocess.run([sys.executable, '-c', {code!r}])"
    one, two = (subprocess.run([sys.executable, "-c", nested], capture_output=True, text=True) for _ in range(2))
    names = [*one.stdout.split(), *two.stdout.split()]
    assert len(names) == 4 and len(set(names)) == 2
    assert names[0] == names[1] and names[2] == names[3]


def test_a_job_that_a_run_submits_is_another_run(no_run: Any) -> None:
    """A scheduler passes the environment on to the job; a name that a user has chosen holds for all jobs."""
    name = run_id()
    no_run.setenv("SLURM_JOB_ID", "1")
    first = run_id()
    no_run.setenv("SLURM_JOB_ID", "2")
    assert len({name, first, run_id()}) == 3
    no_run.setenv("BYTECACHE_RUN", "mine")
    assert run_id() == "mine"


# The run's folder


def detach_all(*attachments: Any) -> None:
    for attachment in attachments:
        attachment.remove_when_last = True
        attachment.detach()


def attach_unprepared(folder: Path) -> Any:
    return attach(folder, lambda: None, lambda: True)


def test_a_budget_that_fits_in_memory_goes_there(small: Path, no_run: Any) -> None:
    """It goes there without a warning; later processes find the folder there, whatever their budget."""
    first = attach_run_folder("x", 48_000, attach_unprepared)
    second = attach_run_folder("x", 1 << 40, attach_unprepared)
    assert first.folder == second.folder and first.folder.parent == small
    detach_all(first, second)
    assert list(small.iterdir()) == []


def test_a_budget_that_does_not_fit_in_memory_goes_to_the_temporary_directory(small: Path, no_run: Any) -> None:
    """It goes there with one warning that says why."""
    with pytest.warns(
        RuntimeWarning, match=r"100,000 bytes does not fit in .*shm.*49,152.*25%.*temp.*maxbytes.*shm-size"
    ) as caught:
        first = attach_run_folder("x", 100_000, attach_unprepared)
    assert len(caught) == 1
    second = attach_run_folder("x", 100_000, attach_unprepared)
    assert first.folder == second.folder and first.folder.parent == Path(tempfile.gettempdir())
    detach_all(first, second)
    assert list(Path(tempfile.gettempdir()).iterdir()) == []


def test_a_budget_that_fits_only_without_the_reserve_goes_to_the_temporary_directory(small: Path, no_run: Any) -> None:
    """A part of the memory is left to other programs, and the warning says how much."""
    with pytest.warns(RuntimeWarning, match="25% of it that other programs need"):
        first = attach_run_folder("x", 60_000, attach_unprepared)
    assert first.folder.parent == Path(tempfile.gettempdir())
    detach_all(first)


def test_the_reserve_is_not_taken_from_what_the_process_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_run: Any
) -> None:
    """A budget within the process's own limit goes into memory, though the reserve is larger than that limit."""
    resource = pytest.importorskip("resource")
    with mounted_tmpfs(tmp_path / "shm", "size=8g") as folder:
        monkeypatch.setattr(run_folder, "_MEMORY", folder)
        monkeypatch.setattr(filesystem, "SHARED_MEMORY", folder)

        def place() -> str:
            status = Path("/proc/self/status").read_text(encoding="ascii")
            used = int(status.partition("VmData:")[2].split()[0]) << 10
            resource.setrlimit(resource.RLIMIT_DATA, (used + (1 << 30), resource.RLIM_INFINITY))
            return str(attach_run_folder("x", 500 << 20, attach_unprepared).folder.parent)

        assert in_child(place) == str(folder)


def test_stores_that_fit_one_by_one_leave_the_reserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_run: Any
) -> None:
    """Together they stop storing where the reserve begins, each with one warning, and hit what they have."""
    with mounted_tmpfs(tmp_path / "shm", "size=8m") as folder:
        monkeypatch.setattr(run_folder, "_MEMORY", folder)
        monkeypatch.setattr(filesystem, "SHARED_MEMORY", folder)
        functions = [fill_once(shared=True, maxbytes="4 MB")(lambda key, n=n: bytes([n]) * 100_000) for n in range(2)]
        with pytest.warns(RuntimeWarning, match="25% of .*shm are left to other programs.*the rest is full") as caught:
            for _ in range(2):
                for key in range(40):
                    assert [f(key)[0] for f in functions] == [0, 1]
        space = os.statvfs(folder)
        assert 0 <= space.f_bavail * space.f_frsize - (2 << 20) <= 200_000
        assert len(caught) == 2 and all(f.cache_info().hits >= 25 for f in functions)
        for f in functions:
            store_of(f).close()


def test_processes_with_other_temporary_directories_meet(small: Path, no_run: Any, tmp_path: Path) -> None:
    """A store that does not fit in memory is found by a link there, which goes with it; a leftover goes too."""
    with pytest.warns(RuntimeWarning, match="does not fit"):
        first = attach_run_folder("x", 100_000, attach_unprepared)
    (tmp_path / "other").mkdir()
    no_run.setattr(tempfile, "tempdir", str(tmp_path / "other"))
    second = attach_run_folder("x", 100_000, attach_unprepared)
    assert second.folder == first.folder and second.folder.parent == tmp_path / "temp"
    detach_all(first, second)
    assert list(small.iterdir()) == list((tmp_path / "temp").iterdir()) == []
    no_run.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        in_child(lambda: attach_run_folder(f"{1:016x}", 100_000, attach_unprepared).folder.name)
    no_run.setattr(tempfile, "tempdir", str(tmp_path / "other"))
    detach_all(attach_run_folder(f"{2:016x}", 100, attach_unprepared))
    assert list(small.iterdir()) == list((tmp_path / "temp").iterdir()) == []


def test_a_machine_without_memory_files_uses_the_temporary_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_run: Any
) -> None:
    """Without /dev/shm a store is kept in the temporary directory, with one warning."""
    monkeypatch.setattr(run_folder, "_MEMORY", tmp_path / "none")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.warns(RuntimeWarning, match="none, where 0 bytes are free"):
        first = attach_run_folder("x", 100, attach_unprepared)
    assert first.folder.parent == tmp_path
    detach_all(first)


def test_nowhere_to_write_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_run: Any) -> None:
    """If neither folder can be written to, the error names both, and path=."""
    monkeypatch.setattr(run_folder, "_MEMORY", tmp_path / "none")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nor this"))
    with pytest.raises(OSError, match="neither .*none nor .*nor this can be written to: give path="):
        attach_run_folder("x", 100, attach_unprepared)


def test_what_a_killed_run_left_is_removed(small: Path, no_run: Any) -> None:
    """The next run removes orphaned folders, in both parents; it leaves those in use and those of other users."""
    temp, mine, name = Path(tempfile.gettempdir()), f"bytecache-{os.geteuid()}-", f"{0:016x}"
    other = attach_unprepared(small / f"{mine}used-{name}")
    for parent in small, temp:
        (parent / f"{mine}old-{name}").mkdir()
        (parent / f"{mine}old-{name}" / "head").write_bytes(b"x")
        (parent / f"bytecache-99999-old-{name}").mkdir()
        (parent / f"{mine}file").write_bytes(b"")
    target = temp / "precious"
    target.mkdir()
    (temp / f"{mine}link-{name}").symlink_to(target)
    own = attach_run_folder(name, 100, attach_unprepared)
    assert {path.name for path in small.iterdir()} == {
        f"bytecache-99999-old-{name}", f"{mine}file", other.folder.name, own.folder.name
    }  # fmt: skip
    assert not (temp / f"{mine}old-{name}").exists() and target.exists()
    detach_all(other, own)


def test_folders_that_only_look_like_those_of_runs_are_left_alone(small: Path, no_run: Any) -> None:
    """Neither a new run nor a sweep removes what a run has not made, whatever begins as its folders do."""
    temp, uid, name = Path(tempfile.gettempdir()), os.geteuid(), f"{0:016x}"
    kept = [
        parent / folder / file
        for parent in (small, temp)
        for folder in ("bytecache-my-images", f"bytecache-{uid}-images", f"bytecache-{uid}-my-images")
        for file in ("1.jpg", "head")
    ]
    kept += [temp / f"bytecache-{uid}-old-{name}" / "1.jpg", temp / f"bytecache-{uid}-old-{name}" / "head"]
    kept += [temp / f"bytecache-{uid}-older-{name}" / "head" / "1.jpg"]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    own = attach_run_folder(name, 100, attach_unprepared)
    assert [run["path"] for run in run_folder.list_runs()["stores"]] == [str(own.folder)]
    assert run_folder.sweep()["removed"] == []
    assert [path for path in kept if not path.exists()] == []
    detach_all(own)


def test_the_folder_of_a_run_with_something_else_in_it_is_refused(small: Path, no_run: Any) -> None:
    """And what is in it stays."""
    path = small / f"bytecache-{os.geteuid()}-{run_id()}-{0:016x}" / "1.jpg"
    path.parent.mkdir()
    path.write_bytes(b"x")
    with pytest.raises(FileExistsError, match="contains '1.jpg': move that away, or give path=.*bytecache-"):
        SharedStore.open(None, f"{0:016x}", 1000)
    assert path.exists()


def script(tmp_path: Path, source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program whose /dev/shm is a folder in tmp_path, with a temporary directory of its own."""
    (tmp_path / "shm").mkdir(exist_ok=True)
    path = tmp_path / "program.py"
    path.write_text(
        "import os, sys, tempfile, warnings, pathlib\nfrom bytecache import SharedStore, fill_once\n"
        "from bytecache.stores.shared import run_folder\n"
        f"run_folder._MEMORY = shm = pathlib.Path({str(tmp_path / 'shm')!r})\n" + textwrap.dedent(source)
    )
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    with tempfile.TemporaryDirectory() as temp:  # short: a socket's path has 107 bytes
        return subprocess.run(
            [sys.executable, "-W", "error", path, *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env={**environment, "TMPDIR": temp},
        )


def test_a_store_without_references_is_removed_at_once(tmp_path: Path) -> None:
    """A store without a path leaves memory with its last reference, even right after a call that raised."""
    done = script(
        tmp_path,
        """
        import gc
        gc.disable()

        def check(raises, bulk):
            f = fill_once(shared=True, maxbytes=10_000)(lambda x: b"%d" % (10 // x))
            g = fill_once(store=SharedStore(maxbytes=10_000))(lambda x: b"%d" % (10 // x))
            for cached in f, g:
                assert cached(1) == b"10" and cached.map([1, 2]) == [b"10", b"5"]
                cached.cache_info("all"), cached.cache_stats(), cached.cache_clear(), cached(2)
                for _ in range(raises):
                    try:
                        cached.map([0], threads=1) if bulk else cached(0)
                    except ZeroDivisionError:
                        pass
            assert len(list(shm.iterdir())) == 2

        for raises in range(3):
            for bulk in False, True:
                check(raises, bulk)
                assert list(shm.iterdir()) == [], (raises, bulk)
        """,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_views_outlive_the_store(tmp_path: Path) -> None:
    """Arrays and memoryviews that were handed out stay valid after the store was removed."""
    done = script(
        tmp_path,
        """
        import numpy as np
        f = fill_once(shared=True, maxbytes=1 << 20)(lambda x: np.full(1000, x))
        g = fill_once(shared=True, maxbytes=1 << 20)(lambda x: memoryview(bytes([x]) * 1000))
        a, b, c = f(3), g(4), g.map([5], copy=False)[0]
        del f, g
        assert list(shm.iterdir()) == []
        assert (a == 3).all() and bytes(b) == bytes([4]) * 1000 and bytes(c) == bytes([5]) * 1000
        """,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("end", ["pass", "sys.exit(0)", "raise KeyboardInterrupt", "1 / 0"])
def test_the_end_of_the_program_removes_its_stores(tmp_path: Path, end: str) -> None:
    """However the interpreter ends, a store without a path is removed, although there are references to it."""
    script(tmp_path, f"f = fill_once(shared=True, maxbytes=1000)(bytes)\nf(3)\nassert list(shm.iterdir())\n{end}\n")
    assert list((tmp_path / "shm").iterdir()) == []


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_the_last_process_of_a_run_removes_the_store(tmp_path: Path, method: str) -> None:
    """Workers of every start method use their parent's store, and nothing is left when all have ended."""
    done = script(
        tmp_path,
        f"""
        import multiprocessing

        @fill_once(shared=True, maxbytes=1000)
        def f(x):
            return b"%d" % os.getpid()

        def child(queue):
            queue.put((f(1), f.cache_info()))

        if __name__ == "__main__":
            f(1)
            context = multiprocessing.get_context({method!r})
            queue = context.SimpleQueue()
            workers = [context.Process(target=child, args=(queue,)) for _ in range(2)]
            for worker in workers:
                worker.start()
            for _ in workers:
                value, info = queue.get()
                assert value == b"%d" % os.getpid() and info[:2] == (1, 0), info
            for worker in workers:
                worker.join()
            assert f.cache_info("all")[:2] == (2, 1)
            assert len(list(shm.iterdir())) == 1
        """,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    left = list((tmp_path / "shm").iterdir())
    if method != "forkserver":  # the fork server, which has imported the module too, may end a moment later
        assert left == []


def test_a_fork_while_another_thread_opens_a_store_blocks_neither_process(tmp_path: Path) -> None:
    """A child that was forked while its parent chose a folder keeps no lock: both can create stores afterwards."""
    done = script(
        tmp_path,
        """
        import threading
        warnings.simplefilter("ignore", DeprecationWarning)
        reached, go = threading.Event(), threading.Event()

        def hook(event, args):
            if event == "os.mkdir" and "bytecache-" in str(args[0]) and not reached.is_set():
                reached.set()
                go.wait(0.3)  # a fork that waits for this thread must not wait forever

        sys.addaudithook(hook)
        stores = []
        thread = threading.Thread(target=lambda: stores.append(SharedStore(maxbytes=1000)))
        thread.start()
        reached.wait()
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(writing)
            os.read(reading, 1)  # until the parent is through
            os._exit(0)
        os.close(reading)
        go.set()
        thread.join()
        import signal
        signal.alarm(5)
        SharedStore(maxbytes=1000).close()
        signal.alarm(0)
        os.close(writing)
        os.waitpid(pid, 0)
        """,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_fork_while_another_thread_opens_a_store_leaves_nothing(tmp_path: Path) -> None:
    """A child that was forked while a store was being opened removes its own stores when it ends, not its parent's."""
    done = script(
        tmp_path,
        """
        import threading
        warnings.simplefilter("ignore", DeprecationWarning)
        reached, go = threading.Event(), threading.Event()
        armed = False

        def hook(event, args):
            if armed and event == "open" and str(args[0]).endswith("/head") and not reached.is_set():
                reached.set()
                go.wait(0.3)  # a fork that waits for this thread must not wait forever

        sys.addaudithook(hook)
        store = SharedStore(maxbytes=1000)
        store.close()
        armed = True
        thread = threading.Thread(target=store.handle)
        thread.start()
        reached.wait()
        before = set(shm.iterdir())
        pid = os.fork()
        if not pid:
            own = SharedStore(maxbytes=1000)
            del store
            sys.exit(0 if before <= set(shm.iterdir()) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        go.set()
        thread.join()
        assert set(shm.iterdir()) == before, (before, set(shm.iterdir()))
        """,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert list((tmp_path / "shm").iterdir()) == []


def test_exec_keeps_the_run(tmp_path: Path) -> None:
    """A program that replaces itself by exec can use its store again, and removes it when it ends."""
    done = script(
        tmp_path,
        """
        @fill_once(shared=True, maxbytes=1000)
        def f(x):
            return b"%d" % x
        assert f(1) == b"1"
        if len(sys.argv) < 2:
            os.execv(sys.executable, [sys.executable, "-W", "error", __file__, "again"])
        assert len(list(shm.iterdir())) == 1
        """,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert list((tmp_path / "shm").iterdir()) == []


def test_warnings_point_at_the_line_that_created_the_store(small: Path, no_run: Any) -> None:
    """The warning about memory names this file, where maxbytes can be changed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store = SharedStore(maxbytes=100_000)
    store.close()
    assert [warning.filename for warning in caught] == [__file__]


def test_a_run_that_ends_while_runs_are_listed_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder was found, and is gone at the next look; the others are listed."""
    gone, stays = tmp_path / "gone", tmp_path / "stays"
    stays.mkdir()
    monkeypatch.setattr(run_folder, "_run_folders", lambda: [gone, stays])
    assert [run["path"] for run in run_folder.list_runs()["stores"]] == [str(stays)]
