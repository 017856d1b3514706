"""An epoch over thousands of files from a server at its worst: every sample is right, or named as missing."""

from __future__ import annotations

import os
import random
import socket
import struct
from typing import Any

import pytest
from helpers.http_server import Server
from helpers.images import make_jpeg

import bytecache
from bytecache.loading.batches import BatchLoader

pytest.importorskip("bytecache.http", reason="HttpReader needs the extra http", exc_type=ImportError)
from bytecache.http import HttpReader  # noqa: E402

FILES = int(os.environ.get("BYTECACHE_FAULTY_FILES", "500"))
PASSING = {"reset": 20, "busy": 20, "short": 20, "half": 20, "elsewhere": 40, "stall": 1}  # for 1,000 files
LASTING = {"gone": 10, "refused": 10, "down": 4, "cut": 4}


class FaultyServer:
    """Serves images by number; some files fail at first, some always, each in a way of its own.

    faults: what happens to a file, by its number; those of PASSING once or twice, those of LASTING always.
    """

    def __init__(self, images: list[bytes], rng: random.Random) -> None:
        self.images = images
        self.faults = {number: rng.choice(kinds) for number, kinds in _draw(rng, len(images)).items()}
        self._left = {number: rng.randrange(1, 3) for number in self.faults}
        self.other = Server(lambda request, handler: images[int(request.path[1:])])  # another host: another port
        self.server = Server(self.answer)

    def answer(self, request: Any, handler: Any) -> Any:
        number = int(request.path[1:])
        fault, body = self.faults.get(number, ""), self.images[number % len(self.images)]
        if fault in PASSING:
            self._left[number] -= 1
            if self._left[number] < 0:
                return body
        return getattr(self, f"_{fault}", lambda body, handler: body)(body, handler)

    def _reset(self, body: bytes, handler: Any) -> None:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.close_connection = True
        handler.wfile.close(), handler.rfile.close(), handler.connection.close()

    def _busy(self, body: bytes, handler: Any) -> Any:
        return 503, {"Retry-After": "0"}, b"busy"

    def _short(self, body: bytes, handler: Any) -> Any:
        handler.close_connection = True
        return 200, {"Content-Length": str(2 * len(body))}, body

    def _cut(self, body: bytes, handler: Any) -> Any:
        return body[: len(body) // 2]  # with the right length of the wrong body, which only a decoder sees

    def _half(self, body: bytes, handler: Any) -> Any:
        handler.close_connection = True
        return 200, {"Content-Length": str(len(body))}, body[: len(body) // 2]

    def _elsewhere(self, body: bytes, handler: Any) -> Any:
        return 302, {"Location": f"{self.other.url}{handler.path}"}, b""

    def _stall(self, body: bytes, handler: Any) -> None:
        handler.close_connection = True
        self.server.stopped.wait(3)

    def _gone(self, body: bytes, handler: Any) -> Any:
        return 404

    def _refused(self, body: bytes, handler: Any) -> Any:
        return 403, {}, b"no"

    def _down(self, body: bytes, handler: Any) -> Any:
        return 500, {}, b"down"

    def stop(self) -> None:
        self.server.stop(), self.other.stop()


def _draw(rng: random.Random, files: int) -> dict[int, list[str]]:
    """Return the kind of fault, in a list, of each file that has one."""
    numbers = rng.sample(range(files), files)
    counts = {kind: max(1, count * files // 1000) for kind, count in {**PASSING, **LASTING}.items()}
    return {numbers.pop(): [kind] for kind, count in counts.items() for _ in range(count)}


def test_an_epoch_ends_with_every_sample_right_or_named() -> None:
    """What a retry can mend is mended; what it cannot is skipped by name; the next epoch asks for nothing else."""
    images = [make_jpeg(16, 24, seed=number) for number in range(FILES)]
    faulty = FaultyServer(images, random.Random(3))
    try:
        reader = HttpReader(faulty.server.url, timeout_s=1, retries=3)
        read = bytecache.fill_once(maxbytes="1 GiB", batched=True)(reader)
        paths = [str(number) for number in range(FILES)]
        loader = BatchLoader(paths, list(range(FILES)), batch_size=64, load=read, on_error="skip")
        for epoch in range(2):
            faulty.server.requests.clear()
            seen, skipped = {}, {}
            for position in range(len(loader)):
                batch = loader.load(epoch, position)
                seen |= dict(zip(batch.targets.tolist(), batch.images.copy(), strict=True))
                skipped |= dict(batch.skipped)
            missing = {number for number, fault in faulty.faults.items() if fault in LASTING}
            assert set(seen) == set(range(FILES)) - missing
            assert set(skipped) == {str(number) for number in missing}
            kinds = {int(path): reason.partition(":")[0] for path, reason in skipped.items()}
            assert kinds == {n: "HttpError" if faulty.faults[n] != "cut" else "TruncatedError" for n in missing}
            for number, image in seen.items():
                assert (image == bytecache.decode_jpeg(images[number])).all(), number
        asked = {int(path[1:]) for path in faulty.server.paths}
        cut = {number for number in missing if faulty.faults[number] == "cut"}
        assert asked == missing - cut and read.cache_info().currsize == FILES - len(asked)
    finally:
        faulty.stop()
