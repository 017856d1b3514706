"""The trainer's storage, a server in a process of its own, and the clock that divides an epoch's seconds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("bytecache.http", reason="the storage is read by HttpReader", exc_type=ImportError)

from helpers.threads import until  # noqa: E402

from bytecache.http import HttpError  # noqa: E402
from integrations.fish_count.data import read_remote  # noqa: E402
from integrations.fish_count.seconds import EpochClock  # noqa: E402
from integrations.fish_count.storage import URL, Moment, Traffic, remote_storage  # noqa: E402

ROOT = Path(__file__).parents[2]
SERVING = """
import sys, time
from pathlib import Path
from integrations.fish_count.storage import remote_storage
if __name__ == "__main__":
    with remote_storage(Path(sys.argv[1]), 1, 1):
        print("serving", flush=True)
        time.sleep(600)
"""

pytestmark = pytest.mark.foreign_threads  # multiprocessing's resource tracker, and connections that are kept


def test_the_files_of_the_folder_are_served_and_no_others(tmp_path: Path) -> None:
    """A file comes as its bytes, whatever its name; one that is missing, or outside, as an error in its place."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    names = ["plain.jpg", "a b#1?.jpg", "größe%20.jpg"]
    for name in names:
        (folder / name).write_bytes(name.encode() * 1000)
    (tmp_path / "outside.jpg").write_bytes(b"secret")
    paths = [*(str(folder / name) for name in names), str(folder / "missing.jpg"), str(tmp_path / "outside.jpg")]
    with remote_storage(folder, 1, 2) as traffic:
        *served, missing, outside = read_remote(paths)
        assert served == [(folder / name).read_bytes() for name in names]
        assert isinstance(missing, HttpError) and isinstance(outside, HttpError)
        assert traffic.summary()["requests"] == len(paths)
    assert URL not in os.environ


def test_no_more_requests_are_answered_at_a_time_than_stated(tmp_path: Path) -> None:
    """The reader asks for all at once; the others wait for their turn."""
    paths = []
    for number in range(20):
        (tmp_path / f"{number}.jpg").write_bytes(b"image")
        paths.append(str(tmp_path / f"{number}.jpg"))
    with remote_storage(tmp_path, 20, 3) as traffic:
        assert read_remote(paths) == [b"image"] * 20
        assert traffic.summary() == {"requests": 20, "most_at_once": 3}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_server_ends_with_the_trainer_however_that_ends(number: int, tmp_path: Path) -> None:
    """So it is after Ctrl-C, and also if the trainer had no time to end it."""
    (tmp_path / "serving.py").write_text(SERVING)
    command = [sys.executable, str(tmp_path / "serving.py"), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as trainer:
        assert trainer.stdout is not None and trainer.stdout.readline() == b"serving\n"
        children = children_of(trainer.pid)
        assert children != []
        trainer.send_signal(number)
        trainer.communicate(timeout=60)
    until(lambda: not any(map(alive, children)))


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    """Return whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_seconds_with_a_request_are_counted_once_however_many_there_are() -> None:
    """They pass while a request is answered, and stand still in between."""
    traffic = Traffic()
    idle = traffic.now().busy_s, traffic.now().busy_s
    with traffic.request(), traffic.request():
        first, second = traffic.now(), traffic.now()
    after = traffic.now().busy_s, traffic.now().busy_s
    assert idle == (0, 0)
    assert second.busy_s - first.busy_s == pytest.approx(second.at_s - first.at_s)
    assert after[0] == after[1] >= second.busy_s
    assert traffic.summary() == {"requests": 2, "most_at_once": 2}


class Script:
    """An EpochClock whose moments are given."""

    def __init__(self) -> None:
        self.moment = Moment(0, 0)
        self.clock = EpochClock(lambda: self.moment)

    def at(self, at_s: float, busy_s: float) -> EpochClock:
        """Return the clock, at this moment."""
        self.moment = Moment(at_s, busy_s)
        return self.clock


def test_an_epoch_is_divided_between_reading_decoding_and_the_model() -> None:
    """What passes while the model has a batch is the model's, also if files are read; the three add up."""
    script = Script()
    requested = script.at(100, 10).begin_epoch()
    script.at(104, 13).batch_ready(requested)  # 3 s reading, 1 s decoding
    requested = script.at(109, 18).batch_used()  # 5 s
    script.at(107, 16).batch_ready(Moment(104, 13))  # ahead of time
    script.at(112, 21).batch_used()  # 3 s
    script.at(118, 21).batch_ready(Moment(107, 16))  # 6 s decoding
    script.at(120, 23).batch_used()  # 2 s
    assert script.clock.end_epoch() == {"epoch_s": 20, "model_s": 10, "reading_s": 3, "decoding_s": 7}


def test_the_wait_for_a_batch_begins_when_it_is_requested() -> None:
    """The model is traced before the first request; batches that were requested before the epoch are none of it."""
    script = Script()
    for _ in range(2):  # as Keras does to find out shapes
        script.at(50, 5).batch_ready(Moment(40, 0))
    script.at(100, 5).begin_epoch()
    script.at(108, 9).batch_ready(Moment(104, 5))
    script.at(110, 9).batch_used()
    assert script.clock.end_epoch() == {"epoch_s": 10, "model_s": 6, "reading_s": 4, "decoding_s": 0}
    script.at(200, 9).begin_epoch()  # the next one starts anew
    script.at(201, 9).batch_ready(Moment(200, 9))
    script.at(202, 9).batch_used()
    assert script.clock.end_epoch() == {"epoch_s": 2, "model_s": 1, "reading_s": 0, "decoding_s": 1}
