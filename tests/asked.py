"""What the pixel reads from a request, without one; and the page of a path, segment by segment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from pfa_flux.pixel.hit import Reason, View, page_of, page_view
from pfa_flux.settings.pixel import PixelSettings
from pfa_flux.settings.rules import Rules


@dataclass
class Asked:
    """What is looked at of a request, without one."""

    referer: bytes | None = None
    host: bytes | None = b"here.example"
    forwarded_host: bytes | None = None
    forwarded_proto: bytes | None = None
    prefetch: bool = False
    gpc: bool = False
    dnt: bool = False
    embedded: bool = True
    skip: bytes | None = None
    check: bool = False


def rules(**settings: Any) -> Rules:
    return Rules(PixelSettings(**settings))


def view(asked: Asked, **settings: Any) -> View | Reason:
    return page_view("hit", asked, rules(**settings))


def seen(referer: bytes | str | None, **settings: Any) -> tuple[str, str, str] | Reason:
    """Scheme, domain and page."""
    found = view(Asked(referer.encode() if isinstance(referer, str) else referer), **settings)
    return found if isinstance(found, Reason) else found[1:]


def page(path: bytes | str, **settings: Any) -> str:
    return page_of(path.encode() if isinstance(path, str) else path, rules(**settings))


_KEPT = "!$&'()*+,;=:@[]"


def oracle(path: str) -> str:
    """The page of a path that has no masks or rules, segment by segment."""
    kept: list[str] = []
    for segment in path.removeprefix("/").split("/"):
        octets = re.split(rb"(%[0-9A-Fa-f]{2})", segment.encode("utf-8", "surrogateescape"))
        # What was escaped and need not be is decoded; what was not and has to be is encoded.
        texts = [
            quote(unquote_to_bytes(each), safe="") if number % 2 else quote(each, safe=_KEPT)
            for number, each in enumerate(octets)
        ]
        kept.append("".join(texts))
    while dots := [n for n, segment in enumerate(kept) if segment in {".", ".."}]:
        at = dots[0]
        ends = [""] if at == len(kept) - 1 else []
        kept = kept[: at if kept[at] == "." else max(at - 1, 0)] + ends + kept[at + 1 :]
    return "/" + "/".join(kept)
