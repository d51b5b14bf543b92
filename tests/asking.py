"""Requests for a pixel without a socket, and why one did not count."""

from __future__ import annotations

from typing import Any

from pfa_flux.settings.pixel import PixelSettings
from tests.socketless import Site

GET, HEAD, POST = b"GET", b"HEAD", b"POST"


def site(**settings: Any) -> Site:
    return Site(PixelSettings(**settings))


def ask(
    path: str = "/count.gif", referer: str | None = "https://a.example/x", *fields: bytes, method: bytes = GET
) -> bytes:
    said = () if referer is None else (b"Referer: " + referer.encode(),)
    return b"\r\n".join((method + b" " + path.encode() + b" HTTP/1.1", b"Host: here.example", *said, *fields, b"", b""))


def why(site: Site, data: bytes) -> tuple[int, str | None]:
    """Status of the answer to one request, and the reason in its header."""
    (answer,) = site.client().send(data)
    return answer.status, answer.headers.get("X-Pfa-Flux")
