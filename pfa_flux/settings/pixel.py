"""The settings of the pixel: `[pixel]` in pfa-flux.toml."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

from pfa_flux.errors import SettingsError
from pfa_flux.names import pattern
from pfa_flux.settings.checks import boolean, canonical, choice, duration, positive_int, strings, table
from pfa_flux.settings.problems import Problems

MIB = 1024 * 1024
_DAY = 86400
_ADDRESS = re.compile(r"unix:(/.+)|(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(\d{1,5})")
_ANY = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
_LAST_SIGN = re.compile(r"[A-Za-z0-9](?=[^A-Za-z0-9]*\Z)")
_PATH = re.compile(r"/[!\"$->@-~]*")
CHOICES = {
    "page": ("path", "off"),
    "trailing_slash": ("keep", "strip", "add"),
    "duplicate_slashes": ("keep", "merge"),
    "no_referer": ("count", "reject"),
    "loads": ("own", "script", "tracker", "none"),
    "views": ("navigations", "documents"),
    "synchronous": ("normal", "full"),
}
OPT_OUTS = ("gpc", "dnt")
BY_PIXEL = ("script", "tracker")
"""Of `loads`, those that ask the pixel for `load_path`."""


@dataclass(frozen=True, slots=True)
class PixelSettings:
    """What the pixel counts, and how.

    Attributes:
        listen: where it listens: HOST:PORT, or unix:PATH.
        admin: where /healthz and /metrics are, HOST:PORT; empty for nowhere.
        path: the pixel's path.
        load_path: path of its twin that a script asks for, so that JS loads are counted; empty: there is none.
        loads: who counts page loads: own (your analytics), script (the page's, by `load_path`), tracker (its onload, by
            `load_path`) or none; empty: it was not said.
        views: what is a view: navigations, also those within a document and back to one; or documents alone.
        domains: domains that are counted, `*.example.com` for all below one; empty: all, up to `max_domains`.
        max_domains: new domains in a day, beside those that `domains` names one by one, as `pixel/pages.py` says.
        max_pages: new pages of a domain in a day, and room for those of earlier days; further ones are `(other)`.
        page: path, or off: no page is kept.
        trailing_slash: keep, strip or add it at the end of a page.
        duplicate_slashes: keep, or merge: `//a///b` is `/a/b`.
        strip_index: a page that ends with `index.html` is that without it.
        lower_case: pages in lower case.
        masks: patterns of pages that are kept as the pattern, because the path holds a secret: `/reset/*`.
        trust_proxy: X-Forwarded-Host and X-Forwarded-Proto are a proxy's word, and taken before Host.
        no_referer: count a hit without Referer on page `(unknown)`, where its Host is a domain that counts; or reject.
        opt_out: wishes of the visitor that are honoured: gpc, dnt.
        synchronous: normal: an answered hit survives a crash and kill -9; full: a power loss, too, and costs more.
        spool_mib: most that hits waiting for InfluxDB may take, MiB.
        raw_retention: seconds that the embedded store keeps raw rows, at least a day.
        max_connections: connections at a time.
    """

    listen: str = "127.0.0.1:8480"
    admin: str = "127.0.0.1:8481"
    path: str = "/count.gif"
    load_path: str = ""
    loads: str = ""
    views: str = "navigations"
    domains: tuple[str, ...] = ()
    max_domains: int = 100
    max_pages: int = 5000
    page: str = "path"
    trailing_slash: str = "keep"
    duplicate_slashes: str = "keep"
    strip_index: bool = False
    lower_case: bool = False
    masks: tuple[str, ...] = ()
    trust_proxy: bool = False
    no_referer: str = "count"
    opt_out: tuple[str, ...] = ()
    synchronous: str = "normal"
    spool_mib: int = 1024
    raw_retention: int = 30 * _DAY
    max_connections: int = 10_000


KEYS = tuple(each.name for each in fields(PixelSettings))


def respelled(path: str) -> str:
    """Another spelling of a path: to servers the same, to browsers an address of its own.

    Browsers ask for an image's address once a document, and ask for the image again once a script has fetched it.
    """
    return _LAST_SIGN.sub(lambda found: f"%{ord(found[0]):02X}", path)


def parse(value: object, source: object, problems: Problems) -> PixelSettings:
    """The settings of a `[pixel]` table; what is wrong in it goes into `problems`, and has its default."""
    values = {}
    for key, item in table(value, "pixel", source, KEYS, problems).items():
        with problems.of(f"pixel.{key}"):
            values[key] = _value(key, item, f"{source}: [pixel] {key}")
    pixel = PixelSettings(**values)
    if pixel.load_path == pixel.path and problems.none_of("pixel.path", "pixel.load_path"):
        with problems.of("pixel.load_path"):
            raise SettingsError(f"{source}: [pixel] path and load_path are the same", "Give each a path of its own.")
    if pixel.loads and problems.none_of("pixel.load_path", "pixel.loads"):
        with problems.of("pixel.loads"):
            _check_loads(pixel, f"{source}: [pixel]")
    return pixel


def _check_loads(pixel: PixelSettings, where: str) -> None:
    by_pixel = pixel.loads in BY_PIXEL
    if by_pixel and not pixel.load_path:
        raise SettingsError(f'{where} loads is "{pixel.loads}", without load_path', 'Write load_path = "/load.gif".')
    if pixel.load_path and not by_pixel:
        raise SettingsError(
            f'{where} has load_path, while loads is "{pixel.loads}": page loads would be counted twice',
            f'Take load_path out, or write loads = "{BY_PIXEL[0]}".',
        )


def _value(key: str, value: object, where: str) -> Any:
    if key == "loads" and value == "":
        return ""
    if key in CHOICES:
        return choice(value, where, CHOICES[key])
    if key in {"strip_index", "lower_case", "trust_proxy"}:
        return boolean(value, where)
    if key in {"max_domains", "max_pages", "spool_mib", "max_connections"}:
        return positive_int(value, where)
    if key == "raw_retention":
        return _retention(value, where)
    if key in {"domains", "masks", "opt_out"}:
        return _listed(key, strings(value, where), where)
    if not isinstance(value, str):
        raise SettingsError(f"{where} is {value!r}, not a string", f'Write {key} = "…".')
    text = value
    if key in {"listen", "admin"}:
        return address(text, where) if text or key == "listen" else ""
    if (text or key == "path") and not _PATH.fullmatch(text):
        raise SettingsError(f"{where} is {value!r}, not a path", 'Write for example "/count.gif".')
    return text


def _listed(key: str, values: tuple[str, ...], where: str) -> tuple[str, ...]:
    for value in values:
        if key == "opt_out":
            choice(value, where, OPT_OUTS)
        elif key == "masks" and not (value.startswith("/") and value.isprintable() and not value.endswith("\\")):
            raise SettingsError(f"{where} has {value!r}, which is no path", 'Write for example ["/reset/*"].')
    return canonical(values, where, pattern) if key == "domains" else values


def _retention(value: object, where: str) -> int:
    seconds = duration(value, where)
    if seconds < _DAY:
        raise SettingsError(f"{where} is less than a day", 'Write for example "30d".')
    return seconds


def reached_at(listen: str) -> str:
    """Where this machine reaches what listens at an address: one of all interfaces is reached on loopback."""
    host, colon, port = listen.rpartition(":")
    return f"{_ANY.get(host, host)}{colon}{port}"


def address(text: str, where: str) -> str:
    """An address to listen on, checked.

    Raises:
        SettingsError: it is neither HOST:PORT nor unix:/PATH.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None or (found[3] and int(found[3]) > 65535):
        raise SettingsError(
            f"{where} is {text!r}, not an address to listen on",
            "Write 127.0.0.1:8480 or unix:/run/pfa-flux/pixel.sock.",
        )
    return text
