"""A job of tests/transfers/test_connections.py: an ASGI application that answers with HTTP's version and the path."""

from __future__ import annotations

from typing import Any


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer one request."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": f"{scope['http_version']} {scope['path']}".encode()})
