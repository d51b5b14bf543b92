"""Output of the task commands: tables, pairs, diffs, JSON and progress."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC
from typing import TYPE_CHECKING, Any

import typer

from pfa_flux.cli.options import note

if TYPE_CHECKING:
    from pfa_flux.engines.base import Span
    from pfa_flux.present.sheet import Kind
    from pfa_flux.tasks.install import Proof
    from pfa_flux.tasks.plan import Plan
    from pfa_flux.tasks.status import Status
    from pfa_flux.tasks.task import Task
    from pfa_flux.windows.ledger import Ledger
    from pfa_flux.windows.recompute import Progress, Report
    from pfa_flux.windows.store_check import StoreCheck
    from pfa_flux.windows.verify import Verification


def words(span: Span) -> str:
    """A span as text."""
    return " to ".join(edges(span))


def edges(span: Span) -> tuple[str, str]:
    """A span's edges as RFC 3339 text."""
    from pfa_flux.times import format_instant

    return format_instant(span[0]), format_instant(span[1])


Of = Callable[[str], str]
"""Prefixes text with its side."""


def note_ledger(found: Ledger, of: Of) -> None:
    """Print the result of a ledger, in addition to its table."""
    if not found.to_mend:
        span = words((found.start, found.stop))
        note(of(f"all {found.raw_windows} windows with raw rows match them, {span}"))
    if found.unknown:
        note_unknown(found.unknown, found.known_from, of)


def note_store(found: StoreCheck | None) -> None:
    """Print what the store test found; nothing if the store does everything right, at once."""
    if found is None:
        return
    if found.delay:
        note(
            f"the store shows points {found.delay:.1f} s after it confirms them; proofs, verify and repair wait for "
            "that"
        )
    for words, advice in found.remarks:
        note(f"warning: {words}. {advice}")


def note_unknown(windows: int, known_from: int, of: Of) -> None:
    """Print which windows cannot be checked."""
    from pfa_flux.times import format_instant

    note(
        of(
            f"unknown: {windows} windows before {format_instant(known_from)}, where raw data begins; they were left "
            "alone"
        )
    )


_KINDS = {"excess": "too high", "foreign": "rows of other writers", "wrong": "wrong by domain or page"}


def gap_cells(found: Ledger, width: int) -> list[tuple[str, ...]]:
    """Table rows for windows that do not match raw data."""
    rows = [(span, kind) for kind, spans in found.by_kind.items() for span in spans]
    return [(*edges(span), f"{(span[1] - span[0]) // width}", _KINDS.get(kind, kind)) for span, kind in sorted(rows)]


def kept(windows: int) -> str:
    """Text about windows that were left unchanged."""
    return (
        f"{windows} windows were left unchanged: raw data has fewer rows than when they were proved. If you removed "
        "rows on purpose, recompute the windows from what is left: pfa-flux task repair --lower"
    )


def proved(task: Task, proof: Proof) -> str:
    """Result of the proving run of an installation."""
    span = words((proof.start, proof.stop))
    if not proof.hits:
        return f"proved: a run of {task.spec.name} for {span} succeeded; that time has no rows to compare"
    return f"proved: {proof.hits} {task.spec.what.label} from {span} made {proof.rows} rows, equal to the raw data"


def print_plan(found: Plan) -> None:
    """A plan as pairs and a diff."""
    print_pairs(
        {
            "task": found.task + (f" ({', '.join(found.ids)})" if found.ids else ""),
            "run by": found.backend,
            "state": f"{found.state}: {found.words}",
            "to do": found.advice or "nothing",
        }
    )
    print_diff(found.diff)


def status_json(found: Status) -> dict[str, Any]:
    """A status as JSON."""
    from pfa_flux.times import format_instant

    newest = found.ledger.newest
    return {
        "task": found.task,
        "id": found.id or None,
        "backend": found.backend,
        "plan": found.plan.state,
        "complete": found.complete,
        "summary": found.summary,
        "advice": found.advice,
        "newest": None if newest is None else format_instant(newest),
        "due": format_instant(found.due),
        "last_run": found.last_run or None,
        "last_error": found.last_error or None,
        "clock_skew": found.skew,
        "mended_windows": found.upkeep.mended if found.upkeep else 0,
        "kept_windows": found.upkeep.kept if found.upkeep else 0,
        "last_compared": _second(found.upkeep.at) if found.upkeep else None,
        "last_mended": _second(found.upkeep.mended_at) if found.upkeep and found.upkeep.mended else None,
        **ledger_json(found.ledger),
    }


