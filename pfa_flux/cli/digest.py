"""`pfa-flux digest`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from pfa_flux.cli.options import Domain, Site, Start, Stop, Tz, with_settings
from pfa_flux.ratio import phrasing
from pfa_flux.settings import Settings

if TYPE_CHECKING:
    from pfa_flux.engines.base import Check
    from pfa_flux.present.results import BlockedRatio
    from pfa_flux.ratio.rows import RatioRow


@with_settings
def digest(
    *,
    domain: Domain = None,
    site: Site = None,
    start: Start = "7d",
    stop: Stop = None,
    tz: Tz = None,
    settings: Settings,
    quiet: bool,
) -> None:
    """Sum up a week as plain text, for cron and mail: the share, its clear changes, and what needs attention.

    The previous period is as long as the range. Exit code 1 if a check of `doctor` fails.
    """
    from pfa_flux import connect
    from pfa_flux.cli import render
    from pfa_flux.cli.exits import FAILED, NO_DATA, exit_code
    from pfa_flux.doctor.checks import examine
    from pfa_flux.ratio.question import Options

    keys = ((), ("network",), ("domain",))
    with render.working("reading hits and page loads", quiet), connect(settings) as analytics:
        asked = [Options(domain or (), site or (), by=by, start=start, stop=stop, tz=tz) for by in keys]
        whole, networks, domains = analytics.answers(asked, compare=len(asked))
    checks, unreachable = examine(settings, time.time_ns())
    for line in lines(whole, (networks, domains), checks):
        typer.echo(render.plain(line))
    if unreachable is not None:
        raise typer.Exit(exit_code(unreachable))
    if any(check.status == "failed" for check in checks):
        raise typer.Exit(FAILED)
    if not whole.has_data:
        raise typer.Exit(NO_DATA)


def lines(whole: BlockedRatio, parts: Sequence[BlockedRatio], checks: Sequence[Check]) -> Iterator[str]:
    """The digest's lines.

    Args:
        whole: the answer of one row, with the previous period.
        parts: answers by one key each, with the previous period.
        checks: results of `doctor`.
    """
    yield whole.sentence
    yield ""
    yield _of_the_whole(whole.total)
    rows = [(next(iter(row.key.items())), row) for answer in parts if len(answer) > 1 for row in answer]
    comparable = [(key, row) for key, row in rows if row.change is not None]
    changed = [(key, row) for key, row in comparable if _is_clear(row)]
    for (name, value), row in sorted(changed, key=lambda each: -each[1].hits):
        yield f"{phrasing.name(name, value)}: {_change(row)}."
    if comparable:
        number = f"{len(changed) or 'None'} of {len(comparable)} networks and domains"
        verb = "has" if len(changed) < 2 else "have"
        yield f"{number} {verb} changed by more than chance."
    if comparable and len(comparable) < len(rows):
        yield f"Not compared: {len(rows) - len(comparable)} without a share in one of the two periods."
    yield ""
    yield from (f"warning: {each.message}" for each in whole.warnings)
    wrong = [check for check in checks if check.status != "ok"]
    for check in wrong:
        yield f"{check.status}: {check.name}: {check.found}. {check.advice}".rstrip()
    if not wrong:
        yield f"All {len(checks)} checks of pfa-flux doctor are ok."


def _of_the_whole(row: RatioRow) -> str:
    if row.change is None:
        if row.before is not None and row.before.ratio is not None:
            return "This period has no share to compare with the previous one."
        return "There is no previous period to compare with."
    if not _is_clear(row):
        return f"The change since the previous period may be chance: {_change(row)}."
    return f"The change since the previous period is more than chance: {_change(row)}."


def _is_clear(row: RatioRow) -> bool:
    """The share has changed by more than chance."""
    return row.change is not None and not phrasing.may_be_chance(*row.change[1:])


def _change(row: RatioRow) -> str:
    assert row.change is not None
    assert row.before is not None
    change, low, high = row.change
    return (
        f"{phrasing.points(change)} points ({phrasing.points_range(low, high)}), "
        f"from {phrasing.percent(row.before.ratio)} to {phrasing.percent(row.ratio)}"
    )
