"""The benchmarks' remote storage: nginx serves a folder, counts what it sends, and waits before it answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60
WAIT_MS = 1000
START = """
import json, select, socket, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import Request, urlopen
from benchmarks.workloads import http_server
folder, latency_ms = Path(sys.argv[1]), float(sys.argv[2])
why = http_server.why_not(latency_ms)
if why:
    sys.exit(f"skip: {why}")
"""
FETCH = """
names = sorted(path.name for path in folder.iterdir())
with http_server.file_server(folder, latency_ms) as url, ThreadPoolExecutor(8) as pool:
    bodies = list(pool.map(lambda name: urlopen(f"{url}/{name}").read().hex(), names))
    sent = http_server.sent_bytes(url)
    part = urlopen(Request(f"{url}/{names[0]}", headers={"Range": "bytes=1-2"}))
    told = {"bodies": bodies, "sent": sent, "part": [part.status, part.read().hex()]}
    print(json.dumps(told | {"sent_again": http_server.sent_bytes(url)}))
"""
WAIT = """
with http_server.file_server(folder, latency_ms) as url:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET /0 HTTP/1.0\\r\\n\\r\\n")
        sent = http_server.sent_bytes(url)
        early = bool(select.select([connection], [], [], 0)[0])
        late = connection.makefile("rb").read().split(b"\\r\\n\\r\\n")[1]
    print(json.dumps({"sent": sent, "early": early, "late": late.hex()}))
"""


def told_by(script: str, *arguments: object) -> Any:
    """Return what a script prints, which runs in the root of the project; skip if there can be no server."""
    command = [sys.executable, "-c", START + script, *map(str, arguments)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    if run.stderr.startswith("skip: "):
        pytest.skip(run.stderr.strip().removeprefix("skip: "))
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture
def files(tmp_path: Path) -> list[bytes]:
    """The contents of the files 0 to 9 of the folder that is served, of different lengths."""
    contents = [bytes([number]) * (1000 * number + 2) for number in range(10)]
    for number, content in enumerate(contents):
        (tmp_path / str(number)).write_bytes(content)
    return contents


@pytest.mark.parametrize("latency_ms", [0, 5])
def test_files_are_served_and_counted(latency_ms: float, files: list[bytes], tmp_path: Path) -> None:
    """Every file comes whole, also in parts; the bytes of the bodies are counted, those of the count are not."""
    told = told_by(FETCH, tmp_path, latency_ms)
    assert [bytes.fromhex(body) for body in told["bodies"]] == files
    assert told["sent"] == sum(map(len, files))
    assert told["part"] == [206, files[0][1:3].hex()]
    assert told["sent_again"] == told["sent"] + len(files[0][1:3])


def test_a_request_waits_and_holds_up_no_other(files: list[bytes], tmp_path: Path) -> None:
    """A request that came first is answered after one that does not wait."""
    told = told_by(WAIT, tmp_path, WAIT_MS)
    assert told == {"sent": 0, "early": False, "late": files[0].hex()}
