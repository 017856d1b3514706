"""map and warm of a cached function, whatever keeps its values: order, counts, failures, threads, interrupts."""

from __future__ import annotations

import os
import signal
import sys
import threading
import weakref
from typing import Any

import pytest
from helpers.counting import counting, stats_of
from helpers.internals import assert_at_rest
from helpers.threads import PATIENCE_S, start, together, until

import bytecache


class BulkContract:
    """Many keys at once; see contracts.calls for how to run it."""

    @pytest.fixture(params=[None, 1, 4], ids="threads={}".format)
    def threads(self, request: pytest.FixtureRequest) -> Any:
        return request.param

    # map

    def test_map_keeps_the_order(self, decorate: Any, threads: Any) -> None:
        """Values come in the order of the keys, hits or misses, from a list or a generator."""
        f, ran = counting(decorate(), lambda x: [x])
        f(3), f(5)
        assert f.map((key for key in [5, 9, 3, 1, 5]), threads) == [[5], [9], [3], [1], [5]]
        assert sorted(ran) == [1, 3, 5, 9]
        assert f.map([]) == []

    def test_map_uses_key_and_typed(self, decorate: Any) -> None:
        """Duplicates are those of the cache's own keys."""
        lower, _ = counting(decorate(key=str.lower), lambda x: [x])
        assert lower.map(["A", "a", "b"], 1) == [["A"], ["A"], ["b"]]
        typed, ran = counting(decorate(typed=True), lambda x: [x])
        assert typed.map([1, 1.0, True], 1) == [[1], [1.0], [True]]
        assert list(map(type, ran)) == [int, float, bool]

    def test_each_key_is_made_once(self, decorate: Any) -> None:
        """key= runs once per item of a map or a warm, hit or miss: file_key asks the file system no more often."""
        made: list[str] = []
        f, _ = counting(decorate(key=lambda x: made.append(x) or x.lower()), lambda x: [x])
        f("a")
        made.clear()
        f.map(["A", "b", "B", "c"], 2)
        assert made == ["A", "b", "B", "c"]
        made.clear()
        f.warm(["C", "d"], 1)
        assert made == ["C", "d"]

    def test_keys_that_cannot_be_made_leave_the_others_in_order(self, decorate: Any) -> None:
        """With return_exceptions what key= raised is in its key's position, beside hits, misses and errors."""
        f, ran = counting(decorate(key=lambda x: 10 // x), lambda x: [10 // (x - 5)])
        f(1)
        values = f.map([0, 1, 3, 0, 5, 3], 1, return_exceptions=True)
        kinds = [type(value) for value in values]
        assert kinds == [ZeroDivisionError, list, list, ZeroDivisionError, ZeroDivisionError, list]
        assert values[1:3] == [[-3], [-5]] and values[5] == [-5] and ran == [1, 3, 5]
        assert stats_of(f, "hits", "misses", "errors") == (2, 3, 1)

    def test_map_reads_side_by_side(self, decorate: Any) -> None:
        """threads=N means N reads at once: each waits inside the function for all the others."""
        inside = threading.Barrier(6)
        f, _ = counting(decorate(), lambda x: inside.wait(PATIENCE_S) >= 0)
        assert f.map(range(6), threads=6) == [True] * 6

    @pytest.mark.parametrize("method", ["map", "warm"])
    @pytest.mark.parametrize("wrong, error", [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)])
    def test_threads_are_checked_first(self, decorate: Any, method: str, wrong: Any, error: Any) -> None:
        """An invalid number of threads raises before a key is read, and the message names it."""
        f, ran = counting(decorate())
        with pytest.raises(error, match=f"threads must be a positive int or None, got {wrong!r}"):
            getattr(f, method)([1], threads=wrong)
        assert ran == []

    def test_map_with_one_thread_stays_in_the_callers(self, decorate: Any) -> None:
        """threads=1 calls the function in the calling thread, in the order of the keys."""
        f, ran = counting(decorate(), lambda x: threading.get_ident())
        assert f.map([3, 1, 2], threads=1) == [threading.get_ident()] * 3
        assert ran == [3, 1, 2]

    def test_two_maps_share_their_reads(self, decorate: Any) -> None:
        """The same keys mapped from two threads at once are read once each."""
        f, ran = counting(decorate(), lambda x: [x])
        first, second = together(lambda: f.map(range(200), 3), lambda: f.map(range(200), 3))
        assert first == second == [[key] for key in range(200)]
        assert sorted(ran) == list(range(200))
        assert f.cache_info()[:2] == (200, 200)

    def test_map_inside_a_cached_function(self, decorate: Any) -> None:
        """A cached function may map another, on more threads than the pool has helpers: the callers work too."""
        part = decorate()(lambda key: key)
        whole = decorate()(lambda row: sum(part.map(range(row, row + 3), threads=16)))
        assert whole.map(range(200), threads=200) == [3 * row + 3 for row in range(200)]
        assert part.cache_info().currsize == 202

    def test_items_that_share_a_cached_function_need_no_order(self, decorate: Any) -> None:
        """A cached function called by several items of a map is not a circle, whichever item runs it first."""

        @decorate()
        def index() -> str:
            reading.wait(PATIENCE_S)
            return "index"

        @decorate()
        def read(key: str) -> tuple[str, str]:
            return key, index()

        reading = threading.Event()
        mapped = start(lambda: read.map("abcd", threads=4))
        until(lambda: read.cache_info().misses >= 2)
        reading.set()
        assert mapped() == [(key, "index") for key in "abcd"]

    # map of keys that fail

    def test_a_key_that_raises_fails_its_item_alone(self, decorate: Any, tmp_path: Any) -> None:
        """With return_exceptions what key= raised stands in the item's place; else it is raised, with a note."""
        (tmp_path / "there").write_bytes(b"x")
        f = decorate(key=bytecache.file_key)(lambda path: path.read_bytes())
        paths = [tmp_path / "there", tmp_path / "gone"]
        value, failure = f.map(paths, return_exceptions=True)
        assert value == b"x" and isinstance(failure, FileNotFoundError)
        with pytest.raises(FileNotFoundError) as caught:
            f.map(paths)
        assert "gone" in caught.value.__notes__[0]
        del failure, caught

    def test_map_raises_the_first_exception_in_the_order_of_keys(self, decorate: Any) -> None:
        """Of several failures that of the first key is raised, with the key in a note, once all reads have ended."""
        second_failed = threading.Event()
        ended = []

        @decorate()
        def f(key: str) -> Any:
            try:
                if key == "first":
                    assert second_failed.wait(PATIENCE_S)
                raise LookupError(key)
            finally:
                ended.append(key)
                second_failed.set()

        with pytest.raises(LookupError) as caught:
            f.map(["first", "second"], threads=2)
        assert caught.value.args == ("first",)
        assert caught.value.__notes__ == ["bytecache: while reading 'first'"]
        assert ended == ["second", "first"]
        assert stats_of(f, "misses", "errors", "currsize") == (2, 2, 0)

    def test_map_starts_nothing_after_an_exception(self, decorate: Any) -> None:
        """With one thread the keys after the one that failed are not read."""
        f, ran = counting(decorate(), lambda x: 1 // x)
        with pytest.raises(ZeroDivisionError):
            f.map([1, 0, 2], threads=1)
        assert ran == [1, 0]

    def test_map_returns_exceptions_in_place(self, decorate: Any, threads: Any) -> None:
        """With return_exceptions every key is read, and each exception stands in place of its value."""
        f, _ = counting(decorate(), lambda x: 6 // x)
        values = f.map([1, 0, 2, 0], threads, return_exceptions=True)
        assert (values[0], values[2]) == (6, 3)
        assert type(values[1]) is ZeroDivisionError and values[1] is values[3]
        assert stats_of(f, "hits", "misses", "errors") == (1, 3, 1)

    # warm

    def test_warm_fills(self, decorate: Any, threads: Any) -> None:
        """warm reads every key once and returns the stats; the calls that follow hit."""
        f, ran = counting(decorate(), lambda x: [x])
        stats = f.warm((key for key in range(50)), threads)
        assert stats == f.cache_stats()
        assert (sorted(ran), stats.currsize, stats.misses) == (list(range(50)), 50, 50)
        assert f.map(range(50)) == [[key] for key in range(50)]
        assert f.cache_info().misses == 50

    def test_warm_with_size_zero_reads_nothing(self, decorate: Any) -> None:
        """A cache that stores nothing is full from the start."""
        f, ran = counting(decorate(maxsize=0))
        assert f.warm([1, 2]).misses == len(ran) == 0

    def test_warm_passes_over_keys_that_fail(self, decorate: Any, threads: Any) -> None:
        """Keys whose read raises are counted and reported in one RuntimeWarning at this line; a call raises again."""
        f, _ = counting(decorate(), lambda x: 1 // (x % 3))
        message = r"warm passed over 3 keys whose read raised; the first: .*Zero"
        with pytest.warns(RuntimeWarning, match=message) as caught:
            stats = f.warm(range(7), threads)
        assert [warning.filename for warning in caught] == [__file__]
        assert (stats.errors, stats.currsize) == (3, 4)
        with pytest.raises(ZeroDivisionError):
            f(0)

    def test_warm_keeps_no_failed_read_alive(self, decorate: Any, plain_gc: None) -> None:
        """Of the reads that raised, the message is kept and nothing that their frames refer to."""

        class Buffer:
            pass

        alive: list[Any] = []

        @decorate()
        def read(key: int) -> None:
            buffer = Buffer()
            alive.append(weakref.ref(buffer))
            raise OSError(key)

        with pytest.warns(RuntimeWarning, match="passed over 9 keys"):
            read.warm(range(9), threads=1)
        assert [one() for one in alive] == [None] * 9

    def test_warm_shows_a_tqdm_bar(
        self, decorate: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With progress a tqdm bar on stderr counts to the end; without it nothing is written."""
        tqdm = pytest.importorskip("tqdm").tqdm
        monkeypatch.setattr(tqdm, "monitor_interval", 0)  # no thread of its own
        f, _ = counting(decorate())
        f.warm([7])
        assert capsys.readouterr() == ("", "")
        f.warm(range(20), progress=True)
        out, err = capsys.readouterr()
        assert out == ""
        assert "warm: 100%" in err and "20/20" in err

    @pytest.mark.parametrize(
        "keys, line",
        [
            (range(20), "warm: 20 of 20\n"),
            (lambda: iter({1, 2}), "warm: 2 of 2\n"),
            (lambda: (key for key in range(20)), "warm: 20\n"),
        ],
    )
    def test_warm_writes_a_line_without_tqdm(
        self,
        decorate: Any,
        keys: Any,
        line: str,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """If tqdm is not installed the last line says how many keys were read, and of how many if that is known."""
        monkeypatch.setitem(sys.modules, "tqdm", None)
        f, _ = counting(decorate())
        f.warm(keys() if callable(keys) else keys, progress=True)
        out, err = capsys.readouterr()
        assert out == "" and err.endswith(line)

    # Interrupts

    def test_map_does_not_return_an_interrupt(self, decorate: Any) -> None:
        """KeyboardInterrupt is raised even with return_exceptions."""

        @decorate()
        def f(key: int) -> Any:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            f.map([1, 2], threads=2, return_exceptions=True)

    def test_map_raises_an_interrupt_before_a_helpers_exception(self, decorate: Any) -> None:
        """A KeyboardInterrupt on one thread is raised, although an earlier key failed on another."""
        second_runs, last_runs, second_failed = threading.Event(), threading.Event(), threading.Event()

        @decorate()
        def f(key: int) -> int:
            if key == 0:
                assert second_runs.wait(PATIENCE_S)
                return key
            if key == 1:
                second_runs.set()
                assert last_runs.wait(PATIENCE_S)
                second_failed.set()
                raise ValueError(key)
            last_runs.set()
            assert second_failed.wait(PATIENCE_S)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            f.map(range(3), threads=2)

    @pytest.mark.parametrize("method", ["map", "warm"])
    @pytest.mark.parametrize("count", [1, 4])
    def test_ctrl_c_leaves_the_cache_sound(self, decorate: Any, method: str, count: int) -> None:
        """A real SIGINT in the middle of a bulk read ends it; what was read is kept, the rest can be read."""
        interrupted = []

        @decorate()
        def f(key: int) -> Any:
            if key == 50 and not interrupted:
                interrupted.append(key)
                os.kill(os.getpid(), signal.SIGINT)
            return [key]

        with pytest.raises(KeyboardInterrupt):
            getattr(f, method)(range(100_000), threads=count)
        stats = f.cache_stats()
        assert stats.stored == stats.currsize < 100_000
        assert stats.hits == 0
        assert_at_rest(f)
        assert f.map(range(100)) == [[key] for key in range(100)]
