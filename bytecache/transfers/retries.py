"""Which failures are worth another attempt, and when."""

from __future__ import annotations

import math
import random

from .curl import pycurl

_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.1, 10.0
_STATUSES = {408, 429, 500, 502, 503, 504}
_HTTP2_STREAM, _HTTP3, _QUIC_CONNECT = 92, 95, 96  # libcurl's numbers, which pycurl has no names for
_CURL_CODES = {
    pycurl.E_COULDNT_RESOLVE_PROXY, pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_CONNECT, pycurl.E_PARTIAL_FILE,
    pycurl.E_OPERATION_TIMEDOUT, pycurl.E_SSL_CONNECT_ERROR, pycurl.E_GOT_NOTHING, pycurl.E_SEND_ERROR,
    pycurl.E_RECV_ERROR, pycurl.E_HTTP2, pycurl.E_AGAIN, _HTTP2_STREAM, _HTTP3, _QUIC_CONNECT,
}  # fmt: skip


def is_transient(curl_code: int, status: int) -> bool:
    """Return whether another attempt may succeed. curl_code: 0 if the answer was complete; then its status counts."""
    return (status in _STATUSES) if curl_code == 0 else (curl_code in _CURL_CODES)


def delay_s(attempt: int, asked_s: float) -> float:
    """Return the seconds to wait after attempt 1, 2, ...: twice as long each time, less up to a half at random.

    asked_s: the least wait that the server asks for, 0 if it asks for none.
    """
    growing_s = min(math.ldexp(_FIRST_DELAY_S, min(attempt - 1, 30)), _LONGEST_DELAY_S)
    return max(growing_s * random.uniform(0.5, 1), asked_s)