def print_status(found: Status) -> None:
    """A status as pairs."""
    from pfa_flux.times import format_instant

    newest = found.ledger.newest
    print_pairs(
        {
            "status": found.summary,
            "to do": found.advice or "nothing",
            "task": f"{found.task}{f' ({found.id})' if found.id else ''}, run by {found.backend}",
            "newest window": "none" if newest is None else format_instant(newest),
            "newest due": format_instant(found.due),
            "last compared": _second(found.upkeep.at) if found.upkeep else "never from this machine",
            "last run": found.last_run or "no run recorded",
            "last error": found.last_error or "none",
        }
    )


def _second(instant: int) -> str:
    from pfa_flux.times import NS, format_instant

    return format_instant(instant // NS * NS)


def ledger_json(found: Ledger) -> dict[str, Any]:
    """A ledger as JSON."""
    return {
        "state": found.state,
        "start": edges((found.start, found.stop))[0],
        "stop": edges((found.start, found.stop))[1],
        "raw_windows": found.raw_windows,
        "unknown_windows": found.unknown,
        **{kind: [list(edges(span)) for span in spans] for kind, spans in found.by_kind.items()},
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


def print_verification(found: Verification, of: Of, *, repaired: bool = False, whole: bool = False) -> None:
    """A verification as a table, by default of the first places, and one line."""
    from pfa_flux.cli.render import plain
    from pfa_flux.present.dates import short

    span = words((found.start, found.stop))
    if found.clean and not found.windows:
        typer.echo(of("nothing was compared: no window that is due has raw data"))
        return
    if found.clean:
        typer.echo(of(f"equal: {found.rows:,} rows of {found.windows:,} windows, {span}"))
        return
    listed = found.differences[: None if whole else MOST_LINES]
    tags = tuple(listed[0].tags)
    print_table(
        ("window's end", *tags, "raw", "downsampled", "why"),
        [
            (
                end,
                *(plain(value) for value in each.tags.values()),
                f"{each.raw}",
                "none" if each.rollup is None else f"{each.rollup}",
                plain(each.reason),
            )
            for end, each in zip(short([each.end for each in listed], UTC), listed, strict=True)
        ],
    )
    all_of_them = "" if whole else ", --all lists them"
    more = f"; the first {len(listed):,} are shown{all_of_them}" if found.count > len(listed) else ""
    typer.echo(of(f"{found.count:,} places differ in {found.windows:,} windows, {span}{more}"))
    note(
        "if raw data has fewer rows than when its windows were proved, --lower recomputes them from what is left"
        if repaired
        else "to correct them from raw data: pfa-flux task verify --repair"
    )


MOST_LINES = 20
"""Number of table lines that commands print by default."""

_SCRIPT = re.compile(r'(.*\bscript: )("(?:[^"\\]|\\.)*")(.*)', re.DOTALL)


def unfolded(line: str) -> list[str]:
    """A line of a log and, if it quotes a script, the lines of the script."""
    found = _SCRIPT.fullmatch(line)
    if found is None:
        return [line]
    try:
        script = json.loads(found[2])
    except ValueError:
        return [line]
    return [f"{found[1].rstrip()}{found[3]}", *script.splitlines()]


def print_json(value: object) -> None:
    """Any value as JSON."""
    from pfa_flux.foreign import json_text

    typer.echo(json_text(value))


def print_pairs(values: dict[str, str]) -> None:
    """Names and values, one line each."""
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
    """A table; text from data cannot control the terminal."""
    from pfa_flux.cli import render
    from pfa_flux.present.sheet import Column, Sheet

    shown = render.console()
    columns = [Column(name, _KINDS_OF_COLUMNS.get(name, "note"), int(name == "scheme")) for name in names]
    shown.print(render.table(shown, Sheet(columns, rows)))


_KINDS_OF_COLUMNS: dict[str, Kind] = {
    **dict.fromkeys(("windows", "raw", "downsampled", "points"), "number"),
    **dict.fromkeys(("source", "target", "written", "equal", "missing", "different", "own"), "number"),
    **dict.fromkeys(("domain", "page"), "key"),
    **dict.fromkeys(("window's end", "side", "from", "to", "windows up to", "status", "scheme"), "word"),
    **dict.fromkeys(("refused", "kept until", "rows"), "word"),
}
"""Kinds of columns; other columns have notes."""


def print_diff(lines: Sequence[str]) -> None:
    """Lines of a unified diff, in colour on a terminal."""
    from pfa_flux.cli import render

    shown, styles = render.console(), {"+": "green", "-": "red", "@": "cyan"}
    for line in lines:
        shown.print(render.escaped(line), style=styles.get(line[:1]), soft_wrap=True)


@contextmanager
def progress(name: str, quiet: bool) -> Iterator[Report]:
    """A progress bar with an estimate on a terminal, occasional lines in a log."""
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
