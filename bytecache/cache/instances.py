"""The instances whose methods are cached. They are held weakly: what was stored for one goes when it goes."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Container, Hashable, Iterator
from typing import Any


class Owner(weakref.ref[Any]):
    """Stands for an instance in the keys of its entries. Unlike other weak references it is equal to itself alone.

    keys: of what was stored for the instance; some may have gone from the cache since.
    """

    __slots__ = ("address", "keys")

    __hash__ = object.__hash__
    __eq__ = object.__eq__

    def __init__(self, instance: Any, on_death: Callable[[Any], Any]) -> None:
        super().__init__(instance, on_death)  # type: ignore[call-arg]
        self.address = id(instance)
        self.keys: set[Hashable] = set()

    def note(self, key: Hashable, stored: Container[Hashable], most: int) -> None:
        """Note a key that is stored, or about to be; forget some of those that are not, if there are many.

        most: how many there may be beside those that are stored.
        """
        self.keys.add(key)
        if len(self.keys) > most:
            for one in list(self.keys):
                if one not in stored:
                    self.keys.discard(one)


def is_of_instance(key: Hashable) -> bool:
    """Return whether the first part of a key stands for an instance."""
    return isinstance(key, tuple) and bool(key) and isinstance(key[0], Owner)


class Instances:
    """What each instance calls a cached method through, by its address.

    An instance may die at any moment, in any thread, also while that thread holds a lock or changes a store. So all
    that its weak reference does then is to append itself to a deque, in C; ``take_dead`` is called where a miss is.
    No lock: each step on the dict and the deque is one in C, which calls nobody.
    """

    __slots__ = ("_dead", "functions")

    def __init__(self) -> None:
        self.functions: dict[int, Any] = {}
        self._dead: deque[Owner] = deque()

    def owner(self, instance: Any) -> Owner:
        """Return what stands for `instance`; raise TypeError if it cannot be referenced weakly."""
        return Owner(instance, self._dead.append)

    def add(self, owner: Owner, function: Any) -> Any:
        """Return `function`, or what another thread has added for the same instance."""
        instance = owner()
        while True:
            found = self.functions.setdefault(owner.address, function)
            if found is function or found.owner() is instance:
                return found
            if self.functions.get(owner.address) is found:  # of a dead one, whose address this one has got
                self.functions.pop(owner.address, None)

    def put_back(self, owner: Owner) -> None:
        """Have take_dead yield the owner again."""
        self._dead.append(owner)

    def take_dead(self) -> Iterator[Owner]:
        """Yield what stood for the instances that are gone, each once, and forget them."""
        while self._dead:
            try:
                owner = self._dead.popleft()
            except IndexError:  # another thread was faster
                return
            function = self.functions.get(owner.address)
            if function is not None and function.owner is owner:
                self.functions.pop(owner.address, None)
            yield owner
