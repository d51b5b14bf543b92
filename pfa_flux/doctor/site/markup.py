"""The parts of a page's HTML that concern the pixel: images, scripts, `<base>`, and policies.

Addresses are resolved as in a browser: https://html.spec.whatwg.org/#document-base-url
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

from pfa_flux.doctor.site.urls import resolve

_LAZY = ("data-src", "data-lazy-src", "data-original", "data-lazy")
"""Attributes from which a script of a plugin loads an image later."""


@dataclass(frozen=True, slots=True)
class Image:
    """An `<img>`.

    Attributes:
        url: its resolved address; empty if it has none.
        src: its address as written.
        later: the resolved address for a script to load; empty if there is none.
        policy: its referrerpolicy, lower case.
        lazy: loading="lazy".
        noscript: the image is within `<noscript>`.
    """

    url: str
    src: str = ""
    later: str = ""
    policy: str = ""
    lazy: bool = False
    noscript: bool = False


@dataclass(slots=True)
class Markup:
    """Contents of a page.

    url: address of the page.
    base: base of its relative addresses.
    images: its images, in order.
    scripts: texts of its scripts and of the scripts' `onload` attributes.
    sources: resolved addresses of script files.
    policy: the referrer policy of a `<meta>`.
    csp: content security policies of `<meta>` elements.
    """

    url: str
    base: str
    images: list[Image] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    policy: str = ""
    csp: list[str] = field(default_factory=list)


def read(html: str, url: str) -> Markup:
    """Read the relevant parts of a page.

    Args:
        html: the page.
        url: its address.
    """
    reader = _Reader(url)
    reader.feed(html)
    reader.close()
    return reader.markup()


def path_of(url: str) -> str:
    """The path of an address with its escapes decoded, as servers read it."""
    return unquote(urlsplit(url).path)


class _Reader(HTMLParser):
    def __init__(self, url: str) -> None:
        super().__init__(convert_charrefs=True)
        self._url, self._base, self._policy = url, "", ""
        self._images: list[dict[str, str]] = []
        self._sources: list[str] = []
        self._scripts: list[str] = []
        self._csp: list[str] = []
        self._noscript = self._template = 0
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag in {"noscript", "template"}:
            self._noscript += tag == "noscript"
            self._template += tag == "template"
            return
        # If an attribute occurs twice, the first counts. Content of a template is not part of the document.
        given = {name: value or "" for name, value in reversed(attrs)}
        if self._template:
            return
        if tag == "base" and "href" in given and not self._base:
            self._base = given["href"]
        elif tag == "img":
            self._images.append({**given, "": "noscript" if self._noscript else ""})
        elif tag == "meta":
            self._meta(given)
        elif tag == "script" and not self._noscript:
            self._script(given)

    def _meta(self, given: dict[str, str]) -> None:
        if given.get("name", "").lower() == "referrer":
            self._policy = given.get("content", "").strip().lower()
        elif given.get("http-equiv", "").lower() == "content-security-policy":
            self._csp.append(given.get("content", ""))

    def _script(self, given: dict[str, str]) -> None:
        if "onload" in given:
            self._scripts.append(given["onload"])
        if "src" in given:
            self._sources.append(given["src"])
            return
        # Other types are data: JSON, a template, speculation rules.
        kind = given.get("type", "").lower()
        self._in_script = kind in {"", "module"} or "javascript" in kind
        if self._in_script:
            self._scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._in_script = False
        elif tag == "noscript":
            self._noscript = max(0, self._noscript - 1)
        elif tag == "template":
            self._template = max(0, self._template - 1)

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self._scripts[-1] += data

    def markup(self) -> Markup:
        base = (self._base and resolve(self._url, self._base)) or self._url
        made = Markup(self._url, base, policy=self._policy, scripts=self._scripts, csp=self._csp)
        for given in self._images:
            later = next((given[name] for name in _LAZY if given.get(name)), "")
            made.images.append(
                Image(
                    resolve(base, given["src"]) if given.get("src") else "",
                    src=given.get("src", ""),
                    later=resolve(base, later) if later else "",
                    policy=given.get("referrerpolicy", "").strip().lower(),
                    lazy=given.get("loading", "").strip().lower() == "lazy",
                    noscript=bool(given[""]),
                )
            )
        made.sources = [resolve(base, source) for source in self._sources if source]
        return made
