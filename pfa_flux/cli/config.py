"""`pfa-flux config …`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from pfa_flux.cli.choices import JSON, TABLE, Form
from pfa_flux.cli.options import with_resolution
from pfa_flux.cli.task import show as view
from pfa_flux.settings import Resolution

if TYPE_CHECKING:
    from pfa_flux.settings.report import Key, Report, Wrong

app = typer.Typer(
    help="Check the settings.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_STATES = {
    "read": "read",
    "wrong": "cannot be used",
    "unread": "not read, because an earlier file exists",
    "absent": "no file",
    "closed": "no access",
}


@app.command()
@with_resolution
def check(*, format_: Form = TABLE, resolution: Resolution, quiet: bool) -> None:
    """Show the settings file, each setting with its origin, and all errors.

    Contacts no server. Exit code 2 if anything is wrong, 1 if the file may belong to another user.
    """
    from pfa_flux.cli.exits import exit_code
    from pfa_flux.settings.report import report

    checked = report(resolution)
    if format_ == JSON:
        view.print_json(asdict(checked))
    else:
        _print(checked, quiet=quiet)
    for problem in resolution.problems:
        raise typer.Exit(exit_code(problem.error))


def _print(checked: Report, *, quiet: bool) -> None:
    typer.echo(f"file: {checked.file or 'none'}")
    if not quiet:
        view.print_table(("place", "state"), [(place.path, _STATES[place.state]) for place in checked.places])
    if checked.keys:
        typer.echo()
        view.print_table(("key", "value", "from"), [(each.key, _value(each), _from(each)) for each in checked.keys])
    typer.echo()
    if not quiet:
        for warning in checked.warnings:
            typer.echo(f"warning: {warning}")
    for wrong in checked.errors:
        typer.echo(f"error: {_placed(wrong)}\n       {wrong.hint}")
    if not checked.errors:
        typer.echo("no errors")


def _value(key: Key) -> str:
    """A value as it would be written in the file."""
    return "(wrong)" if key.value is None else json.dumps(key.value, ensure_ascii=False)


def _from(key: Key) -> str:
    return key.name if key.source in {"flag", "environment"} else key.source


def _placed(wrong: Wrong) -> str:
    """The message, preceded by its place if it does not name the place itself."""
    return f"{wrong.source}: {wrong.message}" if wrong.source and wrong.source not in wrong.message else wrong.message
