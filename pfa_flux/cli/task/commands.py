"""`pfa-flux install-task` and `pfa-flux task …`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pfa_flux import registry
from pfa_flux.cli.choices import JSON, TABLE, Form
from pfa_flux.cli.exits import TO_DO, UNREACHABLE
from pfa_flux.cli.options import Start, note, with_settings
from pfa_flux.cli.task import show as view
from pfa_flux.cli.task.sides import CreateBuckets, Tasks, with_tasks
from pfa_flux.errors import InvalidValueError
from pfa_flux.schema import Side

if TYPE_CHECKING:
    from pfa_flux.tasks.install import Installation
    from pfa_flux.tasks.task import Task

app = typer.Typer(
    help="Show, check and repair the downsampling tasks for hits and page loads.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def span_of(start: str, stop: str | None, tz: str) -> tuple[int, int | None]:
    """A range of the command line, in nanoseconds."""
    import time

    from pfa_flux.times import parse_instant, time_zone

    now, zone = time.time_ns(), time_zone(tz)
    low = parse_instant(start, now, zone, "start")
    high = None if stop is None else parse_instant(stop, now, zone, "stop")
    if low >= (now if high is None else high):
        raise InvalidValueError("start is not before stop", "Use a --start before --stop.")
    return low, high


@with_settings
@with_tasks
def install_task(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the tasks that would be installed, and change nothing.")
    ] = False,
    adopt: Annotated[
        bool,
        typer.Option("--adopt", help="Take over a task that pfa-flux did not make, and float rows of others."),
    ] = False,
    create_buckets: CreateBuckets = False,
    tasks: Tasks,
    quiet: bool,
) -> None:
    """Install the 15-minute downsampling tasks, and prove each with a run. A second call changes nothing.

    One task downsamples hits, the other page loads, so that ratios outlive the raw data. --hits-only leaves out page
    loads, now and in later commands: it saves `loads = false` under `[task]` in the settings file.
    """
    if dry_run:
        typer.echo("\n\n".join(task.backend.masked(task.backend.text()).rstrip("\n") for task in tasks.each))
        return
    done: list[Installation] = []

    def install(task: Task) -> None:
        done.append(task.install(adopt=adopt, create_bucket=create_buckets))
        if done[-1].made_bucket and not quiet:
            note(f"created the bucket {task.spec.rollup_bucket}")
        typer.echo(f"{task.spec.name} ({done[-1].id}): {done[-1].action}")
        if not quiet and done[-1].proof is not None:
            note(view.proved(task, done[-1].proof))
            if len(done) == 1:
                view.note_store(done[-1].store)

    tasks.act(install)
    advice = tasks.each[0].backend.advice
    if advice and not quiet and any(each.proof is not None for each in done):
        note(advice)
    _remember(tasks)


def _remember(tasks: Tasks) -> None:
    """Save in the settings whether page loads are left out, and print what was saved."""
    from pfa_flux.errors import PfaFluxError
    from pfa_flux.setup.draft import remember_sides

    settings, loads = tasks.settings, tasks.flag is Side.LOADS
    file, line = settings.file, "loads = false under [task]"
    if settings.task.loads == loads or tasks.flag is None:
        if not settings.task.loads and not tasks.quiet:
            note(f"page loads are left out: {file} has {line}. To include them: pfa-flux install-task --js")
        return
    if tasks.flag is Side.HITS and file is None:
        note(f"to keep this, write {line} in pfa-flux.toml")
        return
    assert file is not None
    try:
        remember_sides(file, loads=loads)
    except (PfaFluxError, OSError) as error:
        reason = f"{error.message}. {error.hint}" if isinstance(error, PfaFluxError) else f"{error}"
        note(f"warning: this was not saved: {reason}")
    else:
        typer.echo(f"{file}: {'without' if loads else 'with'} {line}")
    if not loads and not tasks.quiet:
        note("the installed task for page loads stays; to remove it: pfa-flux task remove --js")


@app.command()
@with_settings
@with_tasks
def plan(*, format_: Form = TABLE, tasks: Tasks, quiet: bool) -> None:
    """Show what install-task would change. Exit code 5 if anything, 4 if the token cannot read tasks."""
    del quiet
    plans = [task.plan() for task in tasks.each]
    if format_ == JSON:
        view.print_json(tasks.joined([{**asdict(each), "differs": each.differs} for each in plans]))
    else:
        for task, each in zip(tasks.each, plans, strict=True):
            tasks.headed(task)
            view.print_plan(each)
    if any(each.state == "unknown" for each in plans):
        # The token cannot read the task, so whether there is work to do is unknown.
        raise typer.Exit(UNREACHABLE)
    end(any(each.differs for each in plans))


@app.command()
@with_settings
@with_tasks
def status(*, start: Start = "30d", format_: Form = TABLE, tasks: Tasks, quiet: bool) -> None:
    """Show whether the downsampled data is complete. If not, show since when, and why. Exit code 5 if it is not."""
    del quiet
    since = span_of(start, None, tasks.settings.tz)[0]
    states = [task.status(since) for task in tasks.each]
    if format_ == JSON:
        view.print_json(tasks.joined([view.status_json(each) for each in states]))
    else:
        for task, each in zip(tasks.each, states, strict=True):
            tasks.headed(task)
            view.print_status(each)
    end(not all(each.complete for each in states))


@app.command()
@with_settings
@with_tasks
def runs(
    *,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Number of runs, newest first.")] = 20,
    format_: Form = TABLE,
    tasks: Tasks,
    quiet: bool,
) -> None:
    """List the recorded runs. InfluxDB keeps them for 72 hours."""
    recorded = [(task.spec.what.value, run) for task in tasks.installed() for run in task.runs(limit)]
    if len(tasks.each) > 1:
        recorded.sort(key=lambda each: (each[1].scheduled_for, each[1].started), reverse=True)
    recorded = recorded[:limit]
    if format_ == JSON:
        # With one side, the output has no `side`, as in earlier versions.
        view.print_json([{**asdict(run), **({} if tasks.flag else {"side": side})} for side, run in recorded])
        return
    view.print_table(
        (*tasks.side_column, "windows up to", "status", "started", "ended", "id", "error"),
        [
            (*([side] * len(tasks.side_column)), run.scheduled_for, run.status, run.started, run.finished, run.id,
             run.error)
            for side, run in recorded
        ],
    )  # fmt: skip
    if not recorded and not quiet:
        note("no runs are recorded. To check the windows: pfa-flux task status")


@app.command()
@with_settings
@with_tasks
def logs(
    *,
    run: Annotated[str, typer.Option(help="Only this run, by its id.", show_default=False)] = "",
    tasks: Tasks,
    quiet: bool,
) -> None:
    """Print the log of the recorded runs."""
    from pfa_flux.cli.render import plain

    del quiet
    for task in tasks.installed():
        for line in task.logs(run):
            first, *script = view.unfolded(line)
            typer.echo(plain(tasks.of(task, first)))
            for each in script:
                typer.echo(f"    {plain(each)}")


@app.command("run")
@with_settings
@with_tasks
def run_now(
    *,
    due: Annotated[bool, typer.Option("--due", help="Do all work that is due.")] = False,
    accept_clock: Annotated[
        bool,
        typer.Option(
            "--accept-clock",
            help="With --due: trust the clock when removing raw rows from the embedded store, even if it looks wrong.",
        ),
    ] = False,
    tasks: Tasks,
    quiet: bool,
) -> None:
    """Run the tasks now. A server's task recomputes the last closed windows, the runner computes all due windows.

    With --due, also compare the windows of a server's task with raw data, and repair them.
    """
    from pfa_flux.cli import render

    if accept_clock and not due:
        raise InvalidValueError("--accept-clock is given without --due", "Add --due.")
    # Both tasks share one clock, so one of them accepts it.
    accepting = iter([accept_clock])

    def run(task: Task) -> None:
        ranges = task.run_due(accept_clock=next(accepting, None)) if due else task.run()
        does = "compared" if due and task.backend.name != registry.OWN_BACKEND else "downsampled"
        done = [f"{does} {view.range_text(each)}" for each in ranges] or ["nothing is due"]
        if not quiet:
            note("\n".join(tasks.of(task, line) for line in done))

    ready = tasks.installed(active=due)
    with render.working("downsampling", quiet):
        tasks.act(run, ready)


@app.command()
@with_settings
@with_tasks
def disable(*, tasks: Tasks, quiet: bool) -> None:
    """Disable the tasks. They keep their ids and history."""
    del quiet
    for task in tasks.installed():
        task.disable()
        typer.echo(f"{task.spec.name}: disabled")


@app.command()
@with_settings
@with_tasks
def enable(*, tasks: Tasks, quiet: bool) -> None:
    """Enable the tasks."""
    for task in tasks.installed():
        task.enable()
        typer.echo(f"{task.spec.name}: enabled")
    if not quiet:
        note("to see missed windows: pfa-flux task gaps. To fill them: pfa-flux task backfill")


@app.command()
@with_settings
@with_tasks
def remove(
    *,
    id_: Annotated[str, typer.Option("--id", help="Only the task with this id.")] = "",
    tasks: Tasks,
    quiet: bool,
) -> None:
    """Remove the tasks. Downsampled data stays."""
    del quiet
    if id_:
        named = [task for task in tasks.each if any(found.id == id_ for found in task.backend.find())]
        chosen = (named or list(tasks.each))[:1]
    else:
        chosen = tasks.installed()
    for task in chosen:
        for removed in task.remove(id_):
            typer.echo(f"{task.spec.name} ({removed}): removed")


def end(to_do: bool) -> None:
    """Exit with the code for work to do."""
    if to_do:
        raise typer.Exit(TO_DO)
