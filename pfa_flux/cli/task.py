"""`pfa-flux install-task` and `pfa-flux task …`."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pfa_flux.cli import task_view as view
from pfa_flux.cli.options import note, one_of, with_settings
from pfa_flux.engines import registry
from pfa_flux.settings import Settings

if TYPE_CHECKING:
    from pfa_flux.tasks.task import Task

TO_DO = 5
app = typer.Typer(
    help="The downsampling task.", no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
)


class Format(enum.StrEnum):
    """How the answer is written."""

    TABLE = "table"
    JSON = "json"


Js = Annotated[bool, typer.Option("--js", help="The task of the JavaScript analytics' page loads.")]
if TYPE_CHECKING:
    Runs = str
else:
    # What the engines have.
    Runs = one_of("Runs", registry.choices(registry.backends()))
Backend = Annotated[Runs, typer.Option(help="Who runs the task.")]
Form = Annotated[Format, typer.Option("--format", help="How to write the answer.")]
_AUTO = Runs("auto")
Start = Annotated[str, typer.Option(help="RFC 3339 with an offset, or a duration back from now.")]
Stop = Annotated[str | None, typer.Option(help="The same.", show_default="now")]


@contextmanager
def _task(settings: Settings, js: bool, backend: str) -> Iterator[Task]:
    from pfa_flux import connect

    with connect(settings) as analytics:
        yield analytics.task("loads" if js else "hits", backend=str(backend))


def _span(start: str, stop: str | None) -> tuple[int, int | None]:
    import time

    from pfa_flux.errors import InvalidValueError
    from pfa_flux.times import parse_instant

    now = time.time_ns()
    low, high = parse_instant(start, now), parse_instant(stop, now) if stop is not None else None
    if low >= (now if high is None else high):
        raise InvalidValueError("start is not before stop", "Give a --start that lies before --stop.")
    return low, high


@with_settings
def install_task(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be installed, and change nothing.")
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take over a task of the name that pfa-flux has not made.")
    ] = False,
    js: Js = False,
    backend: Backend = _AUTO,
    settings: Settings,
    quiet: bool,
) -> None:
    """Install the 15-minute downsampling task, and prove it with a run. A second call changes nothing."""
    with _task(settings, js, backend) as task:
        if dry_run:
            typer.echo(task.backend.masked(task.backend.text()).rstrip("\n"))
            return
        done = task.install(adopt=adopt)
        name, advice = task.spec.name, task.backend.advice
    if done.made_bucket and not quiet:
        note(f"made the bucket {settings.rollup_bucket}")
    typer.echo(f"{name} ({done.id}): {done.action}")
    if quiet or done.proof is None:
        return
    span = view.words((done.proof.start, done.proof.stop))
    if done.proof.hits:
        what = "page loads" if js else "hits"
        note(f"proved: {done.proof.hits} {what} from {span} are {done.proof.rows} rows, equal to the raw data")
    else:
        note(f"proved: a run for {span} ended well; there is nothing in it to compare")
    if advice:
        note(advice)


@app.command()
@with_settings
def plan(
    *, js: Js = False, backend: Backend = _AUTO, format_: Form = Format.TABLE, settings: Settings, quiet: bool
) -> None:
    """Show what install-task would change. Exit code 5 if anything."""
    with _task(settings, js, backend) as task:
        found = task.plan()
    if format_ is Format.JSON:
        view.print_json({**asdict(found), "differs": found.differs})
    else:
        view.print_pairs(
            {
                "task": found.task + (f" ({', '.join(found.ids)})" if found.ids else ""),
                "run by": found.backend,
                "state": f"{found.state}: {found.words}",
                "to do": found.advice or "nothing",
            }
        )
        view.print_diff(found.diff)
    _end(found.differs)


@app.command()
@with_settings
def status(
    *,
    start: Start = "30d",
    js: Js = False,
    backend: Backend = _AUTO,
    format_: Form = Format.TABLE,
    settings: Settings,
    quiet: bool,
) -> None:
    """Say whether the downsampled data is complete and, if not, since when and why. Exit code 5 if not."""
    from pfa_flux.times import format_instant

    with _task(settings, js, backend) as task:
        found = task.status(_span(start, None)[0])
    newest = format_instant(found.ledger.newest) if found.ledger.newest is not None else None
    if format_ is Format.JSON:
        view.print_json(
            {
                "task": found.task,
                "id": found.id or None,
                "backend": found.backend,
                "plan": found.plan.state,
                "complete": found.complete,
                "summary": found.summary,
                "advice": found.advice,
                "newest": newest,
                "due": format_instant(found.due),
                "last_run": found.last_run or None,
                "last_error": found.last_error or None,
                "clock_skew": found.skew,
                **view.ledger_json(found.ledger),
            }
        )
    else:
        view.print_pairs(
            {
                "status": found.summary,
                "to do": found.advice or "nothing",
                "task": f"{found.task}{f' ({found.id})' if found.id else ''}, run by {found.backend}",
                "newest window": newest or "none",
                "newest due": format_instant(found.due),
                "last run": found.last_run or "none known",
                "last error": found.last_error or "none",
            }
        )
    _end(not found.complete)


@app.command()
@with_settings
def runs(
    *,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, the newest first.")] = 20,
    js: Js = False,
    backend: Backend = _AUTO,
    format_: Form = Format.TABLE,
    settings: Settings,
    quiet: bool,
) -> None:
    """List the runs that are remembered: of InfluxDB those of 72 hours."""
    with _task(settings, js, backend) as task:
        found = task.runs(limit)
    if format_ is Format.JSON:
        view.print_json([asdict(run) for run in found])
        return
    view.print_table(
        ("windows up to", "status", "started", "ended", "id", "error"),
        [(run.scheduled_for, run.status, run.started, run.finished, run.id, run.error) for run in found],
    )
    if not found and not quiet:
        note("no run is remembered; the windows themselves tell what is there: pfa-flux task status")


@app.command()
@with_settings
def logs(
    *,
    run: Annotated[str, typer.Option(help="Only of this run, by its id.", show_default=False)] = "",
    js: Js = False,
    backend: Backend = _AUTO,
    settings: Settings,
    quiet: bool,
) -> None:
    """Show the log of the runs that are remembered."""
    from pfa_flux.cli.render import plain

    with _task(settings, js, backend) as task:
        for line in task.logs(run):
            typer.echo(plain(line))


@app.command("run")
@with_settings
def run_now(
    *,
    due: Annotated[bool, typer.Option("--due", help="As the runner: every window that is due.")] = False,
    accept_clock: Annotated[
        bool,
        typer.Option(
            "--accept-clock",
            help="With --due: remove raw rows of the embedded store by today's clock, even if it looks wrong.",
        ),
    ] = False,
    js: Js = False,
    backend: Backend = _AUTO,
    settings: Settings,
    quiet: bool,
) -> None:
    """Run now: of a server's task the last closed windows, of the runner every window that is due."""
    from pfa_flux.cli import render
    from pfa_flux.errors import InvalidValueError

    if accept_clock and not due:
        raise InvalidValueError("--accept-clock is given without --due", "Add --due.")
    with _task(settings, js, backend) as task, render.working("downsampling", quiet):
        spans = task.run_due(accept_clock=accept_clock) if due else task.run()
    if not quiet:
        note("\n".join(f"downsampled {view.words(span)}" for span in spans) or "nothing is due")


