"""`pfa-flux blocked-ratio`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pfa_flux.arguments import texts
from pfa_flux.cli.choices import CSV, JSON, TABLE, Dialect, Every, Format, From, Networks
from pfa_flux.cli.options import Domain, Site, Start, Stop, Tz, flag, note, with_settings
from pfa_flux.errors import InvalidValueError
from pfa_flux.schema import KEYS
from pfa_flux.settings import Settings, load

if TYPE_CHECKING:
    from pfa_flux import BlockedRatio
    from pfa_flux.ratio.question import Options


_NONE = "none"


@with_settings
def blocked_ratio(
    *,
    domain: Domain = None,
    site: Site = None,
    network: Networks = None,
    page: Annotated[
        list[str] | None, typer.Option(help=("Page, as stored or as shown; repeatable."), show_default=False)
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Key of the rows: domain, network, page, time, or none for one row; repeatable.",
            show_default="domain",
            autocompletion=lambda: [*KEYS, _NONE],
        ),
    ] = None,
    start: Start = "24h",
    stop: Stop = None,
    every: Annotated[Every | None, typer.Option(help="Interval with --by time.", show_default="1h")] = None,
    tz: Tz = None,
    compare: Annotated[bool, typer.Option("--compare", help="Compare with the previous period.")] = False,
    dialect: Annotated[Dialect, typer.Option(help="Query language to use.")] = "auto",
    source: From = "auto",
    format_: Annotated[Format, typer.Option("--format", help="Output format.")] = TABLE,
    settings: Settings,
    quiet: bool,
) -> None:
    """Show the share of page views that the JavaScript analytics did not report, with its 95% interval.

    The table starts with the answer in one sentence and ends with a total.
    """
    from pfa_flux.ratio.question import Options

    options = Options(
        domains=domain or (),
        sites=site or (),
        networks=[str(each) for each in network or ()],
        pages=page or (),
        by=_keys(by),
        start=start,
        stop=stop,
        every=str(every) if every else None,
        tz=tz,
        dialect=str(dialect),
        source=str(source),
    )
    result, instead = _ask(settings, options, compare=compare, quiet=quiet)
    if format_ == JSON:
        typer.echo(result.to_json())
    elif format_ == CSV:
        typer.echo(result.to_csv(), nl=False)
    else:
        _show(result)
    _finish(result, instead, quiet=quiet)


def _keys(by: list[str] | None) -> tuple[str, ...]:
    keys = texts("by", by or ("domain",))
    if _NONE not in keys:
        return keys
    others = [flag("by", key) for key in keys if key != _NONE]
    if others:
        raise InvalidValueError(f"--by none is given with {' and '.join(others)}", "Use --by none alone.")
    return ()


def _ask(settings: Settings, options: Options, *, compare: bool, quiet: bool) -> tuple[BlockedRatio, list[str]]:
    """The answer, and the text to print if there is no data."""
    from pfa_flux import connect
    from pfa_flux.cli import render
    from pfa_flux.cli.no_data import no_data

    with render.working("reading hits and page loads", quiet), connect(settings) as analytics:
        (result,) = analytics.answers([options], compare=compare)
        if result.has_data or quiet:
            return result, []
        return result, no_data(analytics, result, "pfa-flux blocked-ratio", options)


def _show(result: BlockedRatio) -> None:
    """Print the sentence, then the rows with their total."""
    from pfa_flux.cli import render

    shown = render.console()
    shown.print(render.escaped(result.sentence))
    # On a terminal the table starts with an empty line.
    if not shown.is_terminal:
        shown.print()
    shown.print(render.blocked_ratio(shown, result))
    for contrast in result.differences() if result.by == ("network",) else ():
        shown.print(render.escaped(contrast.sentence))


def _finish(result: BlockedRatio, instead: Sequence[str], *, quiet: bool) -> None:
    """Print the warnings of an answer. If there is no data, print the given lines, and exit with that code."""
    from pfa_flux.cli.exits import NO_DATA

    if not quiet:
        for warning in result.warnings:
            note(f"warning: {warning.message}")
        for line in instead:
            note(line)
    if not result.has_data:
        raise typer.Exit(NO_DATA)


def last_week() -> bool:
    """Print the answer for the last seven days in one sentence. False if there are neither settings nor data."""
    from pfa_flux.cli import render
    from pfa_flux.ratio.question import Options

    settings = load()
    if not _is_set_up(settings):
        return False
    for warning in settings.warnings:
        note(f"warning: {warning}")
    result, instead = _ask(settings, Options(by=(), start="7d"), compare=False, quiet=False)
    shown = render.console()
    shown.print(render.escaped(result.sentence))
    _finish(result, instead, quiet=False)
    note("For the rows: pfa-flux blocked-ratio --start 7d. For all commands: pfa-flux --help.")
    return True


def _is_set_up(settings: Settings) -> bool:
    """A setting was made, or the embedded store exists."""
    from pfa_flux import connect

    if settings.file or settings != Settings():
        return True
    with connect(settings) as analytics:
        return Path(analytics.engine.address).exists()
