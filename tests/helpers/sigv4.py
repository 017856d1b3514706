"""Signature Version 4 as Amazon's documents state it, checked on a server's side, for requests to S3.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import datetime, timezone
from urllib.parse import parse_qsl, quote, unquote_to_bytes

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, *SignedHeaders=([^,]+), *Signature=(\w{64})"
)
_EMPTY = hashlib.sha256(b"").hexdigest()


def fault(method: str, target: str, headers: dict[str, str], secrets: dict[str, str], region: str) -> str:
    """Return what is wrong with a request's signature, "" if it is right.

    target: path and query as they came. headers: names in lower case. secrets: by access key.
    """
    match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if match is None:
        return "no signature"
    key, day, scope_region, names, signature = match.groups()
    moment = headers.get("x-amz-date", "")
    sent = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    if key not in secrets or scope_region != region or not moment.startswith(day):
        return "another key, region or day"
    if abs((datetime.now(timezone.utc) - sent).total_seconds()) > 300:
        return "another time"
    signed = names.split(";")
    required = {"host", *(name for name in headers if name.startswith("x-amz-"))}
    if signed != sorted(signed) or not required <= set(signed):
        return "headers that are not signed"
    if headers.get("x-amz-content-sha256") not in (_EMPTY, "UNSIGNED-PAYLOAD"):
        return "another body"
    request = "\n".join([method, *_canonical(target), *(f"{name}:{_trimmed(headers[name])}" for name in signed), ""])
    request += "\n".join(["", names, headers["x-amz-content-sha256"]])
    scope = f"{day}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    derived = f"AWS4{secrets[key]}".encode()
    for part in (*scope.split("/"), text):
        derived = hmac.new(derived, part.encode(), hashlib.sha256).digest()
    return "" if hmac.compare_digest(derived.hex(), signature) else "another signature"


def _canonical(target: str) -> tuple[str, str]:
    """Return path and query: decoded, and encoded again so that all but unreserved characters are quoted."""
    path, _, query = target.partition("?")
    pairs = sorted((quote(name, "-_.~"), quote(value, "-_.~")) for name, value in parse_qsl(query, True))
    return quote(unquote_to_bytes(path), "/-_.~"), "&".join(f"{name}={value}" for name, value in pairs)


def _trimmed(value: str) -> str:
    return re.sub(" +", " ", value.strip())
