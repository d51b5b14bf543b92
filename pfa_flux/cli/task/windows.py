"""`pfa-flux task gaps`, `backfill`, `verify` and `repair`: compare windows with raw data, and correct them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from pfa_flux.cli.choices import JSON, TABLE, Form
from pfa_flux.cli.options import Start, Stop, note, with_settings
from pfa_flux.cli.task import show as view
from pfa_flux.cli.task.commands import app, end, span_of
from pfa_flux.cli.task.sides import Tasks, with_tasks
from pfa_flux.errors import InvalidValueError
from pfa_flux.windows.ranges import length

if TYPE_CHECKING:
    from pfa_flux.tasks.task import Task

__all__ = ["app", "backfill", "gaps", "repair", "verify"]

All = Annotated[bool, typer.Option("--all", help=f"List all, not only the first {view.MOST_LINES}.")]
Lower = Annotated[
    bool,
    typer.Option("--lower", help="Also recompute windows with fewer raw rows than when they were proved."),
]


@app.command()
@with_settings
@with_tasks
def gaps(
    *,
    start: Start = "30d",
    stop: Stop = None,
    all_: All = False,
    format_: Form = TABLE,
    tasks: Tasks,
    quiet: bool,
) -> None:
    """List windows that do not match raw data: missing, short, too high, or with rows of other writers.

    Exit code 5 if there are any.
    """
    span = span_of(start, stop, tasks.settings.tz)
    ledgers = [(task, task.gaps(*span)) for task in tasks.each]
    if format_ == JSON:
        view.print_json(tasks.joined([view.ledger_json(ledger) for _, ledger in ledgers]))
    else:
        rows = [
            (*([task.spec.what.value] * len(tasks.side_column)), *cells)
            for task, ledger in ledgers
            for cells in view.gap_cells(ledger, task.spec.width)
        ]
        if rows:
            view.print_table(
                (*tasks.side_column, "from", "to", "windows", ""), rows[: None if all_ else view.MOST_LINES]
            )
        if len(rows) > view.MOST_LINES and not all_:
            typer.echo(f"{len(rows):,} ranges of windows; the first {view.MOST_LINES} are shown, --all lists them")
    if not quiet:
        for task, ledger in ledgers:
            view.note_ledger(ledger, partial(tasks.of, task))
    end(any(ledger.state == "gaps" for _, ledger in ledgers))


@app.command()
@with_settings
@with_tasks
def backfill(*, start: Start = "30d", stop: Stop = None, tasks: Tasks, quiet: bool) -> None:
    """Fill windows that are missing or short. After an interruption, run the command again to continue."""
    span = span_of(start, stop, tasks.settings.tz)

    def fill(task: Task) -> None:
        with view.progress(tasks.of(task, "backfill"), quiet) as report:
            ledger, rows = task.backfill(*span, report=report)
        windows = length(ledger.to_fill) // task.spec.width
        typer.echo(tasks.of(task, f"{windows:,} windows were missing or short; {rows:,} rows written"))
        if not quiet and ledger.unknown:
            view.note_unknown(ledger.unknown, ledger.raw_kept_from, partial(tasks.of, task))

    tasks.act(fill)


@app.command()
@with_settings
@with_tasks
def verify(
    *,
    start: Start = "30d",
    stop: Stop = None,
    repair: Annotated[bool, typer.Option("--repair", help="Correct differences, and verify again.")] = False,
    lower: Lower = False,
    all_: All = False,
    format_: Form = TABLE,
    tasks: Tasks,
    quiet: bool,
) -> None:
    """Compare downsampled data with raw data, by window and page. Exit code 5 if anything differs."""
    if lower and not repair:
        raise InvalidValueError("--lower is given without --repair", "Add --repair.")
    span, results = span_of(start, stop, tasks.settings.tz), []

    def check(task: Task) -> None:
        with view.progress(tasks.of(task, "verify"), quiet) as report:
            if repair:
                before, after = task.repair(*span, lower=lower, report=report)
            else:
                before = after = task.verify(*span, report=report)
        results.append((task, before.count - after.count, after))
        if format_ == TABLE:
            view.print_verification(after, partial(tasks.of, task), repaired=repair, all_differences=all_)
            if repair and before.count:
                repaired = f"{before.count - after.count} of {before.count} places were repaired"
                typer.echo(tasks.of(task, repaired))
        if not quiet and after.unknown:
            view.note_unknown(after.unknown, after.start, partial(tasks.of, task))

    tasks.act(check)
    if format_ == JSON:
        shown = [
            {**view.verification_json(after), **({"repaired": repaired} if repair else {})}
            for _, repaired, after in results
        ]
        view.print_json(tasks.joined(shown))
    end(not all(after.clean for _, _, after in results))


@app.command()
@with_settings
@with_tasks
def repair(*, lower: Lower = False, tasks: Tasks, quiet: bool) -> None:
    """Compare all windows with raw data that is still kept, and repair those that differ, such as after late rows."""

    def mend(task: Task) -> None:
        with view.progress(tasks.of(task, "repair"), quiet) as report:
            repaired = task.repair_all(lower=lower, report=report)
        upkeep = task.upkeep()
        windows = length(repaired) // task.spec.width
        typer.echo(tasks.of(task, f"{windows:,} windows were repaired"))
        if upkeep and upkeep.kept:
            note(tasks.of(task, view.kept(upkeep.kept)))

    tasks.act(mend)
