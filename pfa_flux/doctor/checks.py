"""Checks of everything from the settings to a correct figure. Each failed check says what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Literal

from pfa_flux.analytics import Analytics, connect
from pfa_flux.doctor.roles import check_roles
from pfa_flux.doctor.serving import serving
from pfa_flux.engines.base import Check
from pfa_flux.engines.directory import connect as connect_to
from pfa_flux.errors import AccessDeniedError, PfaFluxError
from pfa_flux.foreign import said_of_points
from pfa_flux.journal.notes import Outcome
from pfa_flux.journal.spool import SPOOL_NAME
from pfa_flux.registry import RELAY_ADVICE, RELAY_PROMISE, open_writer
from pfa_flux.schema import BOTH, Side, network_of
from pfa_flux.settings import Settings
from pfa_flux.tasks.runners.base import failed
from pfa_flux.tasks.status import COMPARE, comparison_overdue
from pfa_flux.tasks.task import Task
from pfa_flux.times import NS, format_duration, format_instant, parse_instant
from pfa_flux.windows.ranges import length
from pfa_flux.windows.store_check import check_store, remembered

_RECENT = 30 * 86400 * NS
_WEEK = 7 * 86400 * NS
_FRESH = 86400 * NS
"""A new task may wait this long for its first hit. A store that deletes nothing is measured again only after it."""
_WAITING = 300 * NS
"""Age from which a waiting hit is a problem. Batches leave every few seconds."""


def examine(settings: Settings, now: int) -> tuple[list[Check], PfaFluxError | None]:
    """Check everything that the settings name.

    Args:
        settings: the settings.
        now: the current time, nanoseconds.

    Returns:
        The checks, and the error that prevented a connection to the engine; None if it was reached.
    """
    try:
        analytics = connect(settings)
    except PfaFluxError as error:
        name = "access" if isinstance(error, AccessDeniedError) else "engine"
        first = Check(name, "failed", error.message, error.hint)
        return [first, *_guarded("write_url", lambda: _relay(settings)), *_own(settings, now)], error
    with analytics:
        own = analytics.engine.checks(settings)
        # Checks of reading come before checks of writing.
        reads = [name for name in own if not name.startswith("write")]
        remote = not analytics.engine.capabilities.in_process
        checks_by_name: dict[str, Callable[[], list[Check]]] = {
            **{name: own[name] for name in reads[:1]},
            **({"token": lambda: [check_roles(analytics)]} if remote else {}),
            **{name: own[name] for name in reads[1:]},
            "read raw": lambda: _read_raw(analytics, now),
            "newest load": lambda: _newest_load(analytics, now),
            **{name: own[name] for name in own if name not in reads},
            "store": lambda: _store(analytics, now),
            **{_name("task", side): partial(_task, analytics, side, now) for side in settings.task.sides},
            "raw rows": lambda: _raw_rows(analytics),
        }
        checks: list[Check] = []
        for name, check in checks_by_name.items():
            checks += _guarded(
                name, check, enough=any(each.name == "token" and each.status != "failed" for each in checks)
            )
    return [*checks, *_guarded("write_url", lambda: _relay(settings)), *_own(settings, now)], None


def _guarded(name: str, check: Callable[[], list[Check]], *, enough: bool = False) -> list[Check]:
    """Run a check. An error becomes a failed check.

    If the token is enough for some role, a check that needs more rights is skipped instead.
    """
    try:
        return check()
    except AccessDeniedError as error:
        return [Check(name, "skipped" if enough else "failed", error.message, error.hint)]
    except PfaFluxError as error:
        return [Check(name, "failed", error.message, error.hint)]


def _read_raw(analytics: Analytics, now: int) -> list[Check]:
    newest = analytics.task().rollup.newest_raw(now - _RECENT, now)
    allowed = [Check("read raw", "ok", "allowed")] if analytics.settings.url else []
    if newest is not None:
        moment = f"{format_instant(newest // NS * NS)} ({_age(now - newest)} ago)"
        return [*allowed, Check("newest hit", "ok", moment)]
    since = _waiting_since(analytics, now)
    if since is not None:
        waiting = f"waiting for the first hit, for {_age(now - since)}. To send one: {_try(analytics.settings)}"
        return [*allowed, Check("newest hit", "ok", waiting)]
    advice = (
        "Is the pixel on the pages, and does it write to this bucket? This must show 200 and no X-Pfa-Flux: "
        f"{_try(analytics.settings)}"
    )
    return [*allowed, Check("newest hit", "warning", "none in the last 30 days", advice)]


def _newest_load(analytics: Analytics, now: int) -> list[Check]:
    """Whether anything counts page loads. Checked only if hits arrive and the settings include loads."""
    if Side.LOADS not in analytics.settings.task.sides:
        return []
    rollup = analytics.task(Side.LOADS).rollup
    newest = rollup.newest_raw(now - _RECENT, now)
    if newest is not None and now - newest < _WEEK:
        return [Check("newest load", "ok", f"{format_instant(newest // NS * NS)} ({_age(now - newest)} ago)")]
    if analytics.task().rollup.newest_raw(now - _WEEK, now) is None:
        return []
    missing = "none ever" if newest is None and not rollup.has_before(now) else "none in the last 7 days"
    advice = (
        "Without page loads, every page view counts as one without JavaScript. Let your analytics write page loads, "
        "or let the pixel count them: pfa-flux init --loads script. "
        "To check a page: pfa-flux doctor https://example.com/"
    )
    return [Check("newest load", "warning", f"{missing}, although hits arrive", advice)]


def _age(ns: int) -> str:
    return format_duration(ns // (60 * NS) * 60) if ns >= 60 * NS else "less than a minute"


def _waiting_since(analytics: Analytics, now: int) -> int | None:
    """Time of the first run of a new task that has never seen a hit; None if the task is not new.

    The first run is the one that proves the task at its installation.
    """
    try:
        task = analytics.task()
        if task.plan().state != "up to date" or task.rollup.has_before(now):
            return None
        started = [parse_instant(run.started, now) for run in task.runs(500) if run.started]
    except PfaFluxError:
        return None
    return min(started) if started and now - min(started) < _FRESH else None


def _try(settings: Settings) -> str:
    """A command that counts a page view as a browser would, through the site's own server."""
    plain = [name for name in settings.pixel.domains if not name.startswith("*")]
    clearnet = [name for name in plain if network_of(name) == "clearnet"]
    page = f"https://{(clearnet or ['example.com'])[0]}/"
    return f"curl -so /dev/null -D - -e {page} {page.rstrip('/')}{settings.pixel.path}"


