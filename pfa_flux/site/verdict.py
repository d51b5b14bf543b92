"""What the pixel said of a view, beside what it should be by the settings, in words."""

from __future__ import annotations

from urllib.parse import urlsplit

from pfa_flux.engines.base import Check
from pfa_flux.hits.hit import UNKNOWN, Kind, Reason, View, page_view
from pfa_flux.hits.http import Request
from pfa_flux.rules import Rules
from pfa_flux.site.asking import Seen
from pfa_flux.site.urls import host_of, origin

_RESTART = "Restart pfa-flux serve: it runs with other settings than these."
_SEND_REFERER = (
    'Put referrerpolicy="same-origin" into the tag of a path on the site itself, or '
    'referrerpolicy="no-referrer-when-downgrade" into that of another host.'
)
_ADVICE: dict[str, str] = {
    Reason.NO_REFERER: _SEND_REFERER,
    Reason.DOMAIN_NOT_ALLOWED: "Add {domain} to domains under [pixel], and restart pfa-flux serve.",
    Reason.DESTINATION: "Let the web server pass on Sec-Fetch-Dest as it was sent.",
    Reason.PREFETCH: "Let the web server pass on Sec-Purpose, Purpose, X-Purpose and X-Moz as they were sent.",
    Reason.SKIPPED_OWN: "The web server counts your address among your own, which is right if you wrote it there.",
    Reason.SKIPPED_BOT: "The web server takes this command for a bot: look at what sets X-Pfa-Skip.",
}


def expected(kind: Kind, url: str, rules: Rules) -> View | Reason:
    """What a view of a page should count as: the page view of its whole address."""
    request = Request()
    request.referer = f"{origin(url)}{urlsplit(url).path or '/'}".encode("utf-8", "surrogateescape")
    return page_view(kind, request, rules)


def domain(url: str, rules: Rules) -> Check:
    """Whether the domain of a page counts by the settings."""
    host, found = host_of(url), expected("hit", url, rules)
    if not isinstance(found, View):
        named = _ADVICE[Reason.DOMAIN_NOT_ALLOWED].format(domain=host)
        return Check("domain", "failed", f"{host} does not count by the settings ({found.value})", named)
    if not rules.settings.domains:
        advice = f'Name your domains: domains = ["{found.domain}"] under [pixel]. Anybody can have others counted.'
        return Check("domain", "warning", f"counts as {found.domain}, as any domain does", advice)
    return Check("domain", "ok", f"counts as {found.domain}")


def of(seen: Seen, kind: Kind, page: str, rules: Rules) -> Check:
    """The check of an address that was asked for, for a view of a page."""
    name, should = kind, expected(kind, page, rules)
    if seen.fault:
        return Check(name, "warning" if seen.unmarked else "failed", seen.fault, seen.advice)
    host = host_of(page)
    if seen.view is None:
        by_rules = isinstance(should, View) and seen.reason == Reason.DOMAIN_NOT_ALLOWED and seen.referer
        advice = _RESTART if by_rules else _ADVICE.get(seen.reason, "docs/deployment.md says what this word means.")
        found = f"{seen.url} answers, and would not count the view: {seen.reason}"
        if seen.reason == Reason.NO_REFERER and not seen.referer:
            found += " (by the referrer policy of page and tag, browsers send none)"
        return Check(name, "failed", found, advice.format(domain=host))
    if seen.reason:
        found = f"{counted(seen.view)}, but none for you: {seen.reason}"
        return Check(name, "warning", found, _ADVICE.get(seen.reason, "Look at what sets X-Pfa-Skip."))
    if isinstance(should, View) and seen.view[2:] != should[2:]:
        return _elsewhere(seen, seen.view, should, name)
    if seen.moved:
        words = f"{counted(seen.view)}; {seen.url} redirects to the pixel"
        return Check(name, "warning", words, "Write the address that it redirects to.")
    return Check(name, "ok", counted(seen.view))


def _elsewhere(seen: Seen, view: View, should: View, name: str) -> Check:
    """It counts, but not on the page that was viewed."""
    found = f"{counted(view)}, and not on {should.domain} {should.page}".rstrip()
    if view.domain != should.domain:
        return Check(name, "warning", found, _RESTART)
    hidden = view.page in {"/", UNKNOWN} and not seen.referer.endswith(should.page)
    if hidden:
        found += ": by the referrer policy of page and tag, browsers do not say the page"
    return Check(name, "warning", found, _SEND_REFERER if hidden else _RESTART)


def counted(view: View) -> str:
    """A page view in words."""
    return f"1 {view.kind} on {view.domain} {view.page}".rstrip()
