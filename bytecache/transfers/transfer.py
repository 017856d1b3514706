"""One file on its way: its attempts and redirects, and what comes of it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from .errors import HttpError
from .retries import is_transient
from .urls import Address, redact

_COMPLETE = {200, 203, 206}  # 206: the user's headers asked for a range
_REDIRECTS = {301, 302, 303, 307, 308}
_MAX_REDIRECTS = 5
_S3_CODE = re.compile(rb"<Code>([A-Za-z]{1,64})</Code>")


class Answer(NamedTuple):
    """How a request ended.

    curl_code: 0 if the answer is complete. message: libcurl's. redirect: the URL that the answer names, or "".
    asked_s: how long the server asks to wait before another attempt, or 0.
    """

    curl_code: int
    message: str
    status: int
    redirect: str
    asked_s: float


class Transfer:
    """One file. result: its bytes, or an exception, once it is done; None before."""

    __slots__ = ("address", "attempts", "chunks", "redirects", "result", "start")

    def __init__(self, address: Address) -> None:
        self.start = self.address = address
        self.attempts, self.redirects = 1, 0
        self.chunks: list[bytes] = []  # of the body, as they come
        self.result: Any = None

    def settle(self, answer: Answer, retries: int) -> bool:
        """Take an answer: keep the bytes, follow a redirect, or fail; return whether to wait for another attempt."""
        body = b"".join(self.chunks)
        self.chunks.clear()  # libcurl's handle, too, refers to the list
        if answer.curl_code == 0 and answer.status in _COMPLETE:
            self.result = body
        elif answer.curl_code == 0 and answer.status in _REDIRECTS and answer.redirect:
            self._redirect(answer)
        elif self.attempts <= retries and is_transient(answer.curl_code, answer.status):
            self.address, self.redirects = self.start, 0  # where a redirect led to may be the cause
            self.attempts += 1
            return True
        else:
            self.fail(_describe(answer, body), answer.status)
        return False

    def fail(self, reason: str, status: int) -> None:
        """End with an error."""
        self.result = HttpError(self.start.shown, reason, status or None, self.attempts)

    def _redirect(self, answer: Answer) -> None:
        self.redirects += 1
        if self.redirects > _MAX_REDIRECTS:
            return self.fail(f"more than {_MAX_REDIRECTS} redirects", answer.status)
        try:
            self.address = self.address.redirected(answer.redirect)
        except ValueError as exc:
            self.fail(f"redirected: {exc}", answer.status)


def _describe(answer: Answer, body: bytes) -> str:
    if answer.curl_code:
        return f"{redact(answer.message)} (libcurl's error {answer.curl_code})"
    code = _S3_CODE.search(body)  # the rest of what S3 says repeats parts of the signed request
    return f"HTTP status {answer.status}" + (f", {code[1].decode()}" if code else "")
