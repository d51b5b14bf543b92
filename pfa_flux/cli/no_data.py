"""Help if a command finds no data: the question, the store, its content, and the next command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from pfa_flux.cli.options import flag
from pfa_flux.errors import PfaFluxError
from pfa_flux.present.dates import span
from pfa_flux.ratio import phrasing
from pfa_flux.times import to_datetime

if TYPE_CHECKING:
    from pfa_flux.analytics import Analytics
    from pfa_flux.present.results import BlockedRatio
    from pfa_flux.ratio.holdings import Holdings
    from pfa_flux.ratio.question import Options
    from pfa_flux.settings import Settings

_MOST = 10
"""Maximum number of domains to list."""
_FILTERS = ("domains", "sites", "networks", "pages")
_RANGE = ("start", "stop")


def no_data(analytics: Analytics, answer: BlockedRatio, command: str, options: Options) -> list[str]:
    """Lines about an answer without data.

    Args:
        analytics: source of the answer.
        answer: the answer.
        command: the command, without options.
        options: the question, as given.
    """
    settings = analytics.settings
    file = f"settings: {answer.config}" if answer.config else "no settings file"
    what = f"no data for {answer.subject}, {span(answer.start, answer.stop, answer.tz)}"
    try:
        there = analytics.holdings(**{name: getattr(options, name) for name in _FILTERS})
    except PfaFluxError as error:
        # The answer and its exit code stay the same.
        return [f"{what}, in {answer.store.address} ({file})", f"the store's content cannot be read: {error.message}"]
    return [
        f"{what}, in {_place(there, settings)} ({file})",
        f"found: {_content(there, answer.tz)}",
        *(
            f"{phrasing.plain(asked)} has no data; did you mean {flag(name, near)}?"
            for name, asked, near in _likeliest(there)
        ),
        f"try: {_next(answer, there, command, {name: getattr(options, name) for name in (*_FILTERS, *_RANGE)})}",
    ]


def _likeliest(there: Holdings) -> list[tuple[str, str, str]]:
    """The best suggestion for each missing name."""
    return list({(name, asked): (name, asked, near) for name, asked, near in reversed(there.meant)}.values())[::-1]


def _place(there: Holdings, settings: Settings) -> str:
    if not settings.url:
        return f"{there.store.address}{'' if there.exists else ', which does not exist'}"
    buckets = settings.raw_buckets
    return (
        f"{there.store.title} at {there.store.address}, bucket{'s' if len(buckets) > 1 else ''} {' and '.join(buckets)}"
    )


def _content(there: Holdings, tz: str) -> str:
    if not there.hits and not there.loads:
        return "no data" if there.exists else "no store"
    domains = phrasing.listed([phrasing.name("domain", domain) for domain in there.domains], most=_MOST)
    sides = (("hit", there.hits), ("JS load", there.loads))
    ranges = [f"first {name} {_moment(ends[0], tz)}, last {_moment(ends[1], tz)}" for name, ends in sides if ends]
    return f"{'; '.join(filter(None, (domains, *ranges)))} ({tz})"


def _moment(time: int, tz: str) -> str:
    return f"{to_datetime(time).astimezone(ZoneInfo(tz)):%Y-%m-%d %H:%M}"


def _next(answer: BlockedRatio, there: Holdings, command: str, typed: Mapping[str, Any]) -> str:
    """The exact next command."""
    if not there.exists:
        return "--config, --url or --data-dir, to name the right store; pfa-flux serve creates one"
    if not there.hits and not there.loads:
        return "pfa-flux doctor"
    meant: dict[str, list[str]] = {}
    for name, _, near in _likeliest(there):
        meant.setdefault(name, []).append(near)
    if meant:
        given = {**typed, **meant}
        return _command(command, {**given, "sites": ()} if "domains" in meant else given)
    if there.asked:
        return _command(command, {**typed, "start": _day(there.asked[0], answer.tz), "stop": None})
    first, _ = there.hits or there.loads or (0, 0)
    return _command(command, {"start": _day(first, answer.tz)})


def _command(command: str, typed: Mapping[str, Any]) -> str:
    """A command line from arguments of the library."""
    flags = [
        flag(name, value)
        for name, given in typed.items()
        for value in ([given] if isinstance(given, str) else given or ())
    ]
    return " ".join((command, *flags))


def _day(time: int, tz: str) -> str:
    return str(to_datetime(time).astimezone(ZoneInfo(tz)).date())
