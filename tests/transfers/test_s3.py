"""Requests to S3 and servers like it: addresses, and signatures checked by a server of the tests' own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from helpers import sigv4
from helpers.http_server import Request, Server, serving
from helpers.threads import start

pytest.importorskip("bytecache.http", reason="HttpReader needs the extra http", exc_type=ImportError)

from bytecache.http import HttpError, HttpReader  # noqa: E402
from bytecache.transfers.s3 import S3  # noqa: E402

SECRETS = {"AKIDEXAMPLE": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "AKIDOTHER": "other/secret+="}
REGION = "eu-central-1"
TOKEN = "FwoGZXIvYXdzE+/=token"
KEYS = [
    "train/a.jpg", "a b.jpg", "a+b.jpg", "~a/.b/-_.jpg", "100%.jpg", "a%20b.jpg", "#1?x=y&z;w.jpg", "café/日本.jpg",
    "x=(1),[2]{3}'4'!*:@$.jpg", "...a/..b.jpg", 'quoted "name".jpg', "a//b.jpg", "a\\b|c^d`e<f>.jpg",
]  # fmt: skip


class Bucket:
    """A server that gives an object's name as its content, if the signature is right."""

    def __init__(self, region: str = REGION, token: str | None = None) -> None:
        self.region, self.token = region, token

    def __call__(self, request: Request, handler: Any) -> Any:
        fault = sigv4.fault("GET", request.path, request.headers, SECRETS, self.region)
        if not fault and request.headers.get("x-amz-security-token") != self.token:
            fault = "another token"
        if fault:
            return 403, {}, f"<Error><Code>SignatureDoesNotMatch</Code><Message>{fault}</Message></Error>".encode()
        return unquote(request.path).encode()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with credentials, and nothing else of S3's."""
    for name in "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL":
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRETS["AKIDEXAMPLE"])
    return monkeypatch