def _store(analytics: Analytics, now: int) -> list[Check]:
    """How the store treats points. Measured again if the token may write, otherwise the last result."""
    engine, bucket = analytics.engine, analytics.settings.rollup_bucket
    if engine.capabilities.in_process:
        return []
    if not engine.has_bucket(bucket):
        advice = "pfa-flux install-task creates it, and measures."
        return [Check("store", "skipped", "not measured: no rollup bucket, or the token cannot see it", advice)]
    known = remembered(engine, bucket)
    # Points in a store that deletes nothing stay, so it is measured at most once a day.
    if known is None or known.deletes or now - known.at > _FRESH:
        try:
            known = check_store(engine, bucket)
        except AccessDeniedError:
            if known is None:
                advice = "Run pfa-flux doctor once with a token that may write."
                return [Check("store", "skipped", "unknown: never measured, and the token cannot write", advice)]
    status: Literal["failed", "warning", "ok"] = "failed" if known.faults else "warning" if known.remarks else "ok"
    advice = " ".join(words for _, words in (*known.faults, *known.remarks))
    return [Check("store", status, f"{known.words}; measured {format_instant(known.at)}", advice)]


def _name(what: str, side: Side) -> str:
    """Name of a check of a task. For page loads, their side comes first."""
    return what if side is Side.HITS else f"{side} {what}"


def _task(analytics: Analytics, side: Side, now: int) -> list[Check]:
    task, name = analytics.task(side), _name("task", side)
    planned = task.plan()
    if planned.state == "unknown":
        # The windows can be checked anyway.
        return [Check(name, "skipped", planned.words, planned.advice), _windows(task, now)]
    if planned.state == "create":
        # Without the task of page loads, today's figures are still correct. A missing bucket has its own check.
        missing = planned.words.removeprefix("the task is ").partition(";")[0]
        return [Check(name, "failed" if side is Side.HITS else "warning", missing, planned.advice)]
    checks = [
        Check(name, "ok", f"{planned.task} ({planned.ids[0]}), run by {planned.backend}")
        if not planned.differs
        else Check(name, "warning" if planned.state == "change" else "failed", planned.words, planned.advice)
    ]
    return [*checks, _last_run(task, now), _windows(task, now)] if planned.state in {"change", "up to date"} else checks


def _windows(task: Task, now: int) -> Check:
    """Whether the windows of the last week match raw data, and whether anything compares them."""
    ledger, name = task.gaps(now - _WEEK), _name("windows", task.spec.what)
    if ledger.to_mend:
        wrong = length(ledger.to_mend) // task.spec.width
        advice = "To list them: pfa-flux task gaps. To repair them: pfa-flux task repair."
        return Check(name, "warning", f"{wrong} of the last 7 days do not match raw data", advice)
    overdue = comparison_overdue(task.rollup, now)
    if overdue:
        return Check(name, "warning", overdue, COMPARE)
    return Check(name, "ok", f"those of the last 7 days match raw data ({ledger.raw_windows} with rows)")


