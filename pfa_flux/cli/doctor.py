"""`pfa-flux doctor`."""

from __future__ import annotations

import time

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
def doctor(*, settings: Settings, quiet: bool) -> None:
    """Check engine, access, buckets, rights, task and newest hit, and say what to do about each that fails."""
    from rich.markup import escape

    from pfa_flux.cli import FAILED, exit_code, render
    from pfa_flux.doctor import examine

    del quiet
    checks, unreachable = examine(settings, time.time_ns())
    shown = render.console()
    made = render.empty(shown)
    for column in ("check", "", "found", "what to do"):
        made.add_column(column, overflow="fold")
    for check in checks:
        made.add_row(check.name, _MARKS[check.status], escape(check.found), escape(check.advice))
    shown.print(made)
    if unreachable is not None:
        raise typer.Exit(exit_code(unreachable))
    if any(check.status == "failed" for check in checks):
        raise typer.Exit(FAILED)
