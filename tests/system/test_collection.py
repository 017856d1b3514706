"""The collector stands still while a thread has a lock of the library, and goes on afterwards as it was."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest
from helpers.processes import in_child
from helpers.threads import start

from bytecache.system.collection import no_collection


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    yield
    gc.enable()


def test_it_is_as_it_was_afterwards() -> None:
    """Enabled again if it was enabled, after an exception too; left alone if the user has disabled it."""
    with no_collection:
        assert not gc.isenabled()
        with no_collection:
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(LookupError), no_collection:
        raise LookupError
    assert gc.isenabled()
    gc.disable()
    with no_collection:
        pass
    assert not gc.isenabled()


def test_the_last_thread_to_leave_enables_it() -> None:
    """While any thread is in it, no collection starts in any."""
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with no_collection:
            inside.set()
            assert leave.wait(20)

    staying = start(stay)
    assert inside.wait(20)
    with no_collection:
        pass
    assert not gc.isenabled()
    leave.set()
    assert staying() is None and gc.isenabled()


def test_a_forked_child_collects() -> None:
    """A child has none of the threads that were in it, and one that was in it itself leaves without harm."""
    with no_collection:

        def child() -> tuple[bool, bool]:
            before = gc.isenabled()
            with no_collection:
                pass
            return before, gc.isenabled()

        assert in_child(child) == (True, True)
    assert gc.isenabled()
