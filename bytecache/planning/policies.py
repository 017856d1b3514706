"""Replacement policies for simulations: what leaves a full cache. Items are small ints.

A policy sees every use of a cached item, its admission included, and chooses victims until a candidate fits: one cached
item after another, or the candidate itself, which is then rejected while all others stay.
"""

from __future__ import annotations

import heapq
import random
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Policy(Protocol):
    """A policy as a simulation calls it; ``now`` is the position in the trace."""

    def on_admit(self, item: int, now: int) -> None: ...
    def on_hit(self, item: int, now: int) -> None: ...
    def choose_victim(self, candidate: int, now: int) -> int: ...


def replay(
    policy: Policy, items: list[int], sizes: list[int], budget: int, largest: int | None = None
) -> NDArray[np.bool_]:
    """Return which accesses of the trace `items` hit, bool (accesses,), if the policy decides on every miss.

    sizes: of each item, in the unit of `budget`. An item larger than `largest`, or than the whole budget, evicts
    nothing and is rejected.
    """
    most = budget if largest is None else min(budget, largest)
    hit, cached, used = bytearray(len(items)), bytearray(len(sizes)), 0
    on_admit, on_hit, choose_victim = policy.on_admit, policy.on_hit, policy.choose_victim
    for now, item in enumerate(items):
        if cached[item]:
            hit[now] = 1
            on_hit(item, now)
            continue
        size = sizes[item]
        if size > most:
            continue
        victims, free = [], budget - used
        while free < size:
            victim = choose_victim(item, now)
            if victim == item:
                break
            victims.append(victim)
            free += sizes[victim]
        else:
            for victim in victims:
                cached[victim] = 0
            on_admit(item, now)
            cached[item], used = 1, budget - free + size
    return np.frombuffer(hit, dtype=np.bool_)


class FillOncePolicy:
    """Nothing leaves, so the candidate is rejected: what came first stays for ever."""

    def on_admit(self, item: int, now: int) -> None:
        """Do nothing."""

    def on_hit(self, item: int, now: int) -> None:
        """Do nothing."""

    def choose_victim(self, candidate: int, now: int) -> int:
        """Return the candidate."""
        return candidate


class FIFOPolicy:
    """The oldest item leaves, whatever its uses."""

    def __init__(self) -> None:
        self._queue: OrderedDict[int, None] = OrderedDict()

    def on_admit(self, item: int, now: int) -> None:
        """Append the item to the queue."""
        self._queue[item] = None

    def on_hit(self, item: int, now: int) -> None:
        """Do nothing."""

    def choose_victim(self, candidate: int, now: int) -> int:
        """Remove and return the first of the queue."""
        return self._queue.popitem(last=False)[0]


class LRUPolicy(FIFOPolicy):
    """A queue in which a use moves an item to the end."""

    def on_hit(self, item: int, now: int) -> None:
        """Move the item to the end."""
        self._queue.move_to_end(item)


class RandomPolicy:
    """Each cached item leaves with equal probability."""

    def __init__(self, seed: int) -> None:
        self._items: list[int] = []
        self._random = random.Random(seed).random

    def on_admit(self, item: int, now: int) -> None:
        """Add the item to those drawn from."""
        self._items.append(item)

    def on_hit(self, item: int, now: int) -> None:
        """Do nothing."""

    def choose_victim(self, candidate: int, now: int) -> int:
        """Draw an item; the last one takes its position."""
        index = int(self._random() * len(self._items))
        self._items[index], drawn = self._items[-1], self._items[index]
        self._items.pop()
        return drawn


class LFUPolicy:
    """The item used least often since its admission leaves; of several, the one used least recently.

    The heap has each item under a rank no higher than its present one, so a use need not touch the heap.
    """

    def __init__(self) -> None:
        self._rank: dict[int, tuple[int, int]] = {}  # of each cached item: uses, position of the last one
        self._heap: list[tuple[tuple[int, int], int]] = []

    def on_admit(self, item: int, now: int) -> None:
        """Count the first use."""
        self._rank[item] = rank = (1, now)
        heapq.heappush(self._heap, (rank, item))

    def on_hit(self, item: int, now: int) -> None:
        """Count one more use."""
        self._rank[item] = (self._rank[item][0] + 1, now)

    def choose_victim(self, candidate: int, now: int) -> int:
        """Remove and return the item of the lowest rank; items whose rank has risen go back into the heap first."""
        while True:
            queued, item = self._heap[0]
            rank = self._rank[item]
            if rank == queued:
                heapq.heappop(self._heap)
                del self._rank[item]
                return item
            heapq.heapreplace(self._heap, (rank, item))


class BeladyPolicy:
    """The item whose next use is latest leaves: Belady's MIN, which knows the future.

    bypass: the candidate may be the victim too. The heap has the positions of next uses. Positions that have passed
    stay in it, at the bottom, since they are the earliest.
    """

    def __init__(self, items: list[int], bypass: bool) -> None:
        self._items, self._bypass = items, bypass
        self._next = next_uses(items)
        self._heap: list[int] = []  # negated: the latest on top
        self._victims: list[int] = []  # chosen for this candidate; they go back if it is rejected

    def on_admit(self, item: int, now: int) -> None:
        """Add the item's next use."""
        self._victims.clear()
        heapq.heappush(self._heap, -self._next[now])

    on_hit = on_admit

    def choose_victim(self, candidate: int, now: int) -> int:
        """Remove and return the item whose next use is latest, or return the candidate."""
        latest = -self._heap[0]
        if self._bypass and self._next[now] > latest:
            for next_use in self._victims:
                heapq.heappush(self._heap, next_use)
            self._victims.clear()
            return candidate
        self._victims.append(heapq.heappop(self._heap))
        return self._items[latest] if latest < len(self._items) else latest - len(self._items)


def next_uses(items: list[int]) -> list[int]:
    """Return for each access the position of its item's next one, or len(items) + item: no two are equal.

    >>> next_uses([0, 1, 0])
    [2, 4, 3]
    """
    trace = np.array(items, dtype=np.int64)
    order = np.argsort(trace, kind="stable")
    by_item = trace[order]
    following = len(trace) + trace
    again = by_item[1:] == by_item[:-1]
    following[order[:-1][again]] = order[1:][again]
    result: list[int] = following.tolist()
    return result


POLICIES: dict[str, Callable[[list[int], int], Policy]] = {  # from the trace and a seed
    "belady_bypass": lambda items, seed: BeladyPolicy(items, bypass=True),
    "belady": lambda items, seed: BeladyPolicy(items, bypass=False),
    "dense": lambda items, seed: FillOncePolicy(),  # of what density.largest_admitted admits
    "fill_once": lambda items, seed: FillOncePolicy(),
    "lfu": lambda items, seed: LFUPolicy(),
    "random": lambda items, seed: RandomPolicy(seed),
    "fifo": lambda items, seed: FIFOPolicy(),
    "lru": lambda items, seed: LRUPolicy(),
}


def quoted(names: Iterable[str]) -> str:
    """Return names for an error message."""
    return ", ".join(f'"{name}"' for name in names)