def _last_run(task: Task, now: int) -> Check:
    installed, name = task.installed(), _name("last run", task.spec.what)
    if installed.last_error:
        advice = f"{failed(installed.last_error).hint} For missing windows: pfa-flux task backfill."
        return Check(name, "failed", f"{installed.last_run}: {installed.last_error}", advice)
    if task.backend.advice:
        return _last_by_runner(name, installed.last_run, task, now)
    if installed.last_run:
        return Check(name, "ok", installed.last_run)
    return Check(name, "ok", "no scheduled run yet: the first is due within 16 minutes")


def _last_by_runner(name: str, last: str, task: Task, now: int) -> Check:
    """The last run of pfa-flux's own runner. If it is long ago, nothing starts the runner."""
    if not last:
        return Check(name, "warning", "none yet", task.backend.advice)
    age = now - parse_instant(last, now)
    if age <= 2 * task.spec.width + task.spec.offset * NS:
        return Check(name, "ok", last)
    advice = f"Nothing runs it: start pfa-flux serve, which does. Or: {task.backend.advice}"
    return Check(name, "warning", f"{last}, {_age(age)} ago", advice)


def _raw_rows(analytics: Analytics) -> list[Check]:
    """Warnings about raw rows that are not counted, or kept longer than they should be."""
    warnings = dict.fromkeys(warning for side in BOTH for warning in analytics.task(side).raw_warnings())
    advice = "Set the clock by NTP. docs/retention.md says what happens to raw rows if the clock is wrong."
    return [Check("raw rows", "warning", warning, advice) for warning in warnings]


def _own(settings: Settings, now: int) -> list[Check]:
    """Checks of this machine."""
    return [*_pixel(settings, now), *serving(settings)]


def _pixel(settings: Settings, now: int) -> list[Check]:
    """Checks of the data directory: waiting hits and damaged files. None if no pixel has run."""
    try:
        damaged = sorted(
            path.name for path in settings.data_dir.glob("*.damaged-*") if not path.name.endswith(("-wal", "-shm"))
        )
        spool = settings.data_dir / SPOOL_NAME
        checks = _spool(spool, now) if spool.exists() else []
    except PermissionError as error:
        advice = "Run doctor as root, or as the user that pfa-flux serve has."
        return [Check("pixel", "skipped", f"you may not read {error.filename}", advice)]
    if damaged:
        advice = f"Recover their content with sqlite3's .recover, then move them out of {settings.data_dir}."
        checks.append(Check("damaged files", "warning", f"renamed: {', '.join(damaged)}", advice))
    return checks


def _refusing(spool: sqlite3.Connection) -> str:
    """The reason if most of the last hits were refused; empty if not."""
    if not spool.execute("SELECT 1 FROM sqlite_master WHERE name = 'outcome'").fetchone():
        # The file is from an older version. The pixel creates the table when it next starts.
        return ""
    row = spool.execute("SELECT time, taken, refused, why FROM outcome").fetchone()
    last = Outcome(*row) if row else Outcome()
    return last.why if last.refusing else ""


def _relay(settings: Settings) -> list[Check]:
    """Whether a relay takes hits before the database, and what it promises. None without `write_url`."""
    if not settings.write_url:
        return []
    with closing(open_writer(settings)) as writer:
        writer.probe_write(settings.raw_bucket)
        relay = writer.relay()
    if relay:
        return [Check("write_url", "warning", f"{relay} at {settings.write_url}: {RELAY_PROMISE}", RELAY_ADVICE)]
    return [Check("write_url", "ok", f"{settings.write_url} takes writes")]


def _spool(path: Path, now: int) -> list[Check]:
    try:
        with closing(connect_to(path, "ro", timeout=5)) as spool:
            waiting, oldest = spool.execute(
                "SELECT coalesce(sum(length(pages) / 4), 0), min(time) FROM turn"
            ).fetchone()
            refusing = _refusing(spool)
            refused, reason = spool.execute("SELECT coalesce(sum(count), 0), max(reason) FROM quarantine").fetchone()
    except sqlite3.Error as error:
        advice = "Read the log of pfa-flux serve. Check the directory's permissions and free space."
        return [Check("pixel", "failed", f"{path} cannot be read: {error}", advice)]
    state = f"hits waiting for InfluxDB: {waiting:,}"
    if waiting:
        state += f", the oldest for {_age(now - oldest)}"
    checks = [Check("pixel", "ok", state)]
    if waiting and now - oldest > _WAITING:
        advice = (
            "Does pfa-flux serve run? Its log shows InfluxDB's answers. The hits are kept until InfluxDB accepts them."
        )
        checks = [Check("pixel", "warning", state, advice)]
    if refusing:
        advice = "Fix the cause, then: pfa-flux quarantine --retry. Until then, nothing expires from quarantine."
        checks.append(Check("shipping", "failed", f"InfluxDB refuses most hits: {refusing}", advice))
    if refused:
        advice = "They are kept for 7 days. Fix the cause, then: pfa-flux quarantine --retry"
        state = f"points that InfluxDB refused: {refused:,} ({said_of_points(reason)})"
        checks.append(Check("quarantine", "warning", state, advice))
    return checks
