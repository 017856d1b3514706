"""Clients that fetch many files over HTTP, each with its connections kept: functions from paths to their bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import bytecache
from benchmarks.harness.measure import Absent

CONNECTIONS = 32  # at a time, of each client
PACKAGES = ("pycurl", "obstore", "fsspec", "aiohttp", "urllib3")
Fetch = Callable[[Sequence[str]], Sequence[Any]]


def _pycurl(url: str, opened: ExitStack) -> Fetch:
    """Return what libcurl costs with the least Python around it: no retries, no checks, no cache."""
    import pycurl

    multi, handles = pycurl.CurlMulti(), [pycurl.Curl() for _ in range(CONNECTIONS)]
    for handle in handles:
        handle.setopt(pycurl.BUFFERSIZE, 1 << 17)

    def fetch(paths: Sequence[str]) -> list[bytes]:
        bodies: list[list[bytes]] = [[] for _ in paths]
        waiting, idle, running = list(zip(paths, bodies, strict=True))[::-1], handles.copy(), 0
        while waiting or running:
            while waiting and idle:
                handle, (path, chunks) = idle.pop(), waiting.pop()
                handle.setopt(pycurl.URL, f"{url}/{path}")
                handle.setopt(pycurl.WRITEFUNCTION, chunks.append)
                multi.add_handle(handle)
                running += 1
            multi.perform()
            _, complete, failed = multi.info_read()
            if failed:
                raise OSError(failed[0][2])
            for handle in complete:
                multi.remove_handle(handle)
                idle.append(handle)
                running -= 1
            if running and not complete:
                multi.select(1.0)
        return [b"".join(chunks) for chunks in bodies]

    return fetch


def _reader(url: str, opened: ExitStack) -> Fetch:
    from bytecache.http import HttpReader

    return HttpReader(url, max_connections=CONNECTIONS)


def _passing(url: str, opened: ExitStack) -> Fetch:
    return bytecache.fill_once(maxsize=0, batched=True)(_reader(url, opened)).map


def _filling(url: str, opened: ExitStack) -> Fetch:
    read = bytecache.fill_once(maxbytes="1 GiB", batched=True)(_reader(url, opened))

    def fetch(paths: Sequence[str]) -> Any:
        read.cache_clear()
        return read.map(paths)

    return fetch


def _obstore_threads(url: str, opened: ExitStack) -> Fetch:
    import obstore
    from obstore.store import HTTPStore

    store = HTTPStore.from_url(url, client_options={"allow_http": True})
    pool = opened.enter_context(ThreadPoolExecutor(CONNECTIONS))
    return lambda paths: list(pool.map(lambda path: obstore.get(store, path).bytes(), paths))


def _obstore_async(url: str, opened: ExitStack) -> Fetch:
    import obstore
    from obstore.store import HTTPStore

    store = HTTPStore.from_url(url, client_options={"allow_http": True})

    async def get(path: str) -> Any:
        return await (await obstore.get_async(store, path)).bytes_async()

    return _gathered(get, asyncio.new_event_loop())


def _aiohttp(url: str, opened: ExitStack) -> Fetch:
    import aiohttp

    async def open_session() -> Any:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS))

    loop = asyncio.new_event_loop()
    session = loop.run_until_complete(open_session())
    opened.callback(lambda: loop.run_until_complete(session.close()))

    async def get(path: str) -> bytes:
        async with session.get(f"{url}/{path}") as answer:
            return await answer.read()

    return _gathered(get, loop)


def _gathered(get: Callable[[str], Any], loop: asyncio.AbstractEventLoop) -> Fetch:
    async def get_all(paths: Sequence[str]) -> list[Any]:
        return await asyncio.gather(*map(get, paths))

    return lambda paths: loop.run_until_complete(get_all(paths))


def _fsspec(url: str, opened: ExitStack) -> Fetch:
    import fsspec
    from fsspec.implementations import http  # noqa: F401  # so that it is absent if aiohttp is

    files = fsspec.filesystem("http")
    return lambda paths: list(files.cat([f"{url}/{path}" for path in paths]).values())


def _urllib3(url: str, opened: ExitStack) -> Fetch:
    import urllib3

    client = opened.enter_context(urllib3.PoolManager(maxsize=CONNECTIONS))
    pool = opened.enter_context(ThreadPoolExecutor(CONNECTIONS))
    return lambda paths: list(pool.map(lambda path: client.request("GET", f"{url}/{path}").data, paths))


BASELINE = "pycurl alone, CurlMulti"
CLIENTS: dict[str, Callable[[str, ExitStack], Fetch]] = {
    BASELINE: _pycurl,
    "bytecache HttpReader": _reader,
    "bytecache fill_once(batched=True), map, nothing stored": _passing,
    "bytecache fill_once(batched=True), map, all stored": _filling,
    "aiohttp": _aiohttp,
    "obstore, 32 threads": _obstore_threads,
    "obstore, async": _obstore_async,
    "fsspec, cat": _fsspec,
    "urllib3, 32 threads": _urllib3,
}


def client(name: str, url: str, opened: ExitStack) -> Fetch:
    """Return a client of the server at the URL, which `opened` closes. Raises Absent if it is not installed."""
    try:
        return CLIENTS[name](url, opened)
    except ModuleNotFoundError:
        raise Absent("not installed") from None
