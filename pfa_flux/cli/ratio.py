"""`pfa-flux blocked-ratio`."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated

import typer

from pfa_flux.cli.options import note, one_of, with_settings
from pfa_flux.engines import registry
from pfa_flux.settings import Settings


class Format(enum.StrEnum):
    """How the answer is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class Key(enum.StrEnum):
    """Keys of the rows."""

    DOMAIN = "domain"
    NETWORK = "network"
    PAGE = "page"
    TIME = "time"


class Network(enum.StrEnum):
    """Networks of the domains."""

    CLEARNET = "clearnet"
    TOR = "tor"
    I2P = "i2p"


class Every(enum.StrEnum):
    """Widths of an interval."""

    QUARTER = "15m"
    HOUR = "1h"
    DAY = "1d"
    WEEK = "1w"


if TYPE_CHECKING:
    Dialect = str
else:
    # What the engines have.
    Dialect = one_of("Dialect", registry.choices(registry.dialects()))


_AUTO = Dialect("auto")


class Source(enum.StrEnum):
    """From which bucket the figures come."""

    AUTO = "auto"
    RAW = "raw"
    ROLLUP = "rollup"


@with_settings
def blocked_ratio(
    *,
    domain: Annotated[list[str] | None, typer.Option(help="Exact domain; repeats.", show_default=False)] = None,
    site: Annotated[list[str] | None, typer.Option(help="Site of the settings; repeats.", show_default=False)] = None,
    network: Annotated[
        list[Network] | None, typer.Option(help="Only this network; repeats.", show_default=False)
    ] = None,
    page: Annotated[list[str] | None, typer.Option(help="Exact page; repeats.", show_default=False)] = None,
    by: Annotated[list[Key] | None, typer.Option(help="Key of the rows; repeats.", show_default="domain")] = None,
    start: Annotated[str, typer.Option(help="RFC 3339 with an offset, or a duration back from now.")] = "24h",
    stop: Annotated[str | None, typer.Option(help="The same.", show_default="now")] = None,
    every: Annotated[Every | None, typer.Option(help="Interval with --by time.", show_default="1h")] = None,
    tz: Annotated[str, typer.Option(help="Time zone of the intervals.")] = "UTC",
    compare: Annotated[bool, typer.Option("--compare", help="Beside the period before, with the change.")] = False,
    dialect: Annotated[Dialect, typer.Option(help="Query language to use.")] = _AUTO,
    source: Annotated[
        Source, typer.Option(help="Read raw data, downsampled data, or choose automatically.")
    ] = Source.AUTO,
    format_: Annotated[Format, typer.Option("--format", help="How to write the answer.")] = Format.TABLE,
    settings: Settings,
    quiet: bool,
) -> None:
    """Share of page views that came without the JavaScript analytics, with its 95 % interval."""
    from pfa_flux import connect
    from pfa_flux.cli import NO_DATA, render

    with render.working("reading hits and page loads", quiet), connect(settings) as analytics:
        result = analytics.blocked_ratio(
            domain or (),
            sites=site or (),
            networks=[n.value for n in network or ()],
            pages=page or (),
            by=[key.value for key in by] if by else ("domain",),
            start=start,
            stop=stop,
            every=every.value if every else None,
            tz=tz,
            dialect=str(dialect),
            source=source.value,
            compare=compare,
        )
    if format_ is Format.JSON:
        typer.echo(result.to_json())
    elif format_ is Format.CSV:
        typer.echo(result.to_csv(), nl=False)
    else:
        shown = render.console()
        shown.print(render.blocked_ratio(shown, result))
        for contrast in result.differences() if result.by == ("network",) else ():
            shown.print(render.escaped(contrast.sentence))
    if not quiet:
        for caveat in result.warnings:
            note(f"warning: {caveat.message}")
    if not result.has_data:
        if not quiet:
            note("no data: neither hits nor page loads in this range; check --domain, --start and pfa-flux doctor")
        raise typer.Exit(NO_DATA)
