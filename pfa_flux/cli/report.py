"""`pfa-flux report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pfa_flux.cli.choices import Every, From, Networks
from pfa_flux.cli.options import Domain, Site, Start, Stop, Tz, note, with_settings
from pfa_flux.settings import Settings


@with_settings
def report(
    *,
    out: Annotated[Path, typer.Option(help="HTML file to write; - for standard output.")],
    domain: Domain = None,
    site: Site = None,
    network: Networks = None,
    start: Start = "7d",
    stop: Stop = None,
    every: Annotated[Every | None, typer.Option(help="Interval of the plot.", show_default="by the range")] = None,
    tz: Tz = None,
    source: From = "auto",
    settings: Settings,
    quiet: bool,
) -> None:
    """Write one self-contained HTML file: the ratio by network, over time and by page, and the quality of the data."""
    from pfa_flux import connect
    from pfa_flux.cli import render
    from pfa_flux.cli.exits import NO_DATA
    from pfa_flux.cli.no_data import no_data
    from pfa_flux.files import write_whole
    from pfa_flux.present.report.page import page
    from pfa_flux.ratio.question import Options

    options = Options(
        domains=domain or (),
        sites=site or (),
        networks=[str(each) for each in network or ()],
        start=start,
        stop=stop,
        tz=tz,
        source=str(source),
    )
    instead: list[str] = []
    with render.working("reading hits and page loads", quiet), connect(settings) as analytics:
        content = analytics.content(options, every=str(every) if every else None)
        html, has_data = page(content), content.whole.has_data
        if not has_data and not quiet:
            instead = no_data(analytics, content.whole, f"pfa-flux report --out {out}", options)
    if str(out) == "-":
        # The file declares its encoding, UTF-8.
        typer.echo(html.encode("utf-8"), nl=False)
    else:
        try:
            write_whole(out, html)
        except OSError as error:
            raise typer.BadParameter(f"{out} cannot be written: {error}", param_hint="--out") from error
        if not quiet:
            note(f"{out}: {len(html):,} bytes")
    for line in instead:
        note(line)
    if not has_data:
        raise typer.Exit(NO_DATA)
