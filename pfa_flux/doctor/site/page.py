"""`pfa-flux doctor URL`: checks of a page, its site's other names, and what a view counts as."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

from pfa_flux.doctor.serving import counts
from pfa_flux.doctor.site.fetch import Browser, NoAnswerError
from pfa_flux.doctor.site.urls import as_sent, host_of, origin
from pfa_flux.doctor.site.visit import Visit, visit
from pfa_flux.engines.base import Check
from pfa_flux.errors import InvalidValueError
from pfa_flux.foreign import printable
from pfa_flux.names import domain_and_port
from pfa_flux.pixel.hit import View
from pfa_flux.schema import network_of
from pfa_flux.settings import Settings
from pfa_flux.settings.rules import DEFAULT_PORTS

_CHECKS = 'rejected_total{reason="check"}'


def address(text: str) -> str:
    """The address of a page as people type it, such as `example.com`.

    Raises:
        InvalidValueError: it is not an address.
    """
    url = as_sent(text if "://" in text else f"https://{text}") if text.isprintable() else ""
    if not url:
        raise InvalidValueError(
            f"{printable(text)!r} is not the address of a page", "Use an address such as https://example.com/."
        )
    return url


def check_page(url: str, settings: Settings, *, proxy: str = "") -> list[Check]:
    """Visit a page and the other names of its site like a browser, without counting.

    Args:
        url: address of the page.
        settings: the settings of the pixel.
        proxy: HTTP proxy for names of .onion and .i2p; empty for none.

    Raises:
        InvalidValueError: it is not an address.
    """
    wanted, before = address(url), counts(settings.pixel)
    with Browser(proxy) as browser:
        try:
            made = visit(browser, wanted, settings.pixel)
        except NoAnswerError as error:
            return [Check("page", "failed", error.message, error.hint or "Choose a page that anybody can read.")]
        checks = list(made.checks)
        if made.answered:
            checks.append(_arrived(settings, before))
        if made.is_page:
            checks += [_other(browser, settings, made.url, name) for name in _names(settings, made.url)]
            checks.append(_sum(made, settings))
    return checks


def _arrived(settings: Settings, before: dict[str, float] | None) -> Check:
    """Whether the pixel of these settings answered, according to its metrics."""
    after = counts(settings.pixel)
    if before is None or after is None:
        admin = settings.pixel.admin or "nowhere: [pixel] admin is empty"
        advice = "Run this command on the machine of pfa-flux serve, with its settings."
        return Check("arrived", "skipped", f"not checked: no /metrics at {admin}", advice)
    seen = int(after.get(_CHECKS, 0) - before.get(_CHECKS, 0))
    number = f"{seen} request{'s' * (seen != 1)}"
    if seen <= 0:
        advice = "Check that the web server passes requests to the pixel of these settings, not to another one."
        return Check("arrived", "warning", "the pixel of these settings did not receive this visit", advice)
    return Check("arrived", "ok", f"the pixel of these settings received {number} of this visit, and counted none")


def _names(settings: Settings, url: str) -> Iterator[str]:
    """Other hosts of the page: with or without www, and those of its site in the settings."""
    host, port = urlsplit(url).hostname or "", urlsplit(url).port
    own = domain_and_port(host_of(url), DEFAULT_PORTS[urlsplit(url).scheme]) or host
    twin = host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"
    names = [] if _is_address(host) or network_of(host) != "clearnet" else [f"{twin}:{port}" if port else twin]
    for domains in settings.sites.values():
        if own in domains or host in domains:
            names += [name for name in domains if not name.startswith("*") and name not in {own, host, *names}]
    yield from names


def _is_address(host: str) -> bool:
    return ":" in host or host.rpartition(".")[2].isdigit() or "." not in host


def _other(browser: Browser, settings: Settings, page: str, name: str) -> Check:
    """Whether a page view under another name of the site counts."""
    parts = urlsplit(page)
    network = network_of(name)
    scheme = parts.scheme if network == "clearnet" else "http"
    url = urlunsplit((scheme, name, parts.path, parts.query, ""))
    try:
        made = visit(browser, url, settings.pixel)
    except NoAnswerError as error:
        return Check(name, "skipped", f"not checked: {error.message}", error.hint or "Open it in a browser.")
    if origin(made.url) == origin(page):
        return Check(name, "ok", f"redirects to {made.url}")
    if not made.is_page:
        return Check(name, "skipped", f"not checked: {made.checks[0].found}", "Open it in a browser.")
    wrong = next((check for check in made.checks if check.status == "failed"), None)
    if wrong is not None:
        redirect = f", or redirect {name} to {host_of(page)}" if network == "clearnet" else ""
        return Check(name, "failed", f"{wrong.name}: {wrong.found}", f"{wrong.advice.rstrip('.')}{redirect}.")
    counts_as, views = _counts_as(made), [*made.always, *made.scripted]
    odd = next((check for check in made.checks if check.status == "warning"), None)
    if not views and odd is not None:
        return Check(name, "warning", odd.found, odd.advice)
    if views and not _in_one_site(settings, host_of(page), views[0].domain):
        advice = f'Redirect one to the other, or put both into one site: domains = ["{host_of(page)}", "{name}"].'
        return Check(name, "warning", f"serves the page itself, under another domain: {counts_as}", advice)
    return Check(name, "ok", counts_as)


def _in_one_site(settings: Settings, one: str, other: str) -> bool:
    return one == other or any(one in domains and other in domains for domains in settings.sites.values())


def _counts_as(made: Visit) -> str:
    return f"a view counts as {_some([*made.always, *made.scripted])}"


def _sum(made: Visit, settings: Settings) -> Check:
    """What a view of the page counts as."""
    plain = [*made.always, *made.without]
    scripted = [*made.always, *made.scripted]
    if made.unmarked:
        found = f"What a view of {made.url} counts as could not be determined."
        return Check("a view", "skipped", found, "Fix the problems above.")
    if not plain and not scripted:
        found = f"As far as determined, a view of {made.url} counts as nothing."
        return Check("a view", "warning", found, "Fix the problems above.")
    without = _some(plain)
    if not settings.pixel.load_path:
        own = "; your own analytics counts loads"
        if made.without:
            return Check("a view", "ok", f"A view of {made.url} without JavaScript counts as {without}{own}.")
        return Check("a view", "ok", f"A view of {made.url} counts as {without}, with or without JavaScript{own}.")
    found = f"A view of {made.url} with JavaScript counts as {_some(scripted)}; without, {_bare(plain)}."
    return Check("a view", "ok", found)


def _bare(views: list[View]) -> str:
    """Only the number of hits, because the text has named the page."""
    return f"{len(views)} hit{'s' * (len(views) != 1)}" if views else "nothing"


def _some(views: list[View]) -> str:
    """Page views as text, such as "1 hit and 1 load on example.com /a"."""
    if not views:
        return "nothing"
    places: dict[str, list[str]] = {}
    for where in dict.fromkeys(f"{view.domain} {view.page}".rstrip() for view in views):
        own = [view.kind for view in views if f"{view.domain} {view.page}".rstrip() == where]
        places[where] = [f"{own.count(kind)} {kind}{'s' * (own.count(kind) != 1)}" for kind in dict.fromkeys(own)]
    return ", ".join(f"{' and '.join(some)} on {where}" for where, some in places.items())
