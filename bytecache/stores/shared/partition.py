"""The values of one function in a shared store, as one process sees them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ...system.collection import no_collection
from ...system.fork import lock_of_child
from ..base import MISSING, Counters, Partition, PutResult, Snapshot
from ..codec import BYTES, MEMORYVIEW, encode
from .binding import Binding, bind_locked, bind_readonly, replace_if_damaged_locked, unbacked
from .counters import CounterRow, SharedCounters
from .handle import HandleClosed, ReentrantWrite
from .header import HEAD
from .locks import ByteRangeLocks, KeyLease, LockTimeout
from .writing import BegunAnew, Item, discard_locked, is_full, store_all

if TYPE_CHECKING:
    from .store import SharedStore

_HITS = CounterRow.HITS  # looked up at each hit


class SharedPartition(Partition):
    """The values of one function under 16-byte digests; safe for threads and processes.

    It is bound to the store's files at the first call, and again after a clear, after the store was closed, and in a
    forked child.
    """

    has_leases, locked_before_fork = True, False

    def __init__(self, store: SharedStore, function_id: bytes, name: str, maxsize: int | None) -> None:
        self.maxsize, self._store, self._function_id, self._name = maxsize, store, function_id, name
        self.lock = threading.RLock()  # guards this process's counters
        self._binding: Binding | None = None
        self._key_locks: ByteRangeLocks | None = None  # its own: two caches of one function exclude each other too
        self._bind_lock = threading.RLock()  # guards binding: all threads count in one row

    @property
    def maxbytes(self) -> int:
        return self._store.maxbytes

    @property
    def currbytes(self) -> int:
        segment = self.bound().segment
        return 0 if segment is None else segment.currbytes

    @property
    def counters(self) -> Counters:
        return SharedCounters(self, self.bound())

    @property
    def generation(self) -> int:
        return self.bound().generation

    @property
    def cleared(self) -> int | None:
        binding = self.bound()
        return None if binding.segment is None else int(binding.counters[CounterRow.COUNTED_SINCE])

    def __len__(self) -> int:
        segment = self.bound().segment
        return 0 if segment is None else len(segment)

    def __contains__(self, key: bytes) -> bool:
        segment = self.bound().segment
        return segment is not None and key in segment

    @property
    def full(self) -> bool:
        return is_full(self.bound(), self.maxsize)

    def get(self, key: bytes, copy: bool = True) -> Any:
        binding = self._binding
        if binding is None or binding.words[binding.generation_word] != binding.generation:  # inlined for speed
            binding = self.bound()
        value = MISSING if binding.segment is None else binding.segment.get(key, copy)
        if value is not MISSING:
            with self.lock:
                binding.counters[_HITS] += 1
        return value

    def get_many(self, keys: Sequence[bytes], copy: bool = True) -> list[Any]:
        binding = self.bound()
        if binding.segment is None:
            return [MISSING] * len(keys)
        get = binding.segment.get
        values = [get(key, copy) for key in keys]
        hits = sum([value is not MISSING for value in values])
        with self.lock:
            binding.counters[_HITS] += hits
        return values

    def put(self, key: bytes, value: Any, generation: int) -> PutResult:
        (result,) = self._put_all([Item(key, value, encode(value))], generation)
        return result

    def put_many(self, items: Iterable[tuple[bytes, Any]], generation: int) -> list[PutResult | Exception]:
        """Store several (key, value), in order, under one writer's lock; see Partition."""
        results: list[Any] = []
        try:
            encoded = []
            for key, value in items:
                try:
                    encoded.append(Item(key, value, encode(value)))
                    results.append(None)
                except Exception as exc:
                    results.append(exc)
            put = iter(self._put_all(encoded, generation))
            return [next(put) if result is None else result for result in results]
        finally:
            results.clear()  # an exception's traceback keeps this frame alive

    def _put_all(self, items: list[Item], generation: int) -> list[PutResult]:
        binding = self.bound()
        stored = [None if item.encoded.payload.nbytes <= self.largest else False for item in items]
        while binding.generation == generation:
            try:
                store_all(binding, items, stored, self.maxsize)
                break
            except BegunAnew as begun:
                binding, generation = self.bound(), begun.generation
            except HandleClosed:
                self._look_again(binding)
                break
        rejected = stored.count(False)
        if rejected:
            with self.lock:
                binding.counters[CounterRow.REJECTED] += rejected
        return [_result(binding, item, was_stored) for item, was_stored in zip(items, stored, strict=True)]

    def _look_again(self, closed: Binding) -> None:
        """Have the next call bind to another handle than the one of a binding, which was closed."""
        if closed.handle.lost:
            self._store.handle()  # opens another one
        elif self._binding is closed:  # bound while another thread closed the store
            self._binding = None

    def discard(self, key: bytes) -> bool:
        while True:
            binding = self.bound()
            if binding.segment is None:
                return False
            try:
                found = binding.handle.with_writer_lock(partial(discard_locked, binding, binding.segment, key))
            except HandleClosed:
                self._look_again(binding)
            except ReentrantWrite:
                raise RuntimeError(
                    "cache_discard was called by a signal handler while this thread was writing to the store: call it "
                    "outside the handler"
                ) from None
            else:
                if found is not None:
                    return found

    def lease(self, key: bytes, generation: int) -> KeyLease | None:
        binding = self.bound()
        key_locks = self._key_locks
        if key_locks is None or is_full(binding, self.maxsize):
            return None
        return KeyLease(key_locks, key, generation)

    def snapshot(self, scope: str) -> Snapshot:
        binding = self._bound_to_what_is_there()
        counts = SharedCounters(self, binding).snapshot(scope)
        segment = binding.segment
        return Snapshot(counts, 0, 0) if segment is None else Snapshot(counts, len(segment), segment.currbytes)

    def clear(self) -> None:
        self._store.clear(self._function_id)

    def bound(self) -> Binding:
        """Return the binding to the values that are valid now."""
        binding = self._binding
        if binding is None or binding.is_stale():
            with no_collection, self._bind_lock:
                binding = self._binding
                if binding is None or binding.is_stale():
                    binding = self._bind()
                    if binding.segment is not None and self._key_locks is None and not binding.handle.readonly:
                        with suppress(OSError):  # without leases, if there are no descriptors left
                            self._key_locks = ByteRangeLocks(binding.handle.folder / HEAD)
                    self._binding = binding
        return binding

    def _bind(self) -> Binding:
        """Bind to the files that are valid now, created if there are none; warn once if that fails."""
        while True:
            handle = self._store.handle()
            if handle.readonly:
                return bind_readonly(handle, self._function_id, self._binding)
            try:
                names = self._function_id, self._name, self._binding
                work = partial(bind_locked, handle, *names, keeps_values=self.maxsize is None or self.maxsize > 1)
                return handle.with_writer_lock(work)
            except HandleClosed:
                continue
            except (ReentrantWrite, LockTimeout):
                return unbacked(handle, self._binding, stale=True)
            except OSError as exc:
                handle.warn_not_stored(exc)
                return unbacked(handle, self._binding)

    def _bound_to_what_is_there(self) -> Binding:
        """Return the binding to the values that are valid now, after a look at whether their files are still there."""
        binding = self.bound()
        if binding.handle.notice_loss():
            self._store.handle()
            binding = self.bound()
        if binding.segment is not None and not (binding.handle.readonly or binding.segment.is_intact()):
            with suppress(HandleClosed, ReentrantWrite, OSError):
                binding.handle.with_writer_lock(partial(replace_if_damaged_locked, binding))
            binding = self.bound()
        return binding

    def why_nothing_fits(self) -> str:
        if self._store.handle().disk_full:
            return ""
        return (
            f"no value fits in what is left of the store's {self.maxbytes} bytes: raise maxbytes, or clear what other "
            "functions, and earlier versions of this one, have stored"
        )

    def unbind(self) -> None:
        """Have the next call look for the files again."""
        self._binding, key_locks, self._key_locks = None, self._key_locks, None
        if key_locks is not None:
            key_locks.close()

    def after_fork_in_child(self) -> None:
        """Drop what a forked child shares with its parent, and locks that other threads may have had."""
        if self._key_locks is not None:
            self._key_locks.close_in_child()
        self._binding = self._key_locks = None
        self._bind_lock = threading.RLock()
        self.lock = lock_of_child(self.lock)  # a partition behind another one, whose lock no cache took before the fork


def _result(binding: Binding, item: Item, stored: bool | None) -> PutResult:
    kind, value = item.encoded.kind, item.value
    if kind == BYTES:
        return PutResult(bytes(value), stored)
    found = MISSING if binding.segment is None else binding.segment.get(item.key)
    if found is not MISSING:
        return PutResult(found, stored)
    return PutResult(item.encoded.payload.toreadonly() if kind == MEMORYVIEW else value, stored)