@pytest.fixture
def minio(environment: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server whose bucket is read with the credentials of the environment."""
    with serving(Bucket()) as server:
        yield server


def reader_of(server: Server, base: str = "s3://data", **s3: Any) -> HttpReader:
    return HttpReader(base, s3={"region": REGION, "endpoint": server.url, **s3}, retries=0)


@pytest.mark.parametrize("key", KEYS)
def test_every_name_is_signed_and_found(minio: Server, key: str) -> None:
    """Below a base, and as a URL of its own; what is not quoted in a key is quoted in the request."""
    found = [f"/data/p q/{key}".encode()]
    assert reader_of(minio, "s3://data/p q")([key]) == found
    assert reader_of(minio, "")([f"s3://data/p q/{key}"]) == found


@pytest.mark.parametrize("key", ["../a", "a/./b", "a/.."])
def test_names_that_a_url_cannot_have_are_refused(minio: Server, key: str) -> None:
    """Rather than taken for the name of another object."""
    answers = reader_of(minio)([key, f"s3://data/{key}"])
    assert all(isinstance(one, ValueError) and "cannot be asked for" in str(one) for one in answers)
    assert minio.requests == []


def test_a_wrong_secret_is_refused(minio: Server, environment: pytest.MonkeyPatch) -> None:
    """The error has S3's code, and neither the key nor what was signed."""
    environment.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    [error] = reader_of(minio)(["a.jpg"])
    assert str(error) == f"{minio.url}/data/a.jpg: HTTP status 403, SignatureDoesNotMatch"


def test_a_session_token_is_sent_and_signed(environment: pytest.MonkeyPatch) -> None:
    """From the environment, in its header."""
    environment.setenv("AWS_SESSION_TOKEN", TOKEN)
    with serving(Bucket(token=TOKEN)) as server:
        assert reader_of(server)(KEYS) == [f"/data/{key}".encode() for key in KEYS]


def test_headers_of_the_user_are_signed_or_harmless(minio: Server) -> None:
    """A range of bytes, and headers of S3's own."""
    headers = {"Range": "bytes=0-3", "x-amz-request-payer": "requester"}
    reader = HttpReader("s3://data", s3={"region": REGION, "endpoint": minio.url}, headers=headers, retries=0)
    assert reader(["a"]) == [b"/data/a"]
    assert minio.requests[0].headers["x-amz-request-payer"] == "requester"


def test_region_and_endpoint_of_the_environment(environment: pytest.MonkeyPatch) -> None:
    """The variables that Amazon's tools read, the more special one first."""
    environment.setenv("AWS_DEFAULT_REGION", "elsewhere")
    environment.setenv("AWS_REGION", "here-1")
    with serving(Bucket("here-1")) as server:
        environment.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        environment.setenv("AWS_ENDPOINT_URL_S3", server.url)
        assert HttpReader("s3://data", retries=0)(["a"]) == [b"/data/a"]


def test_urls_of_the_endpoint_are_signed(minio: Server) -> None:
    """As those of a bucket are; those of other hosts are not."""
    assert reader_of(minio, f"{minio.url}/data")(["a b"]) == [b"/data/a b"]
    with serving(lambda request, handler: b"x") as other:
        assert reader_of(minio)([f"{other.url}/data/a"]) == [b"x"]
        assert "authorization" not in other.requests[0].headers


def test_redirects_are_signed_within_the_endpoint_only(environment: pytest.MonkeyPatch) -> None:
    """No other host sees a signature or a token."""
    environment.setenv("AWS_SESSION_TOKEN", TOKEN)
    bucket = Bucket(token=TOKEN)
    with serving(lambda request, handler: b"x") as other:

        def answer(request: Request, handler: Any) -> Any:
            moves = {"/data/here": "/data/there", "/data/away": f"{other.url}/a"}
            return (307, {"Location": moves[request.path]}, b"") if request.path in moves else bucket(request, handler)

        with serving(answer) as server:
            assert reader_of(server)(["here", "away"]) == [b"/data/there", b"x"]
        assert not {"authorization", "x-amz-security-token", "x-amz-date"} & set(other.requests[0].headers)


def test_credentials_are_asked_for_anew(environment: pytest.MonkeyPatch) -> None:
    """A function is called before each request, so that what expires is replaced."""
    environment.setenv("AWS_ACCESS_KEY_ID", "unused")
    given = [("AKIDEXAMPLE", SECRETS["AKIDEXAMPLE"]), ("AKIDOTHER", SECRETS["AKIDOTHER"], None, "account")] * 2
    with serving(Bucket()) as server:
        reader = reader_of(server, credentials=iter(given).__next__)
        assert reader(["a", "b"]) + reader(["c", "d"]) == [f"/data/{key}".encode() for key in "abcd"]
        keys = {one.path[-1]: one.headers["authorization"].split("=")[1].split("/")[0] for one in server.requests}
        assert keys == {"a": "AKIDEXAMPLE", "b": "AKIDOTHER", "c": "AKIDEXAMPLE", "d": "AKIDOTHER"}


def test_what_credentials_raise_is_passed_on(minio: Server) -> None:
    """In the place of each key that needs them; other files come."""

    def credentials() -> Any:
        raise RuntimeError("expired")

    with serving(lambda request, handler: b"x") as other:
        answers = reader_of(minio, credentials=credentials)(["a", f"{other.url}/b"])
    assert isinstance(answers[0], RuntimeError) and answers[1] == b"x"
    assert minio.requests == []


@pytest.mark.parametrize("given", ["secret", ("only",), (b"secret", b"secret"), 7])
def test_credentials_of_another_form_are_errors(minio: Server, given: Any) -> None:
    """In the place of each key, and not shown."""
    [error] = reader_of(minio, credentials=lambda: given)(["a"])
    assert isinstance(error, TypeError) and "must return (key, secret)" in str(error)


def test_without_credentials_nothing_is_signed(environment: pytest.MonkeyPatch) -> None:
    """Public buckets are read without an account; the user of ~/.netrc is for others."""
    environment.delenv("AWS_SECRET_ACCESS_KEY")
    with serving(lambda request, handler: b"x") as server:
        assert reader_of(server)(["a"]) == [b"x"]
        assert "authorization" not in server.requests[0].headers


def test_amazons_addresses() -> None:
    """The bucket is part of the host's name, but for one with a dot, which no certificate covers."""
    s3 = S3({"region": "eu-west-1"})
    assert s3.locate("data/a b/c+d.jpg") == "https://data.s3.eu-west-1.amazonaws.com/a%20b/c%2Bd.jpg"
    assert s3.locate("my.data//x") == "https://s3.eu-west-1.amazonaws.com/my.data//x"
    with pytest.raises(ValueError, match="expected s3://bucket/key"):
        s3.locate("/key")


def test_threads_sign_at_the_same_time(minio: Server) -> None:
    """Each call with handles of its own."""
    reader = reader_of(minio)
    barrier = threading.Barrier(4)

    def call(name: str) -> list[Any]:
        barrier.wait(20)
        return reader([f"{name}/{n}" for n in range(50)])

    ends = [start(lambda name=name: call(name)) for name in "abcd"]
    assert [end() for end in ends] == [[f"/data/{name}/{n}".encode() for n in range(50)] for name in "abcd"]


def test_errors_of_s3_are_http_errors(environment: pytest.MonkeyPatch) -> None:
    """A missing key is final; a request to slow down is not."""
    answers = iter([(503, {}, b"<Error><Code>SlowDown</Code></Error>"), b"x"])
    with serving(lambda request, handler: next(answers)) as server:
        assert HttpReader("s3://b", s3={"endpoint": server.url})(["a"]) == [b"x"]
    with serving(lambda request, handler: (404, {}, b"<Error><Code>NoSuchKey</Code></Error>")) as server:
        [error] = HttpReader("s3://b", s3={"endpoint": server.url})(["a"])
        assert isinstance(error, HttpError) and str(error).endswith("/b/a: HTTP status 404, NoSuchKey")
