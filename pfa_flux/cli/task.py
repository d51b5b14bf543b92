"""`pfa-flux install-task` and `pfa-flux task …`."""

from __future__ import annotations

from typing import Annotated

import typer

from pfa_flux.cli.options import note, with_settings
from pfa_flux.settings import Settings

app = typer.Typer(help="The downsampling task.", no_args_is_help=True, pretty_exceptions_enable=False)


@with_settings
def install_task(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be installed, and change nothing.")
    ] = False,
    settings: Settings,
    quiet: bool,
) -> None:
    """Install the 15-minute downsampling task, and prove it with a run. A second call changes nothing."""
    from pfa_flux import connect
    from pfa_flux.times import format_instant

    with connect(settings) as analytics:
        if dry_run:
            typer.echo(analytics.task_backend().shown(), nl=False)
            return
        done = analytics.install_task()
        name = analytics.task_spec.name
    if done.made_bucket and not quiet:
        note(f"made the bucket {settings.rollup_bucket}")
    typer.echo(f"{name} ({done.id}): {done.action}")
    if done.proof is None or quiet:
        return
    span = f"{format_instant(done.proof.start)} to {format_instant(done.proof.stop)}"
    if done.proof.hits:
        note(f"proved: {done.proof.hits} hits from {span} are {done.proof.rows} rows, equal to the raw data")
    else:
        note(f"proved: a run for {span} ended well; there are no hits in it to compare")


@app.command("run")
@with_settings
def run(*, settings: Settings, quiet: bool) -> None:
    """Downsample now: embedded, all windows that are due; on a server, the last closed ones."""
    from pfa_flux import connect
    from pfa_flux.times import format_instant

    with connect(settings) as analytics:
        start, stop = analytics.run_task()
    if quiet:
        return
    if start == stop:
        note("nothing is due")
    else:
        note(f"downsampled {format_instant(start)} to {format_instant(stop)}")


# With one command alone, typer would run it as the group itself.
@app.callback()
def _group() -> None:
    """The downsampling task."""
