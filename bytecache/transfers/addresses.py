"""From the keys that a user gives, URLs or paths, to addresses."""

from __future__ import annotations

import os
import re
from pathlib import PurePath
from typing import Any

from .s3 import S3, quote_object
from .urls import Address, parse_url, quote_path, redact

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class AddressBook:
    """Finds the address of a key: a URL, or a path below `base`. Raises ValueError for another base. Immutable."""

    def __init__(self, base: str, s3: S3) -> None:
        self._s3 = s3
        self._base: Address | None = None
        if base:
            self._base = self._locate(base)
            path, question, query = self._base.url.partition("?")
            self._prefix, self._suffix = path.rstrip("/") + "/", question + query

    @property
    def shown(self) -> str:
        """The base as an error may show it."""
        return self._base.shown if self._base else ""

    def find(self, key: Any) -> Address:
        """Return the address of a key; raise TypeError or ValueError for one that has none."""
        if isinstance(key, str) and _SCHEME.match(key):
            return self._locate(key)
        path = key if isinstance(key, str) else _as_path(key)
        if self._base is None:
            raise ValueError(f"expected a URL of http, https or s3, got {redact(path)!r}; for paths, give a base")
        quoted = (quote_object if self._base.signed else quote_path)(path.lstrip("/"))
        return self._base._replace(url=self._prefix + quoted + self._suffix)

    def _locate(self, url: str) -> Address:
        """Return the address of a URL. The user's headers are for the base's host, or for any if there is no base."""
        is_s3 = url[:5].lower() == "s3://"
        address = parse_url(self._s3.locate(url[5:]) if is_s3 else url)
        signed = is_s3 or address.origin == self._s3.origin
        return address._replace(signed=signed, trusted=self._base is None or address.origin == self._base.origin)


def _as_path(key: Any) -> str:
    path = key.as_posix() if isinstance(key, PurePath) else os.fspath(key) if isinstance(key, os.PathLike) else None
    if not isinstance(path, str):
        raise TypeError(f"a key must be a URL or a path, as str or of pathlib, got one of type {type(key).__name__}")
    return path
