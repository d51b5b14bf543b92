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
    from pfa_flux.windows.rollup import Difference
    from pfa_flux.windows.store_check import StoreCheck
    from pfa_flux.windows.verify import Verification


def range_text(span: Span) -> str:
    """A range as text."""
    return " to ".join(edges(span))


def edges(span: Span) -> tuple[str, str]:
    """The edges of a range as RFC 3339 text."""
    from pfa_flux.times import format_instant

    return format_instant(span[0]), format_instant(span[1])


Of = Callable[[str], str]
"""Prefixes a text with its side."""


def note_ledger(ledger: Ledger, of: Of) -> None:
    """Print what the table of a ledger does not show."""
    if not ledger.to_mend:
        checked = range_text((ledger.start, ledger.stop))
        note(of(f"all {ledger.raw_windows} windows with raw rows match them, {checked}"))
    if ledger.unknown:
        note_unknown(ledger.unknown, ledger.raw_kept_from, of)


def note_store(check: StoreCheck | None) -> None:
    """Print the problems that the store check found."""
    if check is None:
        return
    if check.delay:
        note(
            f"the store shows points {check.delay:.1f} s after it confirms them. Proofs, verify and repair wait "
            "that long"
        )
    for problem, advice in check.remarks:
        note(f"warning: {problem}. {advice}")


def note_unknown(windows: int, raw_kept_from: int, of: Of) -> None:
    """Print how many windows cannot be checked."""
    from pfa_flux.times import format_instant

    note(
        of(
            f"unknown: {windows} windows before {format_instant(raw_kept_from)}, where raw data begins. They were not "
            "changed"
        )
    )


_KINDS = {"excess": "too high", "foreign": "rows of other writers", "wrong": "wrong by domain or page"}


def gap_cells(ledger: Ledger, width: int) -> list[tuple[str, ...]]:
    """Table rows for windows that do not match raw data."""
    rows = [(span, kind) for kind, ranges in ledger.by_kind.items() for span in ranges]
    return [(*edges(span), f"{(span[1] - span[0]) // width}", _KINDS.get(kind, kind)) for span, kind in sorted(rows)]


def kept(windows: int) -> str:
    """Text about windows that were left unchanged."""
    return (
        f"{windows} windows were left unchanged, because raw data has fewer rows than when they were proved. If you "
        "removed rows on purpose, recompute the windows from the remaining rows: pfa-flux task repair --lower"
    )


def proved(task: Task, proof: Proof) -> str:
    """Result of the run that proves an installation."""
    compared = range_text((proof.start, proof.stop))
    if not proof.hits:
        return f"proved: a run of {task.spec.name} for {compared} succeeded. That time has no rows to compare"
    return f"proved: {proof.hits} {task.spec.what.label} from {compared} made {proof.rows} rows, equal to the raw data"


def print_plan(plan: Plan) -> None:
    """Print a plan as pairs and a diff."""
    print_pairs(
        {
            "task": plan.task + (f" ({', '.join(plan.ids)})" if plan.ids else ""),
            "run by": plan.backend,
            "state": f"{plan.state}: {plan.words}",
            "to do": plan.advice or "nothing",
        }
    )
    print_diff(plan.diff)


def status_json(status: Status) -> dict[str, Any]:
    """A status as JSON."""
    from pfa_flux.times import format_instant

    newest, upkeep = status.ledger.newest, status.upkeep
    return {
        "task": status.task,
        "id": status.id or None,
        "backend": status.backend,
        "plan": status.plan.state,
        "complete": status.complete,
        "summary": status.summary,
        "advice": status.advice,
        "newest": None if newest is None else format_instant(newest),
        "due": format_instant(status.due),
        "last_run": status.last_run or None,
        "last_error": status.last_error or None,
        "clock_skew": status.skew,
        "mended_windows": upkeep.mended if upkeep else 0,
        "kept_windows": upkeep.kept if upkeep else 0,
        "last_compared": _second(upkeep.at) if upkeep else None,
        "last_mended": _second(upkeep.mended_at) if upkeep and upkeep.mended else None,
        **ledger_json(status.ledger),
    }


