"""Which Referer a browser sends with a request, and whether a page allows the request.

https://www.w3.org/TR/referrer-policy/#determine-requests-referrer
"""

from __future__ import annotations

from urllib.parse import urlsplit

from pfa_flux.doctor.site.urls import origin

DEFAULT = "strict-origin-when-cross-origin"
POLICIES = (
    "no-referrer", "no-referrer-when-downgrade", "origin", "origin-when-cross-origin", "same-origin", "strict-origin",
    DEFAULT, "unsafe-url",
)  # fmt: skip
_PORTS = {"http": 80, "https": 443}


def of_page(header: str, meta: str) -> str:
    """The policy of a page. Its `<meta>` overrides its header. In a list, the last known policy counts."""
    for text in (meta, header):
        known = [word for part in text.split(",") if (word := part.strip().lower()) in POLICIES]
        if known:
            return known[-1]
    return DEFAULT


def referer(page: str, target: str, policy: str) -> str:
    """The Referer from a browser that follows every policy; empty if it sends none."""
    parts = urlsplit(page)
    full = f"{origin(page)}{parts.path or '/'}" + (f"?{parts.query}" if parts.query else "")
    short = f"{origin(page)}/"
    same = origin(page) == origin(target)
    downgrade = parts.scheme == "https" and urlsplit(target).scheme != "https"
    return {
        "no-referrer": "",
        "no-referrer-when-downgrade": "" if downgrade else full,
        "origin": short,
        "origin-when-cross-origin": full if same else short,
        "same-origin": full if same else "",
        "strict-origin": "" if downgrade else short,
        "strict-origin-when-cross-origin": full if same else "" if downgrade else short,
        "unsafe-url": full,
    }[policy]


def forbids_image(csp: list[str], page: str, target: str) -> bool:
    """A Content-Security-Policy of the page prevents the browser from requesting an image."""
    return any(not _allows(policy, page, target) for text in csp for policy in text.split(","))


def _allows(policy: str, page: str, target: str) -> bool:
    directives: dict[str, list[str]] = {}
    for text in policy.split(";"):
        name, *values = text.split() or [""]
        directives.setdefault(name.lower(), values)
    sources = directives.get("img-src", directives.get("default-src"))
    return sources is None or any(_matches(source.lower(), page, target) for source in sources)


def _matches(source: str, page: str, target: str) -> bool:
    wanted = urlsplit(target)
    if source == "'self'":
        return origin(page) == origin(target)
    if source == "*":
        return True
    if source.endswith(":") and "/" not in source:
        return source[:-1] in {wanted.scheme, "http" if wanted.scheme == "https" else ""}
    scheme, _, rest = source.rpartition("://")
    host, _, path = rest.partition("/")
    name, _, port = host.partition(":")
    if scheme and wanted.scheme not in {scheme, "https" if scheme == "http" else scheme}:
        return False
    if port not in {"", "*"} and port != str(wanted.port or _PORTS.get(wanted.scheme)):
        return False
    own = wanted.hostname or ""
    named = own.endswith(name[1:]) if name.startswith("*.") else own == name
    return named and (
        not path or wanted.path == f"/{path}" or (path.endswith("/") and wanted.path.startswith(f"/{path}"))
    )
