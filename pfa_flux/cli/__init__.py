"""The command line: parses, calls the library, prints. Only this package imports typer or prints."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from typing import Annotated, NoReturn

import typer

from pfa_flux.cli import config, copy, dashboard, demo, digest, doctor, quarantine, ratio, report, serve, view
from pfa_flux.cli.exits import DONE, FAILED, USAGE, exit_code
from pfa_flux.cli.help import EXAMPLES, SUMMARIES, examples
from pfa_flux.cli.options import in_flags
from pfa_flux.cli.paging import Pager
from pfa_flux.cli.setup import init, nginx, printing
from pfa_flux.cli.task import commands, windows
from pfa_flux.errors import PfaFluxError

app = typer.Typer(
    name="pfa-flux",
    help="Measure the share of page views that the JavaScript analytics did not report.",
    epilog=f"{examples()}\n\n"
    "Exit codes: 0 done, 1 failed, 2 usage error, 3 no data, 4 server unreachable or access denied, 5 work to do.",
    invoke_without_command=True,
    # Plain help, because rich help takes longer than the rest of the start.
    rich_markup_mode=None,
    # A traceback with local variables could show a token.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _command in {
    "init": init.init,
    "doctor": doctor.doctor,
    "demo": demo.demo,
    "blocked-ratio": ratio.blocked_ratio,
    "report": report.report,
    "digest": digest.digest,
    "view": view.view,
    "serve": serve.serve,
    "nginx": nginx.nginx,
    "systemd": printing.systemd,
    "tags": printing.tags,
    "quarantine": quarantine.quarantine,
    "copy": copy.copy,
    "install-task": commands.install_task,
}.items():
    _epilog = examples(_name) if _name in EXAMPLES else None
    app.command(_name, short_help=SUMMARIES[_name], epilog=_epilog)(_command)
app.add_typer(windows.app, name="task", short_help=SUMMARIES["task"])
app.add_typer(config.app, name="config", short_help=SUMMARIES["config"])
app.add_typer(dashboard.app, name="dashboard", short_help=SUMMARIES["dashboard"])


_LIVE = {"init", "serve", "view", "demo"}
"""Commands that ask questions, keep running, or show progress as they work. They never go through a pager."""
_pager = Pager(os.environ)


def _version(value: bool) -> None:
    if value:
        from pfa_flux import __version__

        typer.echo(f"pfa-flux {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    no_pager: Annotated[bool, typer.Option("--no-pager", help="Print long output directly, without $PAGER.")] = False,
) -> None:
    """Measure the share of page views that the JavaScript analytics did not report.

    Without a command, print the answer for the
    last seven days in one sentence.
    """
    if no_pager or context.invoked_subcommand in _LIVE:
        _pager.let_through()
    if context.invoked_subcommand is None and not ratio.last_week():
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(USAGE)


def main() -> NoReturn:
    """Run the command line. Errors of pfa-flux print a message and a hint, without a traceback."""
    if sys.stdout is None:
        _say("standard output is closed", "Leave it open, or send it to a file or to /dev/null.")
        sys.exit(FAILED)
    _make_streams_accept_any_text()
    try:
        try:
            with _pager:
                app(prog_name="pfa-flux")
        finally:
            sys.stdout.flush()
    except PfaFluxError as error:
        _say(error.message, error.hint)
        sys.exit(exit_code(error))
    except OSError as error:
        # The final write may have failed.
        _discard_output()
        _say(_message(error), "Check the file or device, its permissions, and its free space.")
        sys.exit(FAILED)
    sys.exit(DONE)


def _say(message: str, hint: str) -> None:
    typer.echo(f"pfa-flux: {in_flags(message)}", err=True)
    if hint:
        typer.echo(in_flags(hint), err=True)


def _message(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.filename is not None:
        return f"{error.filename}: {reason}"
    return f"cannot write to standard output: {reason}" if error.errno in _WRITE_ERRORS else reason


_WRITE_ERRORS = {errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EBADF, errno.EFBIG}


def _make_streams_accept_any_text() -> None:
    """Write characters that the encoding cannot represent as JSON escapes."""
    codecs.register_error("pfa-flux", _as_escapes)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="pfa-flux")


def _as_escapes(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    pairs = (units[at : at + 2] for at in range(0, len(units), 2))
    return "".join(f"\\u{pair.hex()}" for pair in pairs), error.end


def _discard_output() -> None:
    """Prevent Python from repeating the failed write at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
