"""macOS and Windows, imitated in fresh processes: caches in memory work, and shared stores say that they do not."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from helpers.images import make_jpeg

ROOT = Path(__file__).parents[2]
# What a process of that system does not have is taken away before bytecache is imported, and after all that others
# import, who know how to do without.
PRELUDE = """
import asyncio, concurrent.futures, ctypes, gc, importlib.abc, json, logging, mmap, multiprocessing.util, os, signal
import subprocess, sys, tempfile, types, zlib
import numpy, numpy.lib.format, simplejpeg

SYSTEM = {system!r}
MODULES = {{"resource", "grp", "pwd", "termios", "posix"}} | ({{"fcntl"}} if SYSTEM == "win32" else set())
NAMES = {{
    os: "sched_getaffinity sched_setaffinity posix_fallocate posix_fadvise memfd_create eventfd getrandom",
    mmap: "MADV_RANDOM MADV_WILLNEED MADV_SEQUENTIAL MADV_DONTNEED MADV_POPULATE_READ MAP_POPULATE",
}}
if SYSTEM == "win32":
    NAMES[os] += (
        " fork register_at_fork geteuid getuid getgid getegid fchmod fchown chown statvfs fstatvfs pread pwrite preadv"
        " pwritev sysconf sysconf_names uname O_CLOEXEC O_DIRECTORY O_NOFOLLOW sched_yield mkfifo setuid posix_spawn"
        " killpg getpgid setsid WNOHANG waitid"
    )
    NAMES[mmap] += " PROT_READ PROT_WRITE MAP_SHARED MAP_PRIVATE MAP_ANONYMOUS MAP_ANON"
    NAMES[signal] = "SIGHUP SIGKILL SIGUSR1 SIGALRM SIGCHLD alarm setitimer pause pthread_sigmask pthread_kill"


class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in MODULES:
            raise ImportError(f"no module {{name!r}} on {{SYSTEM}}")


sys.meta_path.insert(0, Hidden())
for name in MODULES:
    sys.modules.pop(name, None)
for owner, names in NAMES.items():
    for name in names.split():
        vars(owner).pop(name, None)
sys.platform = SYSTEM
# There is no /proc either.
import bytecache.system.memory_limit as memory_limit
memory_limit.available_memory.__defaults__ = (memory_limit.Path("/no/proc"),)
"""


def run(system: str, code: str, *arguments: str) -> str:
    """Return what a script prints on an imitated system."""
    script = PRELUDE.format(system=system) + textwrap.dedent(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore::DeprecationWarning"}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


systems = pytest.mark.parametrize("system", ["darwin", "win32"])


@systems
def test_what_works_in_memory_works(system: str, tmp_path: Path) -> None:
    """Caches, many keys on threads, pictures, predictions, and the commands that need no store."""
    for n in range(3):
        (tmp_path / f"{n}.jpg").write_bytes(make_jpeg(64, 48, n))
    code = """
        import bytecache
        from bytecache.cli.main import main

        folder = sys.argv[1]
        paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
        for decorate in bytecache.fill_once, bytecache.lru_cache:
            @decorate(maxbytes="10 MiB", key=bytecache.file_key)
            def read(path):
                with open(path, "rb") as file:
                    return file.read()

            read.warm(paths, threads=2)
            data = read.map(paths, threads=2)
            assert read.cache_discard(paths[0]) and not read.cache_contains(paths[0])
            assert read.cache_info()[:2] == (3, 3), read.cache_info()
        assert bytecache.decode_batch(data, threads=2).shape == (3, 64, 48, 3)
        assert bytecache.decode_jpeg(data[0]).shape == (64, 48, 3)
        assert main(["check", folder]) == 0 and main(["simulate", folder, "--maxbytes", "1 MiB"]) == 0
    """
    run(system, code, str(tmp_path))


@systems
def test_a_shared_store_is_refused_at_once(system: str, tmp_path: Path) -> None:
    """All three ways to make one raise the same OSError, which names the system and the way out; nothing is made."""
    code = """
        import bytecache

        for make in (
            lambda: bytecache.SharedStore(maxbytes=1000),
            lambda: bytecache.SharedStore(sys.argv[1] + "/store", maxbytes=1000),
            lambda: bytecache.fill_once(shared=True, maxbytes=1000)(len),
        ):
            try:
                make()
            except OSError as exc:
                print(exc)
    """
    lines = run(system, code, str(tmp_path)).splitlines()
    assert len(lines) == 3
    for line in lines:
        assert "Linux only" in line and f"this is {system}" in line and "leave out shared= and store=" in line
    assert list(tmp_path.iterdir()) == []


@systems
@pytest.mark.parametrize("command", ["info", "verify", "clear", "ls", "sweep"])
def test_the_commands_on_stores_say_where_they_work(system: str, command: str, tmp_path: Path) -> None:
    """The status is 2, and stderr says so; a path need not exist."""
    code = """
        import contextlib, io
        from bytecache.cli.main import main

        with contextlib.redirect_stderr(io.StringIO()) as err:
            print(main(sys.argv[1:]))
        print(err.getvalue())
    """
    path = [str(tmp_path)] if command in ("info", "verify", "clear") else []
    status, *message = run(system, code, command, *path).splitlines()
    assert status == "2" and "Linux only" in "".join(message)


def test_half_of_the_memory_on_windows() -> None:
    """It is asked for by GlobalMemoryStatusEx, whose structure has 64 bytes; what is free counts."""
    code = """
        from bytecache.system.byte_sizes import parse_size

        def fill(reference):
            status = reference._obj
            assert status[0] & 0xFFFFFFFF == 64 == ctypes.sizeof(status)
            status[1:4] = [16 << 30, 6 << 30, 32 << 30]
            return 1

        ctypes.windll = types.SimpleNamespace(kernel32=types.SimpleNamespace(GlobalMemoryStatusEx=fill))
        print(parse_size("50%"))
    """
    assert int(run("win32", code)) == 3 << 30


@pytest.mark.parametrize("missing", [False, True])
def test_half_of_the_memory_on_macos(missing: bool) -> None:
    """It is what sysconf says; or, if that knows of no such number, the kernel's hw.memsize."""
    code = """
        from bytecache.system.byte_sizes import parse_size

        def sysctlbyname(name, value, length, new, new_length):
            assert name == b"hw.memsize" and length._obj.value == 8 and new is None
            value._obj.value = 8 << 30
            return 0

        def sysconf(name):
            if sys.argv[1] == "True" and name == "SC_PHYS_PAGES":
                raise ValueError("unrecognized configuration name")
            return {"SC_PAGE_SIZE": 16384, "SC_PHYS_PAGES": (4 << 30) // 16384}[name]

        os.sysconf = sysconf
        ctypes.CDLL = lambda name: types.SimpleNamespace(sysctlbyname=sysctlbyname)
        print(parse_size("50%"))
    """
    assert int(run("darwin", code, str(missing))) == (4 << 30 if missing else 2 << 30)


def test_a_system_that_does_not_tell_its_memory() -> None:
    """A share of it cannot be given; the error names another way to give the budget."""
    code = """
        import bytecache

        try:
            bytecache.fill_once(maxbytes="50%")
        except OSError as exc:
            print(exc)
    """
    assert "give the budget in bytes" in run("win32", code)
