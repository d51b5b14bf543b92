"""Compares the pixel's answer about a page view with the settings."""

from __future__ import annotations

from urllib.parse import urlsplit

from pfa_flux.doctor.site.requests import Seen
from pfa_flux.doctor.site.urls import host_of, origin
from pfa_flux.engines.base import Check
from pfa_flux.pixel.hit import HIT, UNKNOWN, Kind, Reason, View, page_view
from pfa_flux.pixel.http import Request
from pfa_flux.settings.rules import Rules

_RESTART = "Restart pfa-flux serve: it runs with other settings."
_SEND_REFERER = (
    'Put referrerpolicy="same-origin" into the tag of a path on the site itself, or '
    'referrerpolicy="no-referrer-when-downgrade" into the tag of another host.'
)
_ADVICE: dict[str, str] = {
    Reason.NO_REFERER: _SEND_REFERER,
    Reason.DOMAIN_NOT_ALLOWED: "Add {domain} to domains under [pixel], and restart pfa-flux serve.",
    Reason.DESTINATION: "Make the web server pass on Sec-Fetch-Dest unchanged.",
    Reason.PREFETCH: "Make the web server pass on Sec-Purpose, Purpose, X-Purpose and X-Moz unchanged.",
    Reason.SKIPPED_OWN: "The web server treats your address as your own. That is right if you configured it so.",
    Reason.SKIPPED_BOT: "The web server treats this command as a bot. Check what sets X-Pfa-Skip.",
}


def expected(kind: Kind, url: str, rules: Rules) -> View | Reason:
    """What a view of a page should count as, if the browser sends its full address."""
    request = Request()
    request.referer = f"{origin(url)}{urlsplit(url).path or '/'}".encode("utf-8", "surrogateescape")
    return page_view(kind, request, rules)


def domain(url: str, rules: Rules) -> Check:
    """Whether the domain of a page counts according to the settings."""
    host, view = host_of(url), expected(HIT, url, rules)
    if not isinstance(view, View):
        named = _ADVICE[Reason.DOMAIN_NOT_ALLOWED].format(domain=host)
        return Check("domain", "failed", f"{host} does not count according to the settings ({view.value})", named)
    if not rules.settings.domains:
        advice = f'Set your domains: domains = ["{view.domain}"] under [pixel]. Without it, anybody can add others.'
        return Check("domain", "warning", f"counts as {view.domain}, as any domain does", advice)
    return Check("domain", "ok", f"counts as {view.domain}")


def of(seen: Seen, kind: Kind, page: str, rules: Rules) -> Check:
    """The check of a requested address, for a view of a page."""
    name, should = kind, expected(kind, page, rules)
    if seen.fault:
        return Check(name, "warning" if seen.unmarked else "failed", seen.fault, seen.advice)
    host = host_of(page)
    if seen.view is None:
        by_rules = isinstance(should, View) and seen.reason == Reason.DOMAIN_NOT_ALLOWED and seen.referer
        advice = _RESTART if by_rules else _ADVICE.get(seen.reason, "docs/deployment.md explains this keyword.")
        found = f"{seen.url} answers, but would not count the view: {seen.reason}"
        if seen.reason == Reason.NO_REFERER and not seen.referer:
            found += " (because of the referrer policy of page and tag, browsers send no Referer)"
        return Check(name, "failed", found, advice.format(domain=host))
    if seen.reason:
        found = f"{counted(seen.view)}, but not for you: {seen.reason}"
        return Check(name, "warning", found, _ADVICE.get(seen.reason, "Check what sets X-Pfa-Skip."))
    if isinstance(should, View) and seen.view[2:] != should[2:]:
        return _elsewhere(seen, seen.view, should, name)
    if seen.moved:
        moved = f"{counted(seen.view)}; {seen.url} redirects to the pixel"
        return Check(name, "warning", moved, "Use the address that it redirects to.")
    return Check(name, "ok", counted(seen.view))


def _elsewhere(seen: Seen, view: View, should: View, name: str) -> Check:
    """The check of a page view that counts for another page."""
    found = f"{counted(view)}, not on {should.domain} {should.page}".rstrip()
    if view.domain != should.domain:
        return Check(name, "warning", found, _RESTART)
    hidden = view.page in {"/", UNKNOWN} and not seen.referer.endswith(should.page)
    if hidden:
        found += ": because of the referrer policy of page and tag, browsers do not send the page"
    return Check(name, "warning", found, _SEND_REFERER if hidden else _RESTART)


def counted(view: View) -> str:
    """A page view as text."""
    return f"1 {view.kind} on {view.domain} {view.page}".rstrip()
