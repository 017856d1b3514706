"""HttpReader: keys, answers, failures, redirects, secrets, threads and processes."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from helpers.http_server import Request, Server

pytest.importorskip("bytecache.http", reason="HttpReader needs the extra http", exc_type=ImportError)

from bytecache.http import HttpError, HttpReader  # noqa: E402

Answer = Callable[[Request, Any], Any]


def echo(request: Request, handler: Any) -> bytes:
    """Answer with the path."""
    return request.path.encode()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """A factory of servers that are stopped at the end."""
    servers: list[Server] = []

    def make(answer: Answer = echo, **options: Any) -> Server:
        servers.append(Server(answer, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


def first_then(*answers: Any) -> Answer:
    """Give the answers one after the other, the last one from then on."""
    left = list(answers)
    return lambda request, handler: left.pop(0) if len(left) > 1 else left[0]


def failure(reader: HttpReader, key: Any = "a.jpg") -> HttpError:
    """Return the error that the only file of a call gives."""
    [error] = reader([key])
    assert isinstance(error, HttpError), error
    return error


# Keys


def test_files_come_in_the_order_of_their_keys(serve: Any) -> None:
    """Whichever answer comes first; a key that is asked for twice is answered twice."""
    released = threading.Event()

    def answer(request: Request, handler: Any) -> bytes:
        if request.path == "/0":
            assert released.wait(20)
        if request.path == "/49":
            released.set()
        return request.path.encode()

    keys = [*map(str, range(50)), "3"]
    assert HttpReader(serve(answer).url)(keys) == [f"/{key}".encode() for key in keys]


@pytest.mark.parametrize("base", ["/data", "/data/", "/data#part"])
@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a.jpg", "a.jpg"),
        ("b/c.jpg", "b/c.jpg"),
        ("/a.jpg", "a.jpg"),
        ("a b+c.jpg", "a%20b%2Bc.jpg"),
        ("100%20.jpg", "100%2520.jpg"),
        ("#1?x=y&z.jpg", "%231%3Fx%3Dy%26z.jpg"),
        ("café/日本.jpg", "caf%C3%A9/%E6%97%A5%E6%9C%AC.jpg"),
        ("e\u0301\n\0~.jpg", "e%CC%81%0A%00~.jpg"),
        (os.fsdecode(b"\xff.jpg"), "%FF.jpg"),
        (PurePosixPath("b/./c d.jpg"), "b/c%20d.jpg"),
    ],
)
def test_paths_are_quoted_below_the_base(serve: Any, base: str, key: Any, path: str) -> None:
    """A relative path is the name of a file, whatever it has in it."""
    server = serve()
    assert HttpReader(server.url + base)([key]) == [f"/data/{path}".encode()]


@pytest.mark.parametrize(
    ("key", "path"),
    [("/a%20b.jpg?x=1&y=%2B", "/a%20b.jpg?x=1&y=%2B"), ("/a b/é.jpg", "/a%20b/%C3%A9.jpg"), ("/a+b;c#part", "/a+b;c")],
)
def test_urls_are_taken_as_they_are(serve: Any, key: str, path: str) -> None:
    """But for characters that no URL may have; with a base or without one."""
    server = serve()
    for reader in HttpReader(), HttpReader("http://127.0.0.1:1/elsewhere"):
        assert reader([server.url + key]) == [path.encode()]


def test_a_query_of_the_base_is_sent_with_each_path(serve: Any) -> None:
    """As with the tokens of a container."""
    assert HttpReader(serve().url + "/c?sig=a%2Fb")(["x y.jpg"]) == [b"/c/x%20y.jpg?sig=a%2Fb"]


@pytest.mark.parametrize("key", [None, 7, b"a.jpg", Path])
def test_other_keys_are_type_errors_in_their_place(serve: Any, key: Any) -> None:
    """They keep no other key from its file."""
    answers = HttpReader(serve().url)(["a", key, "b"])
    assert answers[::2] == [b"/a", b"/b"] and isinstance(answers[1], TypeError)


@pytest.mark.parametrize(
    "key",
    ["ftp://user:secret@host/a", "file:///etc/passwd", "http://user:secret@/a", "http://user:secret@h:port/a", "a"],
)
def test_keys_without_an_address_are_value_errors(key: str) -> None:
    """Their texts say what was expected, and have no password in them."""
    [error] = HttpReader()([key])
    assert isinstance(error, ValueError) and "expected a URL of http, https or s3" in str(error)
    assert "secret" not in str(error)


def test_a_single_key_is_refused() -> None:
    """Rather than taken for a list of letters."""
    for key in "a.jpg", b"a.jpg", Path("a.jpg"):
        with pytest.raises(TypeError, match="put it into a list"):
            HttpReader()(key)  # type: ignore[arg-type]


def test_no_keys_need_no_connection() -> None:
    """Any iterable will do."""
    assert HttpReader("http://127.0.0.1:1")(iter(())) == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"base": 1}, TypeError),
        ({"base": "host/path"}, ValueError),
        ({"base": "ftp://host/path"}, ValueError),
        ({"max_connections": 0}, ValueError),
        ({"timeout_s": 0}, ValueError),
        ({"timeout_s": float("nan")}, ValueError),
        ({"timeout_s": "30"}, TypeError),
        ({"retries": -1}, ValueError),
        ({"retries": 1.5}, TypeError),
        ({"max_body": 0}, ValueError),
        ({"headers": {"A": 1}}, TypeError),
        ({"headers": {"A": "b\r\nEvil: c"}}, ValueError),
        ({"headers": {"A: b": "c"}}, ValueError),
        ({"s3": {"bucket": "b"}}, ValueError),
        ({"s3": {"region": 1}}, TypeError),
        ({"s3": {"endpoint": "minio:9000"}}, ValueError),
        ({"s3": {"credentials": ("key", "secret")}}, TypeError),
    ],
)
def test_wrong_arguments_are_refused_at_once(options: dict[str, Any], error: type[Exception]) -> None:
    """Before any file is asked for."""
    with pytest.raises(error):
        HttpReader(**options)


# Answers


def test_bodies_of_any_size_and_framing(serve: Any) -> None:
    """Empty, of many chunks of libcurl's buffer, chunked, and ended by the connection."""
    big = os.urandom(3_000_000)

    def answer(request: Request, handler: Any) -> bytes | None:
        if request.path == "/empty":
            return b""
        if request.path == "/big":
            return big
        chunked = request.path == "/chunked"
        framing = b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Connection: close\r\n\r\n"
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + framing)
        handler.wfile.write(b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n" if chunked else b"abcdefg")
        handler.close_connection = not chunked
        return None

    reader = HttpReader(serve(answer).url, retries=0)
    assert reader(["empty", "big", "chunked", "closed"]) == [b"", big, b"abcdefg", b"abcdefg"]


def test_connections_are_kept_and_bounded(serve: Any) -> None:
    """Of 400 files in two calls, over as many connections as are allowed."""
    server = serve()
    reader = HttpReader(server.url, max_connections=3)
    for _ in range(2):
        assert reader(map(str, range(200))) == [f"/{n}".encode() for n in range(200)]
    assert 1 <= server.connections <= 3


def test_as_many_transfers_as_allowed_run_at_a_time(serve: Any) -> None:
    """No answer is given before that many requests are there."""
    barrier = threading.Barrier(8)

    def answer(request: Request, handler: Any) -> bytes:
        barrier.wait(20)
        return b"x"

    assert HttpReader(serve(answer).url, max_connections=8)(map(str, range(16))) == [b"x"] * 16


def test_no_limit_is_too_large(serve: Any) -> None:
    """Whatever libcurl's own are."""
    reader = HttpReader(serve().url, max_connections=10**6, timeout_s=1e12, retries=10**6, max_body="1 TB")
    assert reader(["a"]) == [b"/a"]


def test_headers_are_sent(serve: Any) -> None:
    """The user's in place of libcurl's own; one without a value too."""
    server = serve()
    HttpReader(server.url, headers={"X-Key": "ü", "User-Agent": "mine", "X-Empty": ""})(["a"])
    headers = server.requests[0].headers
    assert (headers["x-key"], headers["user-agent"], headers["x-empty"]) == ("Ã¼", "mine", "")  # UTF-8


def test_a_body_that_is_too_long_is_an_error(serve: Any) -> None:
    """With its length told before it, and without; it is not asked for again."""

    def answer(request: Request, handler: Any) -> bytes | None:
        if request.path == "/told":
            return bytes(2000)
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not handler.server.owner.stopped.is_set():
            handler.wfile.write(b"100\r\n" + bytes(256) + b"\r\n")
        return None

    server = serve(answer)
    reader = HttpReader(server.url, max_body=1000)
    assert [failure(reader, key).attempts for key in ("told", "endless")] == [1, 1]
    assert len(server.requests) == 2


# Failures


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_transient_statuses_are_tried_again(serve: Any, status: int) -> None:
    """Until the file comes, or no retry is left."""
    server = serve(first_then(status, status, b"x"))
    assert HttpReader(server.url)(["a"]) == [b"x"]
    assert len(server.requests) == 3
    server = serve(first_then(status))
    error = failure(HttpReader(server.url, retries=1))
    assert (error.status, error.attempts, len(server.requests)) == (status, 2, 2)


@pytest.mark.parametrize("status", [204, 300, 304, 400, 401, 403, 404, 410, 416, 501])
def test_other_statuses_are_final(serve: Any, status: int) -> None:
    """One request, and an error that names the file and the status; the connection is kept."""
    server = serve(first_then(status))
    reader = HttpReader(server.url)
    for _ in range(2):
        error = failure(reader)
        assert (error.status, error.attempts, error.url) == (status, 1, f"{server.url}/a.jpg")
        assert str(error) == f"{server.url}/a.jpg: HTTP status {status}"
    assert len(server.requests) == 2
    assert server.connections == 1


def test_failures_are_per_key(serve: Any) -> None:
    """The other files of the call come."""
    server = serve(lambda request, handler: 404 if request.path == "/missing" else b"x")
    answers = HttpReader(server.url)(["a", "missing", "b"])
    assert answers[::2] == [b"x", b"x"] and isinstance(answers[1], HttpError)


def partial(request: Request, handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + bytes(50))
    handler.close_connection = True


def partial_chunks(request: Request, handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n" + bytes(64) + b"\r\n40\r\nabc")
    handler.close_connection = True


def nothing(request: Request, handler: Any) -> None:
    handler.close_connection = True


@pytest.mark.parametrize("broken", [partial, partial_chunks, nothing])
def test_bodies_that_break_off_are_tried_again(serve: Any, broken: Answer) -> None:
    """Half a file is never given; nor is what came of it prefixed to the next attempt."""
    turns = iter(range(100))
    server = serve(lambda request, handler: broken(request, handler) if next(turns) < 2 else b"whole")
    assert HttpReader(server.url)(["a"]) == [b"whole"]
    server = serve(broken)
    error = failure(HttpReader(server.url, retries=1))
    assert error.attempts == 2 and "libcurl's error" in str(error)


def test_refused_connections_are_tried_again(serve: Any) -> None:
    """The error tells what libcurl said, and after how many attempts."""
    error = failure(HttpReader("http://127.0.0.1:1", retries=2))
    assert (error.status, error.attempts) == (None, 3)
    assert "Failed to connect to 127.0.0.1" in str(error) and "(after 3 attempts)" in str(error)


def stall(request: Request, handler: Any) -> None:
    handler.server.owner.stopped.wait(60)


def stall_in_body(request: Request, handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + bytes(50))
    handler.server.owner.stopped.wait(60)


def trickle(request: Request, handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not handler.server.owner.stopped.wait(0.05):
        handler.wfile.write(b"x")


@pytest.mark.parametrize("stalled", [stall, stall_in_body, trickle])
def test_stalls_end(serve: Any, stalled: Answer) -> None:
    """A server that says nothing, stops half way, or sends a byte now and then."""
    error = failure(HttpReader(serve(stalled).url, timeout_s=1, retries=0))
    assert error.attempts == 1 and "libcurl's error 28" in str(error)


def test_waiting_for_another_attempt_holds_up_nobody(serve: Any) -> None:
    """With one connection, the other files come while one waits as long as it was told to."""
    seen = []

    def answer(request: Request, handler: Any) -> Any:
        seen.append(request.path)
        return (503, {"Retry-After": "1"}, b"") if seen.count("/slow") == 1 and request.path == "/slow" else b"x"

    server = serve(answer)
    assert HttpReader(server.url, max_connections=1)(["slow", *"abcdef"]) == [b"x"] * 7
    assert seen[0] == seen[-1] == "/slow" and len(seen) == 8


def test_retry_after_is_bounded(serve: Any) -> None:
    """A server that asks for an hour is asked again after timeout_s."""
    server = serve(first_then((429, {"Retry-After": "3600"}, b""), b"x"))
    assert HttpReader(server.url, timeout_s=1)(["a"]) == [b"x"]


# Redirects and secrets


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(serve: Any, status: int) -> None:
    """Relative ones and absolute ones, to another host too."""
    other = serve()
    server = serve(
        lambda request, handler: (
            status,
            {"Location": "/b?x=1" if request.path == "/a" else f"{other.url}/c"},
            b"moved",
        )
    )
    assert HttpReader(server.url)(["a"]) == [b"/c"]
    assert server.paths == ["/a", "/b?x=1"]


def test_redirects_end(serve: Any) -> None:
    """After five; a loop is an error, and not tried again."""
    server = serve(lambda request, handler: (302, {"Location": request.path + "x"}, b""))
    error = failure(HttpReader(server.url))
    assert error.status == 302 and "more than 5 redirects" in str(error) and len(server.requests) == 6


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x"])
def test_redirects_lead_to_http_only(serve: Any, target: str) -> None:
    """Nothing else is opened, whatever libcurl can speak."""
    error = failure(HttpReader(serve(first_then((302, {"Location": target}, b""))).url))
    assert error.status == 302 and "redirected: expected a URL of http" in str(error)


def test_a_failure_behind_a_redirect_starts_over(serve: Any) -> None:
    """At the first URL, as where it led to may be what fails."""
    other = serve(first_then(503, b"x"))
    server = serve(first_then((302, {"Location": f"{other.url}/signed?token=secret"}, b"")))
    assert HttpReader(server.url)(["a"]) == [b"x"]
    assert len(server.requests) == len(other.requests) == 2


SECRETS = {"Authorization": "Bearer secret", "Cookie": "id=secret", "X-Api-Key": "secret"}


def test_nothing_secret_crosses_hosts(serve: Any) -> None:
    """Neither the URL's user nor any header that was given; within a host all go along."""
    other = serve()
    server = serve(
        lambda request, handler: (302, {"Location": "/b" if request.path == "/a" else f"{other.url}/c"}, b"")
    )
    url = server.url.replace("//", "//user:pass%2Fword@")
    assert HttpReader(url, headers={"X-Api-Key": "secret"})(["a"]) == [b"/c"]
    assert HttpReader(server.url, headers=SECRETS)(["a"]) == [b"/c"]
    assert {"authorization", "cookie", "x-api-key"} & {name for one in other.requests for name in one.headers} == set()
    assert [one.headers["x-api-key"] for one in server.requests] == ["secret"] * 4
    assert {one.headers["authorization"] for one in server.requests[:2]} == {"Basic dXNlcjpwYXNzL3dvcmQ="}


def test_headers_belong_to_the_base(serve: Any) -> None:
    """A URL of another host gets none; without a base each URL gets them."""
    server, other = serve(), serve()
    HttpReader(server.url, headers=SECRETS)(["a", f"{other.url}/a"])
    assert "x-api-key" in server.requests[0].headers and "x-api-key" not in other.requests[0].headers
    HttpReader(headers=SECRETS)([f"{other.url}/a"])
    assert "x-api-key" in other.requests[1].headers


def test_handles_do_not_remember_users(serve: Any) -> None:
    """One connection, with a user, another and none in turn."""
    server = serve()
    keys = [
        server.url.replace("//", f"//{user}@") + "/a" if user else f"{server.url}/a" for user in ("a:b", "", "c:d", "")
    ]
    HttpReader(max_connections=1)(keys)
    assert [one.headers.get("authorization") for one in server.requests] == ["Basic YTpi", None, "Basic Yzpk", None]


def test_no_secret_is_shown(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in a repr, an error's text or its pickle: no user, password, header or query."""
    server = serve(first_then(403))
    base = server.url.replace("//", "//name:secret@") + "/d?sig=secret"
    reader = HttpReader(base, headers={"Authorization": "secret"}, retries=0)
    assert repr(reader) == f"HttpReader('{server.url}/d?...')"
    errors = [failure(reader), failure(HttpReader(base.replace(server.host, "127.0.0.1:1"), retries=0))]
    monkeypatch.setenv("http_proxy", "http://name:secret@[bad")
    errors.append(failure(reader))
    for error in errors:
        shown = f"{error} {error!r} {error.__dict__} {error.__cause__} {error.__context__} {pickle.dumps(error)!r}"
        assert "secret" not in shown and "name" not in shown.replace("__name__", "")
    assert str(errors[0]) == f"{server.url}/d/a.jpg?...: HTTP status 403"


def test_netrc_and_proxies_of_the_environment(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As curl has it: the user of a host from a file, a proxy from http_proxy but not for the hosts of no_proxy."""
    server, proxy = serve(), serve()
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password pw\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    reader = HttpReader(server.url)
    reader(["a"])
    assert server.requests[0].headers["authorization"] == "Basic bWU6cHc="
    monkeypatch.setenv("http_proxy", proxy.url)
    assert reader(["b"]) == [f"{server.url}/b".encode()] and len(proxy.requests) == 1
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert reader(["c"]) == [b"/c"]
