"""Remote storage: nginx on loopback, which waits before it answers and logs the bytes that it sends."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from time import monotonic, sleep
from urllib.request import urlopen

from .files import scratch

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
PATIENCE_S = 30
# A request is answered by @file once the wait is over; connections, ranges and files are nginx's own as ever. The log
# has a line per request with the bytes of its body, and is itself a file to fetch: with one worker, which serves more
# than a gigabyte per second, what was received before is in it.
CONFIG = """
daemon off;
{user}
worker_processes 1;
pid "{folder}/pid";
error_log "{folder}/errors.txt";
{modules}
events {{}}
http {{
    log_format sent $body_bytes_sent;
    access_log "{folder}/sent.txt" sent;
    client_body_temp_path "{folder}/body";
    proxy_temp_path "{folder}/proxy";
    fastcgi_temp_path "{folder}/fastcgi";
    uwsgi_temp_path "{folder}/uwsgi";
    scgi_temp_path "{folder}/scgi";
    sendfile on;
    tcp_nopush on;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        root "{root}";
        location / {{ {wait} }}
        location @file {{ root "{root}"; }}
        location = /sent {{ access_log off; alias "{folder}/sent.txt"; }}
    }}
}}
"""


@contextmanager
def file_server(root: Path, latency_ms: float = 0) -> Iterator[str]:
    """Serve a folder and yield its URL; each request waits for latency_ms before it is answered.

    Raises RuntimeError if nginx does not start; see `why_not`.
    """
    with scratch() as folder:
        port = _free_port()
        settings = folder / "nginx.conf"
        settings.write_text(_config(folder, root.absolute(), port, latency_ms), encoding="utf-8")
        with (folder / "output.txt").open("wb") as output:
            command = [str(NGINX), "-p", str(folder), "-c", str(settings)]
            server = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            _await_start(server, port, folder / "output.txt")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def sent_bytes(url: str) -> int:
    """Return the bytes that the server has sent so far, bodies only."""
    with urlopen(f"{url}/sent") as answer:
        return sum(map(int, answer.read().split()))


def why_not(latency_ms: float = 0) -> str:
    """Return why there can be no server here; empty if there can."""
    if NGINX is None:
        return "nginx is not installed: apt-get install nginx-light"
    if latency_ms and not _echo_module():
        return "nginx has no echo module, which adds the latency: apt-get install libnginx-mod-http-echo"
    return ""


@cache
def _echo_module() -> str:
    """Return the path of the module that can wait, empty if it is not installed."""
    told = subprocess.run([str(NGINX), "-V"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"--modules-path=(\S+)", told)
    module = Path(found[1], "ngx_http_echo_module.so") if found else None
    return str(module) if module and module.exists() else ""


def _config(folder: Path, root: Path, port: int, latency_ms: float) -> str:
    return CONFIG.format(
        folder=folder,
        root=root,
        port=port,
        user="user root;" if os.geteuid() == 0 else "",  # or it could not read what only root may
        modules=f'load_module "{_echo_module()}";' if latency_ms else "",
        wait=f"echo_sleep {latency_ms / 1000}; echo_exec @file;" if latency_ms else "",
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_start(server: subprocess.Popen[bytes], port: int, output: Path) -> None:
    deadline = monotonic() + PATIENCE_S
    while monotonic() < deadline and server.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            sleep(0.01)
    told = output.read_text(encoding="utf-8", errors="replace").strip()
    raise RuntimeError(f"nginx did not start within {PATIENCE_S} s: {told or 'no output'}")