@app.command()
@with_settings
def disable(*, js: Js = False, backend: Backend = _AUTO, settings: Settings, quiet: bool) -> None:
    """Let the task rest. It keeps its id and history."""
    with _task(settings, js, backend) as task:
        task.disable()
        typer.echo(f"{task.spec.name}: disabled")


@app.command()
@with_settings
def enable(*, js: Js = False, backend: Backend = _AUTO, settings: Settings, quiet: bool) -> None:
    """Let the task run again."""
    with _task(settings, js, backend) as task:
        task.enable()
        typer.echo(f"{task.spec.name}: enabled")
    if not quiet:
        note("what it has missed, pfa-flux task gaps shows and pfa-flux task backfill fills")


@app.command()
@with_settings
def remove(
    *,
    id_: Annotated[str, typer.Option("--id", help="Which, where there are several of the name.")] = "",
    js: Js = False,
    backend: Backend = _AUTO,
    settings: Settings,
    quiet: bool,
) -> None:
    """Remove the task. What it has downsampled stays."""
    with _task(settings, js, backend) as task:
        for removed in task.remove(id_):
            typer.echo(f"{task.spec.name} ({removed}): removed")


@app.command()
@with_settings
def gaps(
    *,
    start: Start = "30d",
    stop: Stop = None,
    js: Js = False,
    backend: Backend = _AUTO,
    format_: Form = Format.TABLE,
    settings: Settings,
    quiet: bool,
) -> None:
    """List windows that have raw rows and no downsampled ones, or too few. Exit code 5 if there are any."""
    with _task(settings, js, backend) as task:
        found, width = task.gaps(*_span(start, stop)), task.spec.width
    if format_ is Format.JSON:
        view.print_json(view.ledger_json(found))
    else:
        rows = [(span, "missing") for span in found.missing] + [(span, "short") for span in found.short]
        cells = [(*view.edges(span), f"{(span[1] - span[0]) // width}", kind) for span, kind in sorted(rows)]
        if cells:
            view.print_table(("from", "to", "windows", ""), cells)
    if not quiet:
        view.note_ledger(found)
    _end(found.state == "gaps")


