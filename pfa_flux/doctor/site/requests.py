"""Requests for the pixel like those of a browser. They are never counted.

HEAD is never counted. Its answer shows whether the mark of a check reaches the pixel. Only then does a GET follow.
"""

from __future__ import annotations

from dataclasses import dataclass

from pfa_flux.doctor.front import fault_of
from pfa_flux.doctor.site.fetch import Browser, NoAnswerError
from pfa_flux.doctor.site.urls import resolve
from pfa_flux.pixel.counter import GIF, VIEW_HEADER
from pfa_flux.pixel.hit import Reason, View
from pfa_flux.pixel.http import CHECK
from pfa_flux.schema import BOTH

_MARK = {"Sec-Purpose": CHECK, "Purpose": CHECK}
_MOST_REDIRECTS = 3
_UNMARKED = (
    "Pass on Sec-Purpose and Purpose, as the output of pfa-flux nginx does. Update the pixel if it is older than this "
    "command. Without these headers, pages that a browser renders in advance count as viewed. If the web server also "
    "turns HEAD into GET, this check was counted as a page view."
)


@dataclass(frozen=True, slots=True)
class Seen:
    """Result of a request for an address.

    Attributes:
        url: the address.
        referer: the Referer of the request; empty without one.
        view: what the pixel would have counted; None if nothing, or if it did not say.
        reason: the pixel's keyword for why it would have counted nothing; empty otherwise. With a view, nginx skips
            this client, but counts the views of others.
        fault: what is wrong if the pixel did not answer; empty otherwise.
        advice: how to fix the fault.
        unmarked: the pixel answers, but the mark does not reach it.
        moved: the address redirects.
    """

    url: str
    referer: str
    view: View | None = None
    reason: str = ""
    fault: str = ""
    advice: str = ""
    unmarked: bool = False
    moved: bool = False


def ask(browser: Browser, url: str, referer: str) -> Seen:
    """Request the pixel, or its counterpart for loads.

    Args:
        browser: makes the request.
        url: the address in the page.
        referer: the Referer that a browser would send; empty for none.
    """
    headers = {"Accept": "image/*", "Sec-Fetch-Dest": "image", **_MARK, **({"Referer": referer} if referer else {})}
    at, moves = url, 0
    try:
        head = browser.ask("HEAD", at, headers)
        while head.status in {301, 302, 307, 308} and head.headers.get("Location") and moves < _MOST_REDIRECTS:
            at, moves = resolve(at, head.headers["Location"]) or at, moves + 1
            head = browser.ask("HEAD", at, headers)
        fault, advice = fault_of(head)
        if fault:
            return Seen(url, referer, fault=f"{at} {fault}", advice=advice)
        if head.headers.get("X-Pfa-Flux") != Reason.CHECK:
            lost = f"{at} is the pixel, but the mark of this check did not reach it, so the check stopped"
            return Seen(url, referer, fault=lost, advice=_UNMARKED, unmarked=True)
        got = browser.ask("GET", at, headers)
    except NoAnswerError as error:
        return Seen(url, referer, fault=error.message, advice=error.hint or "Is the web server running?")
    if got.headers.get("X-Pfa-Flux") != Reason.CHECK or got.body != GIF:
        fault = f"{at} answers GET differently from HEAD ({got.status})"
        return Seen(
            url,
            referer,
            fault=fault,
            advice=("Make sure that nothing between browser and pixel answers in its place."),
        )
    view, reason = _said(got.headers.get(VIEW_HEADER, ""))
    return Seen(url, referer, view=view, reason=reason, moved=moves > 0)


def _said(header: str) -> tuple[View | None, str]:
    if header.startswith("skipped_"):
        skipped, _, rest_of_it = header.partition(" ")
        return _said(rest_of_it)[0], skipped
    kinds = {side.one: side.one for side in BOTH}
    kind, *rest = header.split(" ", 3)
    if kind in kinds and len(rest) > 1:
        return View(kinds[kind], rest[0], rest[1], rest[2] if len(rest) > 2 else ""), ""
    return None, kind or "unknown"
