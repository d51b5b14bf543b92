"""`pfa-flux report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pfa_flux.cli.options import note, with_settings
from pfa_flux.cli.ratio import Every, Network, Source
from pfa_flux.settings import Settings


@with_settings
def report(
    *,
    out: Annotated[Path, typer.Option(help="HTML file to write; - for standard output.")],
    domain: Annotated[list[str] | None, typer.Option(help="Exact domain; repeats.", show_default=False)] = None,
    site: Annotated[list[str] | None, typer.Option(help="Site of the settings; repeats.", show_default=False)] = None,
    network: Annotated[
        list[Network] | None, typer.Option(help="Only this network; repeats.", show_default=False)
    ] = None,
    start: Annotated[str, typer.Option(help="RFC 3339 with an offset, or a duration back from now.")] = "7d",
    stop: Annotated[str | None, typer.Option(help="The same.", show_default="now")] = None,
    every: Annotated[Every | None, typer.Option(help="Interval of the plot.", show_default="by the range")] = None,
    tz: Annotated[str, typer.Option(help="Time zone.")] = "UTC",
    source: Annotated[
        Source, typer.Option(help="Read raw data, downsampled data, or choose automatically.")
    ] = Source.AUTO,
    settings: Settings,
    quiet: bool,
) -> None:
    """Write one self-contained HTML file: the ratio, by network, over time, by page, and how far to trust it."""
    from pfa_flux import connect
    from pfa_flux.cli import NO_DATA, render

    with render.working("reading hits and page loads", quiet), connect(settings) as analytics:
        html, has_data = analytics.report(
            domain or (),
            sites=site or (),
            networks=[n.value for n in network or ()],
            start=start,
            stop=stop,
            every=every.value if every else None,
            tz=tz,
            source=source.value,
        )
    if str(out) == "-":
        typer.echo(html, nl=False)
    else:
        try:
            out.write_text(html, encoding="utf-8")
        except OSError as error:
            raise typer.BadParameter(f"{out} cannot be written: {error}", param_hint="--out") from error
        if not quiet:
            note(f"{out}: {len(html):,} bytes")
    if not has_data:
        if not quiet:
            note("no data: neither hits nor page loads in this range; check --domain, --start and pfa-flux doctor")
        raise typer.Exit(NO_DATA)