def print_status(status: Status) -> None:
    """Print a status as pairs."""
    from pfa_flux.times import format_instant

    newest = status.ledger.newest
    print_pairs(
        {
            "status": status.summary,
            "to do": status.advice or "nothing",
            "task": f"{status.task}{f' ({status.id})' if status.id else ''}, run by {status.backend}",
            "newest window": "none" if newest is None else format_instant(newest),
            "newest due": format_instant(status.due),
            "last compared": _second(status.upkeep.at) if status.upkeep else "never from this machine",
            "last run": status.last_run or "no run recorded",
            "last error": status.last_error or "none",
        }
    )


def _second(instant: int) -> str:
    from pfa_flux.times import NS, format_instant

    return format_instant(instant // NS * NS)


def ledger_json(ledger: Ledger) -> dict[str, Any]:
    """A ledger as JSON."""
    start, stop = edges((ledger.start, ledger.stop))
    return {
        "state": ledger.state,
        "start": start,
        "stop": stop,
        "raw_windows": ledger.raw_windows,
        "unknown_windows": ledger.unknown,
        **{kind: [list(edges(span)) for span in ranges] for kind, ranges in ledger.by_kind.items()},
    }


def verification_json(verification: Verification) -> dict[str, Any]:
    """A verification as JSON."""
    from pfa_flux.times import format_instant

    start, stop = edges((verification.start, verification.stop))
    return {
        "clean": verification.clean,
        "start": start,
        "stop": stop,
        "windows": verification.windows,
        "unknown_windows": verification.unknown,
        "rows": verification.rows,
        "count": verification.count,
        "differences": [{**asdict(each), "end": format_instant(each.end)} for each in verification.differences],
    }


def print_verification(
    verification: Verification, of: Of, *, repaired: bool = False, all_differences: bool = False
) -> None:
    """Print a verification: its differences as a table, by default only the first, and one line."""
    compared = range_text((verification.start, verification.stop))
    if verification.clean and not verification.windows:
        typer.echo(of("nothing was compared: no due window has raw data"))
        return
    if verification.clean:
        typer.echo(of(f"equal: {verification.rows:,} rows of {verification.windows:,} windows, {compared}"))
        return
    listed = verification.differences[: None if all_differences else MOST_LINES]
    _print_differences(listed)
    more = ""
    if verification.count > len(listed):
        more = f"; the first {len(listed):,} are shown{'' if all_differences else ', --all lists them'}"
    typer.echo(of(f"{verification.count:,} places differ in {verification.windows:,} windows, {compared}{more}"))
    note(
        "if raw data has fewer rows than when its windows were proved, --lower recomputes them from the remaining rows"
        if repaired
        else "to correct them from raw data: pfa-flux task verify --repair"
    )


def _print_differences(listed: Sequence[Difference]) -> None:
    from pfa_flux.cli.render import plain
    from pfa_flux.present.dates import short

    print_table(
        ("window's end", *listed[0].tags, "raw", "downsampled", "why"),
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


MOST_LINES = 20
"""Number of table lines that commands print by default."""

_SCRIPT = re.compile(r'(.*\bscript: )("(?:[^"\\]|\\.)*")(.*)', re.DOTALL)


def unfolded(line: str) -> list[str]:
    """A line of a log and, if it quotes a script, the lines of the script."""
    quoted = _SCRIPT.fullmatch(line)
    if quoted is None:
        return [line]
    try:
        script = json.loads(quoted[2])
    except ValueError:
        return [line]
    return [f"{quoted[1].rstrip()}{quoted[3]}", *script.splitlines()]


def print_json(value: object) -> None:
    """Print any value as JSON."""
    from pfa_flux.foreign import json_text

    typer.echo(json_text(value))


def print_pairs(pairs: dict[str, str]) -> None:
    """Print names and values, one line each."""
    from rich.table import Table

    from pfa_flux.cli import render

    shown = render.console()
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs.items():
        made.add_row(name, render.escaped(value))
    shown.print(made)


def print_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table. Text from data cannot control the terminal."""
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
"""Kinds of columns. All others hold notes."""


def print_diff(lines: Sequence[str]) -> None:
    """Print the lines of a unified diff, in colour on a terminal."""
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
