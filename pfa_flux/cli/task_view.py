"""What the task commands show: tables, pairs, diffs, JSON and progress."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from pfa_flux.cli.options import note

if TYPE_CHECKING:
    from pfa_flux.engines.base import Span
    from pfa_flux.windows.ledger import Ledger
    from pfa_flux.windows.recompute import Progress, Report
    from pfa_flux.windows.verify import Verification


def words(span: Span) -> str:
    """A span in words."""
    return " to ".join(edges(span))


def edges(span: Span) -> tuple[str, str]:
    """A span's edges as RFC 3339 text."""
    from pfa_flux.times import format_instant

    return format_instant(span[0]), format_instant(span[1])


def note_ledger(found: Ledger) -> None:
    """Say what a ledger found, beside its table."""
    if not found.to_fill:
        note(f"no window is missing of {found.raw_windows} that have raw rows, {words((found.start, found.stop))}")
    if found.unknown:
        note_unknown(found.unknown, found.known_from)


def note_unknown(windows: int, known_from: int) -> None:
    """Say of which windows nothing can be known."""
    from pfa_flux.times import format_instant

    note(
        f"unknown: {windows} windows before {format_instant(known_from)}, of which the raw bucket no longer keeps its "
        "rows; nothing was done about them"
    )


def ledger_json(found: Ledger) -> dict[str, Any]:
    """A ledger as JSON."""
    return {
        "state": found.state,
        "start": edges((found.start, found.stop))[0],
        "stop": edges((found.start, found.stop))[1],
        "raw_windows": found.raw_windows,
        "unknown_windows": found.unknown,
        "missing": [list(edges(span)) for span in found.missing],
        "short": [list(edges(span)) for span in found.short],
    }


def verification_json(found: Verification) -> dict[str, Any]:
    """A verification as JSON."""
    from pfa_flux.times import format_instant

    start, stop = edges((found.start, found.stop))
    return {
        "clean": found.clean,
        "start": start,
        "stop": stop,
        "windows": found.windows,
        "unknown_windows": found.unknown,
        "rows": found.rows,
        "count": found.count,
        "differences": [{**asdict(each), "end": format_instant(each.end)} for each in found.differences],
    }


def print_verification(found: Verification) -> None:
    """A verification as a table and a line."""
    from pfa_flux.cli.render import plain
    from pfa_flux.times import format_instant

    span = words((found.start, found.stop))
    if found.clean:
        typer.echo(f"equal: {found.rows:,} rows of {found.windows:,} windows, {span}")
        return
    tags = tuple(found.differences[0].tags)
    print_table(
        ("window's end", *tags, "raw", "downsampled", "why"),
        [
            (
                format_instant(each.end),
                *(plain(value) for value in each.tags.values()),
                f"{each.raw}",
                "none" if each.rollup is None else f"{each.rollup}",
                plain(each.reason),
            )
            for each in found.differences
        ],
    )
    more = found.count - len(found.differences)
    typer.echo(
        f"{found.count} places differ in {found.windows} windows, {span}"
        + (f" ({more} more are not shown)" if more else "")
    )
    note("pfa-flux task verify --repair makes them what the raw data says")


def print_json(value: object) -> None:
    """Any value as JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_pairs(values: dict[str, str]) -> None:
    """Names and values, a line each."""
    from rich.table import Table

    from pfa_flux.cli import render

    shown = render.console()
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in values.items():
        made.add_row(name, render.escaped(value))
    shown.print(made)


def print_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; texts from data do nothing to the terminal."""
    from pfa_flux.cli import render

    shown = render.console()
    made = render.empty(shown)
    for name in names:
        number = name in {"windows", "raw", "downsampled", "points"}
        made.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=number or name in _WHOLE)
    for row in rows:
        made.add_row(*map(render.escaped, row))
    shown.print(made)


_WHOLE = {"window's end", "from", "to", "windows up to", "status", "scheme", "refused", "kept until"}
"""Columns that are not broken on a narrow terminal."""


def print_diff(lines: Sequence[str]) -> None:
    """Lines of a unified diff, in colour on a terminal."""
    from pfa_flux.cli import render

    shown, styles = render.console(), {"+": "green", "-": "red", "@": "cyan"}
    for line in lines:
        shown.print(render.escaped(line), style=styles.get(line[:1]), soft_wrap=True)


@contextmanager
def progress(name: str, quiet: bool) -> Iterator[Report]:
    """A progress bar with an estimate on a terminal, a line now and then in a log."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    from pfa_flux.cli import render

    errors = render.console(sys.stderr)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("windows,"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=errors, disable=quiet or not errors.is_terminal) as bars:
        bar = bars.add_task(name, total=None)
        say: Callable[[str], None] = note if not quiet else lambda _: None

        def report(now: Progress) -> None:
            waiting = f"{name}: the server is busy, waiting {now.waiting:.0f} s"
            bars.update(bar, completed=now.done, total=now.total, description=waiting if now.waiting else name)
            if now.waiting and not errors.is_terminal:
                say(waiting)

        yield report
