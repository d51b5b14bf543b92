"""Filters for text from servers: they shorten it, make it printable, and remove what visitors sent.

Errors, log, /healthz, metrics and terminal show only filtered text. `QueryError.said` has the server's complete
message, for the quarantine and for programs.
"""

from __future__ import annotations

import json
import re
import traceback
import unicodedata
from collections.abc import Collection
from pathlib import Path
from typing import Any

MOST = 300
"""How many characters of a server's message to show."""
MOST_KEPT = 4_000
"""How many characters of a server's message to read, and to keep in quarantine."""
GAP = "…"
"""Replaces what was removed."""

_TAG = re.compile(
    r"""\b(?P<key>page|domain|value|sess|action|scheme|referer|referrer|path|host)(?P<eq>\\?["']?\s*[=:]\s*)"""
    r"""(?:\\?"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?|(?:\\.|[^\s,"'{}\[\]()\\])+)""",
    re.I,
)
"""A tag in a point that a server quotes: tag="page" value="/a", page=/a, "page":"/a"."""
_PATH = re.compile(r"""(?<![\w./:*-])/(?=[^\s/])(?:\\.|[^\s"',;(){}\[\]\\])*""")
_SPLIT = re.compile(r'("(?:[^"\\]|\\.)*"|\s+)')
_EDGE = "\"'`()[]{}<>.,:;!?"
_COUNTS = re.compile(r"dropped=\d{1,9}|\(\d{1,9}/\d{1,9}\)[:,.]?")
_VOCABULARY = frozenset(
    # Words in answers of InfluxDB 1.x and 2.x, Telegraf and similar servers to writes, from their sources and answers.
    """
    a about above accepted access after allowed already an and any are as at authenticate authorization authorized
    bad be because been before below beyond body boolean bucket buckets busy bytes cache cannot capacity cardinality
    character check client closed code compaction concurrent conflict connection content could credentials data
    database database/retention db dbrp decode default denied deny device did disabled disk does drop dropped due
    duplicate duration empty encoding engine entity error exceed exceeded exceeds execute exist exists expected failed
    failure field fields find float for forbidden found from full gateway got group gzip has have header hinted
    handoff i/o identifier if in influxdb input insufficient integer internal invalid io is key keys large left length
    limit limits line lines lock long lower malformed many mapping match max max-concurrent-write-limit
    max-series-per-database max-values-per-tag maximum measurement measurements memory message method min missing more
    must name no not number of off on one only open or org organization out outside oversized parse parser parsing
    partial per permission permissions point points policies policy precision protocol quota range rate read
    read-only readable received refused rejected request required resource retention retry row rows running schema
    separator series server service shard shutting size small snapshot some space state storage store string support
    supported syntax table tag tags temporarily than that the this time timed timeout timestamp timestamps to token
    token. too type types unable unauthorized unavailable unexpected unknown unprocessable unsigned unsupported upper
    user username value values violates wal was were when while with within without write writes writing wrong you
    authorised unauthorised authentication
    """.split()  # noqa: SIM905 - nobody would read it as a list
)
_TURNED = frozenset(
    [0x61C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF, 0xFFF9]
)
"""Characters that change how the text around them looks: direction marks, line ends, byte order marks."""
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
"""Characters that start a formula in a spreadsheet's cell (OWASP, "CSV injection")."""


def printable(text: str) -> str:
    """Text on one line, with control characters escaped."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def said(words: str, most: int = MOST) -> str:
    """A server's message about a query: printable, without values of tags or paths, up to `most` characters."""
    start = " ".join(words[:MOST_KEPT].split())
    without = _PATH.sub(GAP, _TAG.sub(rf"\g<key>\g<eq>{GAP}", start))
    return _cut(printable(without), most)


def said_of_points(words: str, names: Collection[str] = ()) -> str:
    """A server's message about points. It keeps only words that servers use: any other word may be from a visitor.

    Args:
        words: the server's message.
        names: quoted names to keep, of measurements, fields and buckets.
    """
    out: list[str] = []
    for part in _SPLIT.split(words[:MOST_KEPT]):
        if not part or part.isspace():
            continue
        known = _known(part, names)
        if known or out[-1:] != [GAP]:
            out.append(known or GAP)
    return _cut(printable(" ".join(out)), MOST)


def _known(part: str, names: Collection[str]) -> str:
    """A part of a server's message, or an empty string if it may be from a visitor."""
    if len(part) > 1 and part[0] == part[-1] == '"':
        return part if part[1:-1] in names else ""
    bare = part.strip(_EDGE)
    if bare.lower() in _VOCABULARY or bare in names or _COUNTS.fullmatch(part):
        return part
    return ""


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}{GAP}"


def kept(words: str) -> str:
    """A server's message for the quarantine: unfiltered, up to `MOST_KEPT` characters, valid as UTF-8."""
    return words[:MOST_KEPT].encode("utf-8", "replace").decode()


def place(error: BaseException | None) -> str:
    """Kind and place of an internal error, without its message: that could quote what a client sent."""
    if error is None:
        return "unknown at ?"
    places = traceback.extract_tb(error.__traceback__)[-3:]
    where = " < ".join(f"{Path(each.filename).name}:{each.lineno}" for each in reversed(places))
    return f"{type(error).__name__} at {where or '?'}"


def cell(value: object) -> object:
    """A value for a CSV cell. Text is escaped so that neither spreadsheet nor terminal executes it. Numbers stay."""
    if not isinstance(value, str):
        return value
    bare = value.lstrip()
    marked = f"'{value}" if value.startswith(_FORMULA) or bare.startswith(_FORMULA) else value
    return "".join(f"\\x{ord(c):02x}" if _acts(c) else c for c in marked)


def _acts(character: str) -> bool:
    return ord(character) in _TURNED or unicodedata.category(character) in {"Cc", "Cs"}


def json_text(value: Any) -> str:
    """JSON of a value, with escapes for characters that act on a terminal."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return "".join(json.dumps(c)[1:-1] if c != "\n" and _acts(c) else c for c in text)
