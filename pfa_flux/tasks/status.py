"""Whether downsampled data is complete. If not, since when and why."""

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
"""How many seconds a run may take from its due time until its rows are visible."""

_OVERDUE = 4
"""How many windows a server's task may write before a comparison with raw data is overdue."""

_SKEW = 30
"""How many seconds this machine's clock and the server's may differ."""


@dataclass(frozen=True, slots=True)
class Status:
    """Status of a task. Times are nanoseconds.

    Attributes:
        task: name of the task.
        backend: what runs the task.
        id: id of the task. Empty if it is not installed, or if several tasks have the name.
        plan: comparison of the spec with the installed task.
        ledger: the checked windows.
        due: end of the newest window that should exist by now.
        last_run: RFC 3339 time of the last run. Empty if no run is known.
        last_error: error of the last run. Empty if it succeeded.
        skew: how many seconds this machine's clock is ahead of the server's. Negative if it is behind.
        complete: whether no window is wrong, the installed task matches the settings, and its last run succeeded.
        summary: the status in one line.
        advice: what to do. Empty if there is nothing to do.
        upkeep: result of this machine's last comparison with raw data, or None.
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
    """Check the task, its last run, and every window since `start`.

    Args:
        rollup: the windows of the task.
        backend: what runs the task.
        start: start of the windows to check, nanoseconds.
        now: the present, nanoseconds. If the engine's clock is behind, the engine's time counts.
        upkeep: recorded result of comparing windows with raw data.
    """
    engine, spec = rollup.engine, rollup.spec
    skew = round((now - engine.now()) / NS)
    present = now - max(0, skew) * NS - _GRACE * NS
    planned = plan(engine, backend, spec)
    tasks = backend.find()
    task = tasks[0] if len(tasks) == 1 else None
    ledger = Ledger(spec.floor(start), spec.due(present), 0) if planned.make_bucket else None
    ledger = ledger or find_gaps(rollup, start, present, present)
    summary, advice = _summary(planned, ledger, task, spec, skew)
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
    "Run pfa-flux task run --due every 15 minutes, by cron or a timer. pfa-flux serve does this if its token may read "
    "the raw buckets, and read and write the rollup bucket."
)


def comparison_overdue(rollup: Rollup, now: int) -> str:
    """A sentence if the windows of a server's task were not compared with raw data for too long; otherwise empty."""
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


def _summary(planned: Plan, ledger: Ledger, task: Installed | None, spec: TaskSpec, skew: int) -> tuple[str, str]:
    """The summary in one line, and the advice."""
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
        state = "nothing to downsample yet: no raw rows"
    else:
        state = f"complete up to {format_instant(ledger.stop)}"
    if ledger.unknown:
        state += (
            f"; {ledger.unknown} windows before {format_instant(ledger.raw_kept_from)} are unknown, because raw "
            "data has expired"
        )
    return (f"{state}; {why}" if why else state), advice


_KIND_WORDS: dict[Kind, str] = {
    "missing": "missing",
    "short": "short",
    "excess": "too high",
    "foreign": "with rows of other writers",
    "wrong": "wrong by domain or page",
}


def _kinds(ledger: Ledger, spec: TaskSpec) -> str:
    counts = {kind: length(ranges) // spec.width for kind, ranges in ledger.by_kind.items()}
    return ", ".join(f"{count} {_KIND_WORDS[kind]}" for kind, count in counts.items() if count)


def _why(planned: Plan, task: Installed | None) -> tuple[str, str]:
    if planned.state in {"create", "disabled", "duplicates", "foreign", "unknown"} or planned.make_bucket:
        return planned.words, planned.advice
    if task and task.last_error:
        return f"the last run failed: {task.last_error}", failed(task.last_error).hint
    if planned.differs:
        return planned.words, planned.advice
    return "", ""
