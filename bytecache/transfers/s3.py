"""Buckets of S3 and of servers that speak its protocol, such as MinIO."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .urls import parse_url, quote_path

_OPTIONS = ("region", "endpoint", "credentials")


class Signature(NamedTuple):
    """What libcurl signs a request with. scope: what CURLOPT_AWS_SIGV4 takes. token: of a session, or ""."""

    scope: str
    key: str
    secret: str
    token: str


class S3:
    """Finds and signs objects. options: as for ``HttpReader``; what they lack is taken from the environment.

    Raises TypeError or ValueError for other options. Immutable.
    """

    def __init__(self, options: Mapping[str, Any] | None) -> None:
        given = dict(options or {})
        if unknown := given.keys() - set(_OPTIONS):
            raise ValueError(f"s3 must be a dict of some of {_OPTIONS}, got also {sorted(unknown)}")
        self._credentials: Callable[[], Any] = given.get("credentials") or _from_environment
        if not callable(self._credentials):
            raise TypeError("s3['credentials'] must be a function that returns (key, secret) or (key, secret, token)")
        self._region = _text(given, "region") or _first_set("AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1"
        endpoint = _text(given, "endpoint") or _first_set("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
        self._scope = f"aws:amz:{self._region}:s3"
        self._endpoint = endpoint.rstrip("/")
        self.origin = parse_url(endpoint).origin if endpoint else None

    def locate(self, name: str) -> str:
        """Return the URL of ``bucket/key``, in which nothing is quoted yet.

        An endpoint gets the bucket in the path, Amazon in the host's name, unless a dot in it would lack a certificate.
        """
        bucket, _, key = quote_object(name).partition("/")
        if not bucket:
            raise ValueError(f"expected s3://bucket/key, got {'s3://' + name!r}")
        if self._endpoint:
            return f"{self._endpoint}/{bucket}/{key}"
        if "." in bucket:
            return f"https://s3.{self._region}.amazonaws.com/{bucket}/{key}"
        return f"https://{bucket}.s3.{self._region}.amazonaws.com/{key}"

    def signature(self) -> Signature | None:
        """Return what to sign a request with, asked for anew each time; None if there are no credentials.

        Raises what the user's function raises, and TypeError if it returns anything else.
        """
        match self._credentials():
            case None:
                return None
            case (str(key), str(secret)) | (str(key), str(secret), None, *_):
                return Signature(self._scope, key, secret, "")
            case (str(key), str(secret), str(token), *_):  # of botocore, which adds the account
                return Signature(self._scope, key, secret, token)
        raise TypeError("s3['credentials'] must return (key, secret) or (key, secret, token), got something else")


def quote_object(name: str) -> str:
    """Return the name of an object as a URL has it.

    Raises ValueError if a part of it is "." or "..": libcurl, which signs no path as it is, asks for another object.
    """
    if {".", ".."} & set(name.split("/")):
        raise ValueError(f'an object with "." or ".." as a part of its name cannot be asked for: {name!r}')
    return quote_path(name)


def _from_environment() -> tuple[str, str, str] | None:
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    return (key, secret, os.environ.get("AWS_SESSION_TOKEN", "")) if key and secret else None


def _text(options: Mapping[str, Any], name: str) -> str:
    if not isinstance(options.get(name) or "", str):
        raise TypeError(f"s3[{name!r}] must be a str, got one of type {type(options[name]).__name__}")
    return options.get(name) or ""


def _first_set(*names: str) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")
