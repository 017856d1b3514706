"""Every fork hook of the library, in one stated order.

After a fork the hooks run from top to bottom, before one from bottom to top: locks are taken in the reverse of the
order in which they are released.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial

_ORDER = (
    "threads",  # a child has none of its parent's helper threads
    "waits",  # nor anybody who waits for a flight
    "leases",  # nor another thread that has a lease
    "caches",  # no cache is half way through a change while its memory is copied
    "stores",  # no store is half opened; a child opens its files again
    "remote stores",  # a child does not ask servers on the connections of its parent
    "connections",  # a child does not speak on those of its parent
    "collection",  # nor a thread for which the collector waits
)
_hooks: dict[tuple[str, str], Callable[[], object]] = {}


def at_fork(
    name: str,
    *,
    before: Callable[[], object] | None = None,
    after_in_parent: Callable[[], object] | None = None,
    after_in_child: Callable[[], object] | None = None,
) -> None:
    """Register the hooks of `name`, one of those in the stated order; raise ValueError for another name."""
    if name not in _ORDER:
        raise ValueError(f"name must be one of {_ORDER}, got {name!r}")
    hooks = {"before": before, "after_in_parent": after_in_parent, "after_in_child": after_in_child}
    _hooks.update({(name, when): hook for when, hook in hooks.items() if hook is not None})


def lock_of_child(lock: threading.RLock) -> threading.RLock:
    """Return a lock in a forked child: a new one if another thread of the parent had it, which is not here."""
    if lock.acquire(blocking=False):
        lock.release()
        return lock
    return threading.RLock()


def _run(name: str, when: str) -> None:
    hook = _hooks.get((name, when))
    if hook is not None:
        hook()


if hasattr(os, "register_at_fork"):
    for _name in _ORDER:  # one registration each, so that a hook that raises keeps no other from running
        os.register_at_fork(
            before=partial(_run, _name, "before"),
            after_in_parent=partial(_run, _name, "after_in_parent"),
            after_in_child=partial(_run, _name, "after_in_child"),
        )
