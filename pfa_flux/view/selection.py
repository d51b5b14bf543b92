"""The selection on the live page: checks the parameters of its address, and writes them into links."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo

from pfa_flux.errors import InvalidValueError
from pfa_flux.ratio.grid import EVERY
from pfa_flux.ratio.question import Options
from pfa_flux.schema import KEYS
from pfa_flux.settings import Settings
from pfa_flux.settings.rules import Rules
from pfa_flux.times import NS, from_datetime, parse_duration, to_datetime

DEFAULT_RANGE = "7d"
RANGES = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "90d": "90 days", "365d": "1 year"}
INTERVALS = {"": "automatic", "15m": "15 minutes", "1h": "hours", "1d": "days", "1w": "weeks"}
NAMES = {
    "of": "Whose page views",
    "page": "Page",
    "range": "Range",
    "from": "From",
    "to": "To",
    "by": "View",
    "every": "Interval",
    "compare": "Compare",
    "": "Address",
}
"""Names of parameters on the page. The last stands for the whole address."""

_LONGEST = 10 * 366 * 86400
_MOST_INTERVALS = 1000
_MOST_PARAMETERS = 20
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_FIRST_YEAR = 2000

Problems = dict[str, str]
"""Problems by parameter."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Parameters as given, so that the form can show them again.

    Attributes:
        of: a site from the settings, or a domain; empty for all domains.
        page: a page; empty for all.
        range: a duration back from now, if no days are given.
        first: first day; empty if there is a range.
        last: last day, empty for today.
        by: the key of the page; empty for an overview.
        every: interval of time; empty for one that fits the range.
        compare: "1" compares with the previous period.
    """

    of: str = ""
    page: str = ""
    range: str = DEFAULT_RANGE
    first: str = ""
    last: str = ""
    by: str = ""
    every: str = ""
    compare: str = ""

    def query(self, **changes: str) -> str:
        """The parameters as a relative address, with some changed. Relative, because the page can have any path."""
        given = asdict(replace(self, **changes))
        given = {_PARAMETERS[name] or name: value for name, value in given.items() if value}
        if "from" in given or given.get("range") == DEFAULT_RANGE:
            given.pop("range", None)
        return f"?{urlencode(given, errors='replace')}"


_PARAMETERS = {"first": "from", "last": "to"} | dict.fromkeys(("of", "page", "range", "by", "every", "compare"), "")
_FIELDS = {parameter or name: name for name, parameter in _PARAMETERS.items()}


def parse(query: str) -> tuple[Selection, Problems]:
    """The selection of an address, and problems that its text shows."""
    problems: Problems = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS, errors="strict")
    except ValueError:
        return Selection(), {"": "It cannot be read. Choose again."}
    given: dict[str, str] = {}
    for name, value in pairs:
        field = _FIELDS.get(name)
        if field is None:
            problems[""] = "It has an unknown parameter. Choose again."
        elif field in given:
            problems[name] = "It occurs twice."
        elif value.strip():
            given[field] = value.strip()
    return Selection(**given), problems


def check(selection: Selection, settings: Settings, zone: ZoneInfo, now: int) -> tuple[Options, Problems]:
    """The options of a selection, and its problems. If there are problems, ignore the options.

    Args:
        selection: the selection.
        settings: the sites and rules for names.
        zone: time zone of the days.
        now: the current time, nanoseconds.
    """
    problems: Problems = {}
    start, stop = _span(selection, zone, now, problems)
    for name, value, allowed in (
        ("by", selection.by, ("", *KEYS)),
        ("every", selection.every, INTERVALS),
        ("compare", selection.compare, ("", "1")),
    ):
        if value not in allowed:
            problems[name] = f"{value[:40]!r} is not available. Choose one of the values shown."
    if selection.every in EVERY and (stop - start) // NS // EVERY[selection.every] > _MOST_INTERVALS:
        problems["every"] = (
            f"That makes more than {_MOST_INTERVALS:,} intervals. Choose longer ones or a shorter range."
        )
    whose: Mapping[str, Any] = {"sites": (selection.of,)} if selection.of in settings.sites else {}
    if selection.of and not whose:
        whose = {"domains": (selection.of,)}
    options = Options(**whose, pages=(selection.page,) if selection.page else (), start=start, stop=stop, tz=zone.key)
    try:
        rules = Rules(settings.pixel)
        for domain in options.domains:
            rules.wanted(domain)
    except InvalidValueError as error:
        problems["of"] = f"{error.message}."
    return options, problems


def _span(selection: Selection, zone: ZoneInfo, now: int, problems: Problems) -> tuple[int, int]:
    """Start and stop in nanoseconds."""
    if not selection.first:
        if selection.last:
            problems["from"] = "Enter the first day, too."
        try:
            seconds = parse_duration(selection.range)
        except InvalidValueError:
            seconds = 0
        if not 0 < seconds <= _LONGEST:
            problems["range"] = "Choose one of the ranges shown, or enter a duration of at most ten years, such as 14d."
        return now - max(1, min(seconds, _LONGEST)) * NS, now
    today = to_datetime(now).astimezone(zone).date()
    first, last = _day(selection.first, "from", problems), _day(selection.last, "to", problems) or today
    if first is None or "to" in problems:
        return now - NS, now
    if first > today:
        problems["from"] = "It is in the future."
    elif last < first:
        problems["to"] = "It is before the first day."
    elif (last - first).days * 86400 > _LONGEST:
        problems["from"] = "The range is longer than ten years."
    start = _midnight(first, zone)
    return start, max(start + NS, min(now, _midnight(last + timedelta(days=1), zone)))


def _day(text: str, name: str, problems: Problems) -> date | None:
    if not text:
        return None
    try:
        parsed = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        parsed = None
    if parsed is None or not _FIRST_YEAR <= parsed.year < _FIRST_YEAR + 200:
        problems[name] = "It is not a day. Enter for example 2026-01-31."
        return None
    return parsed


def _midnight(day: date, zone: ZoneInfo) -> int:
    return from_datetime(datetime.combine(day, time(), zone))
