"""The tags of the pixel in a page, and faults in how they are written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from pfa_flux.doctor.site.markup import Image, Markup, path_of
from pfa_flux.doctor.site.policy import forbids_image
from pfa_flux.doctor.site.urls import origin, resolve
from pfa_flux.engines.base import Check
from pfa_flux.settings.pixel import PixelSettings
from pfa_flux.setup import tags

TAG, LOADS, VIEWS = "pixel's tag", "script for loads", "script for views"
_LOADED = re.compile(r"""pfaLoaded\b(.{0,300}?)\bsrc\s*[:=]\s*(["'])(.{1,2000}?)\2(.{0,100})""", re.S)
_POLICY = re.compile(r"""referrerPolicy\s*[:=]\s*["']([a-z-]+)["']""")
_SELECTOR = re.compile(r"""img\[src=\\?["']([^"'\\]+)\\?["']\]""")


@dataclass(frozen=True, slots=True)
class Requested:
    """An address that a page makes the browser request.

    Attributes:
        url: the address.
        policy: its own referrer policy; empty without one.
    """

    url: str
    policy: str


def images(markup: Markup, pixel: PixelSettings) -> tuple[list[Image], Check]:
    """The pixel's images that a browser requests, each address once, and their faults."""
    by_url = {each.url: each for each in reversed(markup.images) if path_of(each.url) == unquote(pixel.path)}
    put = f"Put this at the end of each page: {tags.image(pixel)}"
    if not by_url:
        if any(path_of(each.later) == unquote(pixel.path) for each in markup.images):
            late = "the <img> has its address in a data attribute, so browsers without JavaScript do not request it"
            return [], Check(TAG, "failed", late, f"Exclude it from lazy loading. {put}")
        return [], Check(TAG, "failed", f"no <img> in the page requests {pixel.path}", put)
    kept = list(reversed(by_url.values()))
    wrong = [fault for each in kept for fault in _failures(each, markup)]
    if wrong:
        return kept, Check(TAG, "failed", "; ".join(fault for fault, _ in wrong), " ".join(do for _, do in wrong))
    wrong = [fault for each in kept for fault in _warnings(each)]
    if len(kept) > 1:
        several = f"the page requests {len(kept)} addresses, and each counts a hit: {', '.join(by_url)}"
        wrong.append((several, "Keep only one of them."))
    if wrong:
        return kept, Check(TAG, "warning", "; ".join(fault for fault, _ in wrong), " ".join(do for _, do in wrong))
    return kept, Check(TAG, "ok", f"requests {kept[0].url}")


def _failures(image: Image, markup: Markup) -> list[tuple[str, str]]:
    faults = []
    if urlsplit(markup.url).scheme == "https" and urlsplit(image.url).scheme == "http":
        faults.append((
            f"a page on https requests {image.url}, which browsers do not load over http",
            "Write the address without a host, or with https.",
        ))  # fmt: skip
    if forbids_image(markup.csp, markup.url, image.url):
        source = "'self'" if origin(image.url) == origin(markup.url) else origin(image.url)
        faults.append((
            f"the page's Content-Security-Policy prevents browsers from requesting {image.url}",
            f"Add {source} to its img-src.",
        ))  # fmt: skip
    return faults


def _warnings(image: Image) -> list[tuple[str, str]]:
    faults = []
    if urlsplit(image.url).query or image.url.endswith("?"):
        faults.append((
            "its address has a query, which blockers recognise (EasyPrivacy lists /count.gif?)",
            "Leave out the query. The answer has no-store, so no query is needed.",
        ))  # fmt: skip
    if image.lazy:
        faults.append((
            'it has loading="lazy", which browsers apply only if JavaScript runs',
            'Write loading="eager".',
        ))  # fmt: skip
    if image.noscript:
        faults.append((
            "it is within <noscript>, so browsers with JavaScript do not request it",
            "Take it out of <noscript>.",
        ))  # fmt: skip
    return faults


def loads(markup: Markup, scripts: Sequence[str], pixel: PixelSettings) -> tuple[list[Requested], Check]:
    """Addresses that the scripts of a page request to count a load, and their faults."""
    requested = [_requested(match, markup.base) for text in scripts for match in _LOADED.finditer(text)]
    if not pixel.load_path:
        return [], _without_load_path(requested, pixel)
    own = [each for each in requested if path_of(each.url) == unquote(pixel.load_path)]
    if own:
        return own[:1], Check(LOADS, "ok", f"requests {own[0].url}")
    put = f"Put this after the pixel's tag: {tags.loads(pixel)}"
    if requested:
        other = f"requests {requested[0].url}, but load_path is {pixel.load_path}"
        return [], Check(LOADS, "failed", other, put)
    missing = f"nothing in the page requests {pixel.load_path}, so each view would count as one without JavaScript"
    return [], Check(LOADS, "failed", missing, put)


def _without_load_path(requested: Sequence[Requested], pixel: PixelSettings) -> Check:
    """The check of loads if the pixel does not count them."""
    if requested:
        url = requested[0].url
        advice = f'Set load_path = "{urlsplit(url).path}" under [pixel], or remove the script from the page.'
        return Check(LOADS, "failed", f"requests {url}, but the settings have no load_path", advice)
    if pixel.loads == "none":
        nothing = 'nothing counts loads (loads = "none" under [pixel]), so every figure is 100%'
        advice = "Run pfa-flux init --loads script, and put its script into the page."
        return Check(LOADS, "warning", nothing, advice)
    advice = "If nothing counts loads: pfa-flux init --loads script, and put its script into the page."
    return Check(LOADS, "skipped", "your own analytics counts loads, which is not checked", advice)


def _requested(match: re.Match[str], base: str) -> Requested:
    policy = _POLICY.search(match[1] + match[4])
    return Requested(resolve(base, match[3]), policy[1] if policy else "")


def views(images_: Sequence[Image], scripts: Sequence[str], pixel: PixelSettings) -> Check:
    """The check of the script for page views that an `<img>` misses."""
    text = next((each for each in scripts if "pfaViews" in each), "")
    again = "Print it again with pfa-flux nginx, and replace it."
    if not text:
        advice = "Print it with pfa-flux nginx, and put it after the other tags."
        lost = "not in the page: views of prerendered pages do not count as hits"
        if pixel.views == "navigations":
            lost = "not in the page: views in an app, and of prerendered or restored pages, do not count as hits"
        return Check(VIEWS, "warning", lost, advice)
    selected = _SELECTOR.search(text)
    if selected and images_ and selected[1] not in {each.src for each in images_}:
        return Check(VIEWS, "warning", f'looks for img[src="{selected[1]}"], which is not in the page', again)
    if ("popstate" in text) != (pixel.views == "navigations"):
        return Check(VIEWS, "warning", f'does not match views = "{pixel.views}" under [pixel]', again)
    return Check(VIEWS, "ok", "is in the page")


def has_all(scripts: Sequence[str]) -> bool:
    """The scripts include both of pfa-flux."""
    return any("pfaViews" in text for text in scripts) and any(_LOADED.search(text) for text in scripts)
