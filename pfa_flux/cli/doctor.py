"""`pfa-flux doctor`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from pfa_flux.cli.options import with_settings
from pfa_flux.settings import Settings

_MARKS = {
    "ok": "[green]ok[/]",
    "warning": "[yellow]warning[/]",
    "failed": "[red]failed[/]",
    "skipped": "[dim]skipped[/]",
}


@with_settings
def doctor(
    page: Annotated[
        str | None,
        typer.Argument(metavar="URL", help="Page to check as a browser would, without counting.", show_default=False),
    ] = None,
    *,
    front: Annotated[
        list[str] | None,
        typer.Option(
            "--front", metavar="URL", help=("Also request the pixel from this site's web server, without counting.")
        ),
    ] = None,
    proxy: Annotated[
        str, typer.Option(metavar="URL", help="HTTP proxy for the site's .onion and .i2p names.", show_default=False)
    ] = "",
    settings: Settings,
    quiet: bool,
) -> None:
    """Check the whole installation, and say how to fix each failure.

    With the address of a page, also find its tags and show what a view of it counts as. The check counts nothing.
    """
    from pfa_flux.cli import render
    from pfa_flux.cli.exits import FAILED, exit_code
    from pfa_flux.doctor.checks import examine
    from pfa_flux.doctor.front import check_front
    from pfa_flux.doctor.site.page import address, check_page

    del quiet
    wanted = address(page) if page is not None else ""
    checks, unreachable = examine(settings, time.time_ns())
    checks += [check_front(each, settings) for each in front or ()]
    if wanted:
        checks += check_page(wanted, settings, proxy=proxy)
    shown = render.console()
    made = render.empty(shown)
    for column in ("check", "", "found", "what to do"):
        made.add_column(column, overflow="fold")
    for check in checks:
        made.add_row(check.name, _MARKS[check.status], render.escaped(check.found), render.escaped(check.advice))
    shown.print(made)
    if unreachable is not None:
        raise typer.Exit(exit_code(unreachable))
    if any(check.status == "failed" for check in checks):
        raise typer.Exit(FAILED)
