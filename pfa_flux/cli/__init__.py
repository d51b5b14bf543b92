"""The command line: parses, calls the library, renders. The only place that imports typer or prints."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from pfa_flux.cli import demo, doctor, init, nginx, quarantine, ratio, report, serve, task
from pfa_flux.errors import AccessDeniedError, InvalidValueError, PfaFluxError, UnreachableError

DONE, FAILED, USAGE, NO_DATA, UNREACHABLE, TO_DO = 0, 1, 2, 3, 4, 5

app = typer.Typer(
    name="pfa-flux",
    help="Which share of page views comes without the JavaScript analytics.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 no data, 4 engine out of reach or access denied, 5 work to do.",
    no_args_is_help=True,
    # Plain help: rendering it costs more than everything else at a start.
    rich_markup_mode=None,
    # A traceback with local variables could show a token.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init")(init.init)
app.command("blocked-ratio")(ratio.blocked_ratio)
app.command("install-task")(task.install_task)
app.command("report")(report.report)
app.command("serve")(serve.serve)
app.command("nginx")(nginx.nginx)
app.command("quarantine")(quarantine.quarantine)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.add_typer(task.app, name="task")


def _version(value: bool) -> None:
    if value:
        from pfa_flux import __version__

        typer.echo(f"pfa-flux {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Which share of page views comes without the JavaScript analytics."""


def exit_code(error: PfaFluxError) -> int:
    """Exit code of an error."""
    if isinstance(error, InvalidValueError):
        return USAGE
    return UNREACHABLE if isinstance(error, UnreachableError | AccessDeniedError) else FAILED


def main() -> NoReturn:
    """Run the command line. Errors raised on purpose are told in words, with what to do, and no traceback."""
    try:
        app(prog_name="pfa-flux")
    except PfaFluxError as error:
        typer.echo(f"pfa-flux: {error.message}", err=True)
        if error.hint:
            typer.echo(error.hint, err=True)
        sys.exit(exit_code(error))
    sys.exit(DONE)
