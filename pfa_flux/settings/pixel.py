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
"""Values of `loads` with which a browser requests `load_path`."""


@dataclass(frozen=True, slots=True)
class PixelSettings:
    """How the pixel counts, and what.

    Attributes:
        listen: address to listen on: HOST:PORT or unix:PATH.
        admin: HOST:PORT for /healthz and /metrics. Empty turns them off.
        path: path of the pixel.
        load_path: path of a second pixel, for JS loads. Empty turns it off.
        loads: what counts page loads: `own` (your analytics), `script` (a script in the page requests `load_path`),
            `tracker` (the tracker's onload requests `load_path`) or `none`. Empty: not set.
        views: what counts as a page view: `navigations` includes those within a document and back to it;
            `documents` does not.
        domains: domains to count; `*.example.com` means all domains below it. Empty counts all, up to `max_domains`.
        max_domains: limit for new domains each day; domains that `domains` names in full do not count towards it.
            See `pixel/pages.py`.
        max_pages: limit for new pages of a domain each day, and for the pages kept from earlier days. Further pages
            are counted as `(other)`.
        page: `path` stores the page; `off` stores no page.
        trailing_slash: `keep`, `strip` or `add` the slash at the end of a page.
        duplicate_slashes: `keep` or `merge`: `//a///b` becomes `/a/b`.
        strip_index: remove `index.html` from the end of a page.
        lower_case: store pages in lower case.
        masks: patterns for pages with a secret in the path, such as `/reset/*`. The pattern is stored as the page.
        trust_proxy: use X-Forwarded-Host and X-Forwarded-Proto, which a proxy has set, before Host.
        no_referer: `count` a hit without Referer on page `(unknown)` if its Host is a counted domain, or `reject` it.
        opt_out: signals from the visitor to respect: `gpc`, `dnt`.
        synchronous: with `normal`, an answered hit survives a crash and kill -9; with `full`, also a power loss, at a
            higher cost.
        spool_mib: maximum size in MiB of the hits that wait for InfluxDB.
        raw_retention: how many seconds the embedded store keeps raw rows, at least a day.
        max_connections: maximum number of open connections.
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
    """Another spelling of a path: the same path for servers, another address for browsers.

    Scripts fetch this spelling. A browser requests an image once for each document, but if a script fetches the same
    address, it requests the image again.
    """
    return _LAST_SIGN.sub(lambda found: f"%{ord(found[0]):02X}", path)


def parse(value: object, source: object, problems: Problems) -> PixelSettings:
    """The settings in a `[pixel]` table. A wrong value adds a problem and is replaced by its default."""
    values = {}
    for key, item in table(value, "pixel", source, KEYS, problems).items():
        with problems.of(f"pixel.{key}"):
            values[key] = _value(key, item, f"{source}: [pixel] {key}")
    pixel = PixelSettings(**values)
    if pixel.load_path == pixel.path and problems.none_of("pixel.path", "pixel.load_path"):
        with problems.of("pixel.load_path"):
            raise SettingsError(f"{source}: [pixel] path and load_path are the same", "Use two different paths.")
    if pixel.loads and problems.none_of("pixel.load_path", "pixel.loads"):
        with problems.of("pixel.loads"):
            _check_loads(pixel, f"{source}: [pixel]")
    return pixel


def _check_loads(pixel: PixelSettings, where: str) -> None:
    by_pixel = pixel.loads in BY_PIXEL
    if by_pixel and not pixel.load_path:
        raise SettingsError(
            f'{where} loads is "{pixel.loads}", but load_path is not set', 'Write load_path = "/load.gif".'
        )
    if pixel.load_path and not by_pixel:
        raise SettingsError(
            f'{where} has load_path, but loads is "{pixel.loads}": page loads would be counted twice',
            f'Remove load_path, or write loads = "{BY_PIXEL[0]}".',
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
            raise SettingsError(f"{where} has {value!r}, which is not a path", 'Write for example ["/reset/*"].')
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
    """An address to listen on.

    Raises:
        SettingsError: the text is neither HOST:PORT nor unix:/PATH.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or (match[3] and int(match[3]) > 65535):
        raise SettingsError(
            f"{where} is {text!r}, not an address to listen on",
            "Write 127.0.0.1:8480 or unix:/run/pfa-flux/pixel.sock.",
        )
    return text
