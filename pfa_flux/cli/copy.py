"""`pfa-flux copy`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pfa_flux.cli.choices import JSON, TABLE, Form
from pfa_flux.cli.exits import TO_DO
from pfa_flux.cli.options import note, with_settings
from pfa_flux.cli.task import show as view
from pfa_flux.cli.task.sides import CreateBuckets
from pfa_flux.settings import Settings

if TYPE_CHECKING:
    from pfa_flux.copying.carry import Tally
    from pfa_flux.copying.copy import Copied, Copy, Counted, Step
    from pfa_flux.engines.base import Engine

_PAUSE = 30.0
"""Seconds between progress lines without a terminal."""


@with_settings
def copy(
    *,
    to: Annotated[Path, typer.Option("--to", help="Settings file of the target. Environment variables do not apply.")],
    start: Annotated[
        str | None, typer.Option(help="Date, month, time, or how long ago.", show_default="the first row")
    ] = None,
    stop: Annotated[
        str | None, typer.Option(help="End of the range, excluded; as --start.", show_default="the last row")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the rows of both stores, and write nothing.")
    ] = False,
    create_buckets: CreateBuckets = False,
    format_: Form = TABLE,
    settings: Settings,
    quiet: bool,
) -> None:
    """Copy raw and downsampled page views and the proofs of windows to another store, then compare both stores.

    The source is the store of your settings, and is only read. If the command is interrupted, run it again to
    continue. Rows that the target already has stay unchanged. Exit code 5 if the target lacks a row at the end.
    """
    from pfa_flux import registry
    from pfa_flux.cli.exits import NO_DATA
    from pfa_flux.copying.copy import Copy
    from pfa_flux.settings import load_target

    there = load_target(to)
    if not quiet:
        for warning in there.warnings:
            note(f"warning: {to}: {warning}")
    with closing(registry.open_engine(settings)) as source, closing(registry.open_engine(there)) as target:
        made = Copy(source, target, settings, there)
        span = made.range(*_range(start, stop, settings.tz))
        counted = made.count(*span)
        if not quiet:
            _note_left_out(made, counted)
        if not any(each.source for each in counted):
            note(f"nothing to copy: {source.address} has no rows in this range")
            raise typer.Exit(NO_DATA)
        if dry_run:
            _print_counted(counted, format_)
            return
        for bucket in made.prepare(create_buckets=create_buckets):
            note(f"created the bucket {bucket}")
        with _progress(quiet) as report:
            done = made.run(counted, *span, report)
    _print(done, source, target, format_)
    if not quiet:
        _note(done)
    if not done.clean:
        raise typer.Exit(TO_DO)


def _range(start: str | None, stop: str | None, tz: str) -> tuple[int | None, int | None]:
    from pfa_flux.errors import InvalidValueError
    from pfa_flux.times import parse_instant, time_zone

    now, zone = time.time_ns(), time_zone(tz)
    low = None if start is None else parse_instant(start, now, zone, "start")
    high = None if stop is None else parse_instant(stop, now, zone, "stop")
    if low is not None and low >= (now if high is None else high):
        raise InvalidValueError("start is not before stop", "Use a --start before --stop.")
    return low, high


def _note_left_out(made: Copy, counted: Sequence[Counted]) -> None:
    """Print what is not copied, and why."""
    from pfa_flux.times import format_instant

    if made.without_rollup:
        note("the source has no rollup bucket, or its token cannot see it, so no downsampled rows are copied")
    for each in counted:
        if each.older:
            left_out = f"{each.kind.name} before {format_instant(each.start)} are not copied"
            note(f"{left_out}: the source or the target no longer keeps all rows of that age")


def _print_counted(counted: Sequence[Counted], format_: str) -> None:
    if format_ == JSON:
        view.print_json([{"rows": each.kind.name, "source": each.source, "target": each.target} for each in counted])
        return
    rows = [(each.kind.name, f"{each.source:,}", f"{each.target:,}") for each in counted]
    view.print_table(("rows", "source", "target"), rows)


_COLUMNS = ("source", "written", "equal", "missing", "different", "own")


def _print(done: Copied, source: Engine, target: Engine, format_: str) -> None:
    if format_ == JSON:
        view.print_json(_json(done, source, target))
        return
    rows = [
        (each.kind.name, *(f"{getattr(tally, name):,}" for name in _COLUMNS))
        for each, tally in zip(done.counted, done.tallies, strict=True)
    ]
    view.print_table(("rows", *_COLUMNS), rows)
    if done.clean:
        typer.echo(f"{target.address} has all {done.rows:,} rows")


def _json(done: Copied, source: Engine, target: Engine) -> dict[str, Any]:
    from dataclasses import asdict

    from pfa_flux.times import format_instant

    return {
        "source": source.address,
        "target": target.address,
        "start": format_instant(done.start),
        "stop": format_instant(done.stop),
        "equal": done.clean,
        "recomputed_windows": done.recomputed,
        "proved_windows": done.proved,
        "kinds": [
            {"rows": each.kind.name, "from": format_instant(each.start), "counts": asdict(tally)}
            for each, tally in zip(done.counted, done.tallies, strict=True)
        ],
    }


def _note(done: Copied) -> None:
    """Print notes about the result."""
    for each, tally in zip(done.counted, done.tallies, strict=True):
        for remark in _remarks(tally):
            note(f"{each.kind.name}: {remark}")
    if done.recomputed:
        note(f"{done.recomputed:,} windows were recomputed in the target, because both stores counted in them")


def _remarks(tally: Tally) -> Iterator[str]:
    if tally.own:
        yield f"the target has {tally.own:,} rows of its own in this range; they stay"
    if tally.retyped:
        yield f"{tally.retyped:,} values are stored with another type, because a shard has one type for each field"
    if tally.refused:
        yield f"the target cannot store {tally.refused:,} rows. The first reason: {tally.reason}"
    if tally.different:
        yield (
            f"{tally.different:,} rows have another value in the target, which stays: "
            "remove the wrong rows, then copy again"
        )
    if tally.twice:
        yield (
            f"{tally.twice:,} rows exist twice in the source, with the same tags and time: "
            "run pfa-flux task verify --repair there, then copy again"
        )


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[Step], None]]:
    """A progress bar on a terminal, occasional lines in a log."""
    import sys

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from pfa_flux.cli import render

    errors = render.console(sys.stderr)
    last, last_line = time.monotonic(), ""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("rows,")
    with Progress(*columns, TimeRemainingColumn(), console=errors, disable=quiet or not errors.is_terminal) as bars:
        bar = bars.add_task("copying", total=None)

        def report(step: Step) -> None:
            nonlocal last, last_line
            line = f"{step.doing} {step.kind}"
            if step.waiting:
                line = f"{line}: the server is busy, waiting {step.waiting:.0f} s"
            bars.update(bar, completed=step.done, total=step.total, description=line)
            if quiet or errors.is_terminal:
                return
            if step.waiting or last_line != line or time.monotonic() - last > _PAUSE:
                note(f"{line}: {step.done:,} of {step.total:,} rows")
                last, last_line = time.monotonic(), line

        yield report
