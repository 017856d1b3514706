"""Remote storage: an HTTP file server in a process of its own, which counts the bytes that it sends."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.request import urlopen

PATIENCE_S = 30


@contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback and yield its URL. Raises RuntimeError if the server does not start."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(str(folder), theirs), daemon=True)
    server.start()
    try:
        if not ours.poll(PATIENCE_S):
            raise RuntimeError(f"the HTTP server did not start within {PATIENCE_S} s")
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        server.terminate()
        server.join()


def sent_bytes(url: str) -> int:
    """Return the bytes that the server has sent so far, bodies only."""
    with urlopen(f"{url}/sent") as answer:
        return int(answer.read())


def _serve(folder: str, ready: Connection) -> None:
    """Serve until the process is terminated."""
    import asyncio

    asyncio.run(_serve_forever(folder, ready))


async def _serve_forever(folder: str, ready: Connection) -> None:
    import asyncio

    from aiohttp import web

    sent = 0

    async def report_sent(request: web.Request) -> web.Response:
        return web.Response(text=str(sent))

    async def count(request: web.Request, response: web.StreamResponse) -> None:
        nonlocal sent
        if request.method == "GET" and request.path != "/sent" and response.status < 300:
            sent += int(response.headers.get("Content-Length", 0))

    application = web.Application()
    application.router.add_get("/sent", report_sent)
    application.router.add_static("/", folder)
    application.on_response_prepare.append(count)
    runner: Any = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    ready.send(runner.addresses[0][1])
    await asyncio.Event().wait()
