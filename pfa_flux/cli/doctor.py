"""`pfa-flux doctor`."""

from __future__ import annotations

import time
from itertools import chain, repeat
from typing import TYPE_CHECKING, Annotated

import typer

from pfa_flux.cli.options import with_settings
from pfa_flux.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from pfa_flux.engines.base import Check

_MARKS = {
    "ok": "[green]ok[/]",
    "warning": "[yellow]warning[/]",
    "failed": "[red]failed[/]",
    "skipped": "[dim]skipped[/]",
}
_INDENT = max(map(len, _MARKS)) + 2


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
    if shown.is_terminal:
        for check in checks:
            _print_lines(shown, check)
    else:
        made = render.empty(shown)
        for column in ("check", "", "found", "what to do"):
            made.add_column(column)
        for check in checks:
            made.add_row(check.name, _MARKS[check.status], render.escaped(check.found), render.escaped(check.advice))
        shown.print(made)
    if unreachable is not None:
        raise typer.Exit(exit_code(unreachable))
    if any(check.status == "failed" for check in checks):
        raise typer.Exit(FAILED)


def _print_lines(shown: Console, check: Check) -> None:
    """Print a check in lines, not in columns: commands to copy need the width of the terminal."""
    from pfa_flux.cli import render
    from pfa_flux.present.terminal import folded

    room = shown.width - _INDENT
    lines = [*folded(f"{check.name}  {check.found}", room), *folded(check.advice, room)]
    mark = _MARKS[check.status] + " " * (_INDENT - len(check.status))
    for start, line in zip(chain([mark], repeat(" " * _INDENT)), lines, strict=False):
        shown.print(f"{start}{render.escaped(line)}", soft_wrap=True)
