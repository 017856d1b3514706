"""What leaves a full cache: the policies that a simulation compares, on items that are small ints.

A policy is told of every use of an item that is held, its admission included, and names who leaves when there is no
room for one that is not: one held item after another, or the candidate itself, which is then refused, and all stay.
"""

from __future__ import annotations

import heapq
import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Policy(Protocol):
    """``now`` is the place in the trace."""

    def on_admit(self, item: int, now: int) -> None: ...
    def on_hit(self, item: int, now: int) -> None: ...
    def choose_victim(self, candidate: int, now: int) -> int: ...


def replay(policy: Policy, items: list[int], sizes: list[int], budget: int) -> NDArray[np.bool_]:
    """Which accesses of the trace `items` hit, bool (accesses,), when a miss enters as far as the policy lets it.

    sizes: of each item, in the unit of `budget`. An item larger than the whole budget evicts nothing and stays out.
    """
    hit, held, used = bytearray(len(items)), bytearray(len(sizes)), 0
    on_admit, on_hit, choose_victim = policy.on_admit, policy.on_hit, policy.choose_victim
    for now, item in enumerate(items):
        if held[item]:
            hit[now] = 1
            on_hit(item, now)
            continue
        size = sizes[item]
        if size > budget:
            continue
        victims, room = [], budget - used
        while room < size:
            one = choose_victim(item, now)
            if one == item:
                break
            victims.append(one)
            room += sizes[one]
        else:
            for one in victims:
                held[one] = 0
            on_admit(item, now)
            held[item], used = 1, budget - room + size
    return np.frombuffer(hit, dtype=np.bool_)


class FillOncePolicy:
    """Nobody leaves, so the candidate is refused: what came first stays for ever."""

    def on_admit(self, item: int, now: int) -> None:
        """Nothing to note."""

    def on_hit(self, item: int, now: int) -> None:
        """Nothing to note."""

    def choose_victim(self, candidate: int, now: int) -> int:
        """The candidate."""
        return candidate


class FIFOPolicy:
    """Who came first leaves first, whatever its uses."""

    def __init__(self) -> None:
        self._queue: OrderedDict[int, None] = OrderedDict()

    def on_admit(self, item: int, now: int) -> None:
        """At the end of the queue."""
        self._queue[item] = None

    def on_hit(self, item: int, now: int) -> None:
        """Nothing to note."""

    def choose_victim(self, candidate: int, now: int) -> int:
        """The head of the queue."""
        return self._queue.popitem(last=False)[0]


class LRUPolicy(FIFOPolicy):
    """A queue in which a use sends one to the end."""

    def on_hit(self, item: int, now: int) -> None:
        """At the end of the queue."""
        self._queue.move_to_end(item)


class RandomPolicy:
    """Each of those held leaves with equal probability."""

    def __init__(self, seed: int) -> None:
        self._held: list[int] = []
        self._random = random.Random(seed).random

    def on_admit(self, item: int, now: int) -> None:
        """One more to draw from."""
        self._held.append(item)

    def on_hit(self, item: int, now: int) -> None:
        """Nothing to note."""

    def choose_victim(self, candidate: int, now: int) -> int:
        """The one drawn; the last one takes its place."""
        at = int(self._random() * len(self._held))
        self._held[at], drawn = self._held[-1], self._held[at]
        self._held.pop()
        return drawn


class LFUPolicy:
    """Who was used least since it came leaves; of several the one whose last use is longest ago.

    The heap holds each item under a rank that is no higher than its own, so a use costs no step in it.
    """

    def __init__(self) -> None:
        self._rank: dict[int, tuple[int, int]] = {}  # of each item held: uses, place of the last one
        self._heap: list[tuple[tuple[int, int], int]] = []

    def on_admit(self, item: int, now: int) -> None:
        """The first use."""
        self._rank[item] = rank = (1, now)
        heapq.heappush(self._heap, (rank, item))

    def on_hit(self, item: int, now: int) -> None:
        """One use more."""
        self._rank[item] = (self._rank[item][0] + 1, now)

    def choose_victim(self, candidate: int, now: int) -> int:
        """The lowest in rank, found by putting back those who have risen."""
        while True:
            queued, item = self._heap[0]
            rank = self._rank[item]
            if rank == queued:
                heapq.heappop(self._heap)
                del self._rank[item]
                return item
            heapq.heapreplace(self._heap, (rank, item))


class BeladyPolicy:
    """Who is used again latest leaves: Belady's MIN, which knows the future.

    bypass: the candidate is one of those who may leave. The heap holds the places of next uses. Places that have
    passed stay in it, at the bottom, since they are the earliest.
    """

    def __init__(self, items: list[int], bypass: bool) -> None:
        self._items, self._bypass = items, bypass
        self._next = next_uses(items)
        self._heap: list[int] = []  # negated: the latest on top
        self._victims: list[int] = []  # what is to leave for the candidate, if that is not refused

    def on_admit(self, item: int, now: int) -> None:
        """Held until its next use, if there is one."""
        self._victims.clear()
        heapq.heappush(self._heap, -self._next[now])

    on_hit = on_admit

    def choose_victim(self, candidate: int, now: int) -> int:
        """The one whose next use is latest."""
        latest = -self._heap[0]
        if self._bypass and self._next[now] > latest:
            for place in self._victims:
                heapq.heappush(self._heap, place)
            self._victims.clear()
            return candidate
        self._victims.append(heapq.heappop(self._heap))
        return self._items[latest] if latest < len(self._items) else latest - len(self._items)


def next_uses(items: list[int]) -> list[int]:
    """Of each access the place of the item's next one; where it is the last one, len(items) + item: no two are equal.

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
    "fill_once": lambda items, seed: FillOncePolicy(),
    "lfu": lambda items, seed: LFUPolicy(),
    "random": lambda items, seed: RandomPolicy(seed),
    "fifo": lambda items, seed: FIFOPolicy(),
    "lru": lambda items, seed: LRUPolicy(),
}