@app.command()
@with_settings
def backfill(
    *,
    start: Start = "30d",
    stop: Stop = None,
    js: Js = False,
    backend: Backend = _AUTO,
    settings: Settings,
    quiet: bool,
) -> None:
    """Fill windows that are missing or short. Broken off, the next call goes on where it was."""
    with _task(settings, js, backend) as task, view.progress("backfill", quiet) as report:
        found, rows = task.backfill(*_span(start, stop), report=report)
        windows = sum(high - low for low, high in found.to_fill) // task.spec.width
    typer.echo(f"{windows:,} windows were missing or short; {rows:,} rows written")
    if not quiet and found.unknown:
        view.note_unknown(found.unknown, found.known_from)


@app.command()
@with_settings
def verify(
    *,
    start: Start = "30d",
    stop: Stop = None,
    repair: Annotated[bool, typer.Option("--repair", help="Make right what differs, and verify again.")] = False,
    js: Js = False,
    backend: Backend = _AUTO,
    format_: Form = Format.TABLE,
    settings: Settings,
    quiet: bool,
) -> None:
    """Compare raw with downsampled data, window by window and page by page. Exit code 5 if anything differs."""
    with _task(settings, js, backend) as task, view.progress("verify", quiet) as report:
        span = _span(start, stop)
        before, after = task.repair(*span, report=report) if repair else (task.verify(*span, report=report),) * 2
    if format_ is Format.JSON:
        view.print_json(
            {**view.verification_json(after), **({"repaired": before.count - after.count} if repair else {})}
        )
    else:
        view.print_verification(after)
        if repair and before.count:
            typer.echo(f"{before.count - after.count} of {before.count} places were repaired")
    if not quiet and after.unknown:
        view.note_unknown(after.unknown, after.start)
    _end(not after.clean)


@app.command()
@with_settings
def repair(*, js: Js = False, backend: Backend = _AUTO, settings: Settings, quiet: bool) -> None:
    """Put windows together again that late hits have come into. All others: pfa-flux task verify --repair."""
    with _task(settings, js, backend) as task, view.progress("repair", quiet) as report:
        spans = task.repair_touched(report=report)
    typer.echo(f"{len(spans)} windows put together again")


def _end(to_do: bool) -> None:
    if to_do:
        raise typer.Exit(TO_DO)
