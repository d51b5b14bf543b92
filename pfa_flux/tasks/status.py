"""Whether the downsampled data is complete and, if not, since when and why."""

from __future__ import annotations

from dataclasses import dataclass

from pfa_flux.tasks.plan import Plan, plan
from pfa_flux.tasks.runners.base import Backend, Installed, failed
from pfa_flux.tasks.state import UpkeepNote
from pfa_flux.times import NS, format_duration, format_instant
from pfa_flux.windows.ledger import Kind, Ledger, find_gaps
from pfa_flux.windows.ranges import length
from pfa_flux.windows.rollup import Rollup
from pfa_flux.windows.spec import TaskSpec

_GRACE = 60
"""Seconds after a run is due that it may take to start, end and show its rows."""

_OVERDUE = 4
"""Windows after which somebody should have compared those that a server's task has made."""

_SKEW = 30
"""Seconds that our clock and the server's may differ."""


@dataclass(frozen=True, slots=True)
class Status:
    """Status of a task. Times are nanoseconds.

    Attributes:
        task: the task's name.
        backend: who runs it.
        id: its id, empty where it is not installed or there are several.
        plan: the spec held against what is installed.
        ledger: the windows that were looked at.
        due: end of the newest window that is to be there by now.
        last_run: RFC 3339 time of the last run, empty where none is known.
        last_error: what it failed with, empty where it did not.
        skew: seconds that our clock is ahead of the server's, negative where it is behind.
        complete: every window that raw data asks for is there, and the task is as it should be.
        summary: all that in one line.
        advice: what to do, empty where nothing needs doing.
        upkeep: what comparing windows with raw data has found, from this machine; None where that never was done.
    """

    task: str
    backend: str
    id: str
    plan: Plan
    ledger: Ledger
    due: int
    last_run: str
    last_error: str
    skew: int
    complete: bool
    summary: str
    advice: str
    upkeep: UpkeepNote | None = None


def status(rollup: Rollup, backend: Backend, start: int, now: int, upkeep: UpkeepNote | None = None) -> Status:
    """Look at the task, its last run, and every window since `start`.

    Args:
        rollup: the windows that the task makes.
        backend: who runs the task.
        start: start of the windows to check, nanoseconds.
        now: the present, nanoseconds; where the engine's clock is behind, its time counts.
        upkeep: what comparing windows with raw data has found.
    """
    engine, spec = rollup.engine, rollup.spec
    skew = round((now - engine.now()) / NS)
    present = now - max(0, skew) * NS - _GRACE * NS
    planned = plan(engine, backend, spec)
    found = backend.find()
    task = found[0] if len(found) == 1 else None
    ledger = Ledger(spec.floor(start), spec.due(present), 0) if planned.make_bucket else None
    ledger = ledger or find_gaps(rollup, start, present, present)
    summary, advice = _told(planned, ledger, task, spec, skew)
    overdue = "" if planned.make_bucket or planned.state == "create" else comparison_overdue(rollup, present)
    if upkeep and upkeep.mended:
        summary += f"; {upkeep.mended} windows were repaired, the last {format_instant(upkeep.mended_at // NS * NS)}"
    if overdue:
        summary, advice = f"{summary}; {overdue}", advice or COMPARE
    return Status(
        task=spec.name,
        backend=backend.name,
        id=task.id if task else "",
        plan=planned,
        ledger=ledger,
        due=spec.due(present),
        last_run=task.last_run if task else "",
        last_error=task.last_error if task else "",
        skew=skew,
        complete=ledger.state != "gaps" and not planned.differs and not (task and task.last_error),
        summary=summary,
        advice=advice,
        upkeep=upkeep,
    )


COMPARE = (
    "Run pfa-flux task run --due every 15 minutes, by cron or a timer; pfa-flux serve does it if its token may read "
    "the raw buckets, and read and write the rollup bucket."
)


def comparison_overdue(rollup: Rollup, now: int) -> str:
    """Since when nobody compares what a server's task makes with raw data, in words; empty where somebody does."""
    spec = rollup.spec
    if rollup.log is None:
        return ""
    due = spec.due(now)
    newest = rollup.log.newest(due + spec.width)
    first = rollup.oldest(due)
    if first is None or (newest is not None and newest >= due - _OVERDUE * spec.width):
        return ""
    if newest is None and first >= due - _OVERDUE * spec.width:
        return ""
    since = f"since {format_instant(newest)}" if newest is not None else "ever"
    return f"the windows have not been compared with raw data {since}, so late rows may be missing"


def _told(planned: Plan, ledger: Ledger, task: Installed | None, spec: TaskSpec, skew: int) -> tuple[str, str]:
    """The one line, and the advice."""
    why, advice = _why(planned, task)
    if abs(skew) > _SKEW:
        ahead = "ahead of" if skew > 0 else "behind"
        words = f"this machine's clock is {format_duration(abs(skew))} {ahead} the server's"
        why, advice = (f"{why}; {words}" if why else words), advice or "Synchronise the clock with NTP."
    if ledger.state == "gaps":
        windows = length(ledger.to_mend) // spec.width
        since = format_instant(ledger.since or 0)
        several = windows > 1
        if ledger.to_mend == ledger.to_fill:
            words = f"incomplete since {since}: {windows} window{'s are' if several else ' is'} missing or short"
            mend = f"pfa-flux task backfill --start {since}"
        else:
            verb = "s do" if several else " does"
            words = f"wrong since {since}: {windows} window{verb} not match raw data ({_kinds(ledger, spec)})"
            mend = f"pfa-flux task verify --repair --start {since}"
        if ledger.foreign:
            advice += " Another program writes rows to the rollup bucket: find it, and stop it."
        if not why:
            return f"{words}; the task works now, but does not recompute old windows", f"Run {mend}.{advice}"
        return f"{words}; {why}", f"{advice} Then {mend}.".lstrip()
    if ledger.newest is None and not ledger.raw_windows:
        there = "nothing to downsample yet: no raw rows"
    else:
        there = f"complete up to {format_instant(ledger.stop)}"
    if ledger.unknown:
        there += (
            f"; {ledger.unknown} windows before {format_instant(ledger.known_from)} are unknown, because raw data has "
            "expired"
        )
    return (f"{there}; {why}" if why else there), advice


_KIND_WORDS: dict[Kind, str] = {
    "missing": "missing",
    "short": "short",
    "excess": "too high",
    "foreign": "with rows of other writers",
    "wrong": "wrong by domain or page",
}


def _kinds(ledger: Ledger, spec: TaskSpec) -> str:
    counts = {kind: length(spans) // spec.width for kind, spans in ledger.by_kind.items()}
    return ", ".join(f"{count} {_KIND_WORDS[kind]}" for kind, count in counts.items() if count)


def _why(planned: Plan, task: Installed | None) -> tuple[str, str]:
    if planned.state in {"create", "disabled", "duplicates", "foreign", "unknown"} or planned.make_bucket:
        return planned.words, planned.advice
    if task and task.last_error:
        return f"the last run failed: {task.last_error}", failed(task.last_error).hint
    if planned.differs:
        return planned.words, planned.advice
    return "", ""
