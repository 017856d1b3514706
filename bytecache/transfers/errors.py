"""What a file that cannot be fetched gives instead of its bytes."""

from __future__ import annotations

from typing import Any


class HttpError(OSError):
    """A file that could not be fetched: its URL, what the server or libcurl said, and after how many attempts.

    url: without user, password, and the values of its query, any of which may be a secret. reason: libcurl's message,
    or what was wrong with the answer. status: the HTTP status of the last answer, None if there was none. attempts:
    how many requests were made, redirects apart. Pickles.
    """

    def __init__(self, url: str, reason: str, status: int | None = None, attempts: int = 1) -> None:
        times = f" (after {attempts} attempts)" if attempts > 1 else ""
        super().__init__(f"{url}: {reason}{times}")
        self.url, self.reason, self.status, self.attempts = url, reason, status, attempts

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.url, self.reason, self.status, self.attempts)
