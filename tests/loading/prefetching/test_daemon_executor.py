"""An executor whose threads keep neither the interpreter nor its owner waiting."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import CancelledError, Future

import pytest
from helpers.processes import in_child
from helpers.threads import PATIENCE_S

from bytecache.loading.prefetching.daemon_executor import DaemonExecutor


def test_calls_start_in_order_on_as_many_threads_as_are_needed() -> None:
    """At most those of the limit; a result or an exception is its call's."""
    executor = DaemonExecutor(2, "bytecache-test")
    barrier = threading.Barrier(2)
    both = [executor.submit(barrier.wait, PATIENCE_S) for _ in range(2)]
    assert sorted(future.result(PATIENCE_S) for future in both) == [0, 1]
    numbers: list[int] = []
    for future in [executor.submit(numbers.append, n) for n in range(50)]:
        future.result(PATIENCE_S)
    assert sorted(numbers) == list(range(50)) and len(executor._threads) == 2
    with pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 1, 0).result(PATIENCE_S)
    executor.shutdown()


def test_shutdown_waits_for_what_is_queued_or_cancels_it() -> None:
    """After it, no more calls are taken."""
    for cancel in (False, True):
        executor, started, hold = DaemonExecutor(1, "bytecache-test"), threading.Event(), threading.Event()

        def run(started: threading.Event = started, hold: threading.Event = hold) -> bool:
            started.set()
            return hold.wait(PATIENCE_S)

        running, queued = executor.submit(run), executor.submit(int)
        assert started.wait(PATIENCE_S)
        executor.shutdown(wait=False, cancel_futures=cancel)
        hold.set()
        assert running.result(PATIENCE_S) is True
        if cancel:
            with pytest.raises(CancelledError):
                queued.result(PATIENCE_S)
        else:
            assert queued.result(PATIENCE_S) == 0
        executor.shutdown()
        assert not any(thread.is_alive() for thread in executor._threads)
        with pytest.raises(RuntimeError, match="shut down"):
            executor.submit(int)


def test_threads_end_with_the_executor(plain_gc: None) -> None:
    """What is queued is cancelled then."""
    executor = DaemonExecutor(1, "bytecache-test")
    hold = threading.Event()
    executor.submit(hold.wait, PATIENCE_S)
    queued: Future[int] = executor.submit(int)
    (thread,) = executor._threads
    del executor
    assert queued.cancelled()
    hold.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_child_waits_for_no_thread_of_its_parent() -> None:
    """Shut down or collected there, the executor leaves the parent's calls alone."""
    executor = DaemonExecutor(1, "bytecache-test")
    hold = threading.Event()
    running = executor.submit(hold.wait, PATIENCE_S)
    assert in_child(lambda: executor.shutdown()) is None
    hold.set()
    assert running.result(PATIENCE_S) is True
    executor.shutdown()


def test_an_exit_lets_running_calls_end_and_starts_no_others() -> None:
    """A call that hangs does not keep the interpreter."""
    script = (
        "import atexit, threading, time\n"
        "from bytecache.loading.prefetching.daemon_executor import DaemonExecutor as E\n"
        "short, hanging, began, ends = E(1, 'a'), E(1, 'b'), threading.Event(), threading.Event()\n"
        "short.submit(lambda: (began.set(), ends.wait(), print('ended', flush=True)))\n"
        "began.wait(); atexit.register(ends.set)\n"
        "short.submit(print, 'started', flush=True)\n"
        "hanging.submit(time.sleep, 1000)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "ended\n", "")
