"""A visit to a page: fetch it, find its tags, and make their requests without counting."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pfa_flux.doctor.site import tags, verdict
from pfa_flux.doctor.site.fetch import MOST, Answer, Browser, NoAnswerError
from pfa_flux.doctor.site.markup import Markup, read
from pfa_flux.doctor.site.policy import POLICIES, of_page, referer
from pfa_flux.doctor.site.requests import Seen, ask
from pfa_flux.doctor.site.urls import origin
from pfa_flux.engines.base import Check
from pfa_flux.pixel.hit import HIT, LOAD, View
from pfa_flux.settings.pixel import PixelSettings
from pfa_flux.settings.rules import Rules

_MOST_FILES = 20
"""Maximum number of script files to search."""
_CHARSET = re.compile(r"charset=[\"']?([\w.:-]+)", re.I)


@dataclass(slots=True)
class Visit:
    """Result of a visit.

    Attributes:
        url: address of the page after redirects, or the requested one if there is no answer.
        checks: the checks made.
        is_page: the address answers with a page.
        answered: number of answers in which the pixel said what it would count.
        unmarked: the pixel answered, but could not say it.
        always: page views that count with or without JavaScript.
        without: page views that count only without JavaScript.
        scripted: loads that count with JavaScript.
    """

    url: str
    checks: list[Check] = field(default_factory=list)
    is_page: bool = False
    answered: int = 0
    unmarked: bool = False
    always: list[View] = field(default_factory=list)
    without: list[View] = field(default_factory=list)
    scripted: list[View] = field(default_factory=list)


def visit(browser: Browser, url: str, pixel: PixelSettings) -> Visit:
    """Visit a page.

    Args:
        browser: makes the requests.
        url: its address.
        pixel: settings of the pixel.

    Raises:
        NoAnswerError: the page does not exist or cannot be read.
    """
    answer, rules = browser.get(url), Rules(pixel)
    made = Visit(answer.url)
    made.checks.append(_page(url, answer))
    if made.checks[0].status == "failed":
        return made
    made.is_page = True
    made.checks.append(verdict.domain(made.url, rules))
    markup = _markup(answer)
    policy = of_page(answer.headers.get("Referrer-Policy", ""), markup.policy)
    images, check = tags.images(markup, pixel)
    made.checks.append(check)
    # Request only what a browser would request.
    for image in images if check.status != "failed" else ():
        seen = _ask(browser, made.url, image.url, image.policy, policy)
        _add(made, seen, verdict.of(seen, HIT, made.url, rules), made.without if image.noscript else made.always)
        if seen.fault and origin(markup.base) != origin(made.url) and origin(image.url) == origin(markup.base):
            made.checks[-1] = _by_base(made.checks[-1], made.url, pixel)
    scripts = _scripts(browser, markup)
    requested, check = tags.loads(markup, scripts, pixel)
    made.checks.append(check)
    for each in requested:
        seen = _ask(browser, made.url, each.url, each.policy, policy)
        _add(made, seen, verdict.of(seen, LOAD, made.url, rules), made.scripted)
    if images:
        made.checks.append(tags.views(images, scripts, pixel))
    return made


def _page(asked: str, answer: Answer) -> Check:
    where = answer.url if not answer.passed else f"{asked} redirects to {answer.url}"
    kind = answer.headers.get("Content-Type", "text/html")
    if answer.status != 200:
        return Check("page", "failed", f"{where} answers {answer.status}", "Choose a page that anybody can read.")
    if "html" not in kind:
        return Check("page", "failed", f"{where} is {kind}, not HTML", "Choose a page of the site.")
    if not answer.whole:
        advice = "Tags after that are not found. Put them further up."
        return Check("page", "warning", f"{where}; its first {MOST >> 20} MiB were read", advice)
    return Check("page", "ok", where)


def _markup(answer: Answer) -> Markup:
    charset = _CHARSET.search(answer.headers.get("Content-Type", ""))
    try:
        text = answer.body.decode(charset[1] if charset else "utf-8", "replace")
    except LookupError:
        text = answer.body.decode("utf-8", "replace")
    markup = read(text, answer.url)
    if header := answer.headers.get("Content-Security-Policy"):
        markup.csp.append(header)
    return markup


def _scripts(browser: Browser, markup: Markup) -> list[str]:
    """Texts of the page's scripts. Includes the site's own script files if needed."""
    texts = list(markup.scripts)
    for source in markup.sources[:_MOST_FILES]:
        if tags.has_all(texts):
            break
        if origin(source) != origin(markup.url):
            continue
        try:
            texts.append(browser.get(source, {"Accept": "*/*"}).body.decode("utf-8", "replace"))
        except NoAnswerError:
            continue
    return texts


def _ask(browser: Browser, page: str, url: str, own: str, policy: str) -> Seen:
    return ask(browser, url, referer(page, url, own if own in POLICIES else policy))


def _add(made: Visit, seen: Seen, check: Check, views: list[View]) -> None:
    made.checks.append(check)
    made.answered += not seen.fault
    made.unmarked = made.unmarked or seen.unmarked
    if seen.view is not None:
        views.append(seen.view)


def _by_base(check: Check, page: str, pixel: PixelSettings) -> Check:
    advice = f"Write the page's own host into the tag: {origin(page)}{pixel.path}, or let <base> name it."
    return Check(check.name, check.status, f"<base href> points the tag to another host: {check.found}", advice)
