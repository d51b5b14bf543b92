"""Checks of everything between the settings and a right figure, each with what to do where it fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Literal

from pfa_flux.analytics import Analytics, connect
from pfa_flux.doctor.roles import look as look_at_roles
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
"""Age up to which a task may wait for the first hit ever, and a store that deletes nothing is not measured again."""
_WAITING = 300 * NS
"""Age from which a hit has waited too long: batches leave every few seconds."""


def examine(settings: Settings, now: int) -> tuple[list[Check], PfaFluxError | None]:
    """Look at everything that the settings lead to.

    Args:
        settings: the settings.
        now: the present, nanoseconds.

    Returns:
        The checks, and the error that kept the engine from being reached at all, None where it was reached.
    """
    try:
        analytics = connect(settings)
    except PfaFluxError as error:
        name = "access" if isinstance(error, AccessDeniedError) else "engine"
        first = Check(name, "failed", error.message, error.hint)
        return [first, *_guarded("write_url", lambda: _relay(settings)), *_own(settings, now)], error
    with analytics:
        own = analytics.engine.checks(settings)
        # What can be read comes before what can be written.
        reads = [name for name in own if not name.startswith("write")]
        remote = not analytics.engine.capabilities.in_process
        looks: dict[str, Callable[[], list[Check]]] = {
            **{name: own[name] for name in reads[:1]},
            **({"token": lambda: [look_at_roles(analytics)]} if remote else {}),
            **{name: own[name] for name in reads[1:]},
            "read raw": lambda: _read_raw(analytics, now),
            "newest load": lambda: _newest_load(analytics, now),
            **{name: own[name] for name in own if name not in reads},
            "store": lambda: _store(analytics, now),
            **{_name("task", side): partial(_task, analytics, side, now) for side in settings.task.sides},
            "raw rows": lambda: _raw_rows(analytics),
        }
        checks: list[Check] = []
        for name, look in looks.items():
            checks += _guarded(
                name, look, enough=any(each.name == "token" and each.status != "failed" for each in checks)
            )
    return [*checks, *_guarded("write_url", lambda: _relay(settings)), *_own(settings, now)], None


def _guarded(name: str, look: Callable[[], list[Check]], *, enough: bool = False) -> list[Check]:
    """A check that breaks is a check that failed.

    What the token may not do was not looked at, if the token is enough for something.
    """
    try:
        return look()
    except AccessDeniedError as error:
        return [Check(name, "skipped" if enough else "failed", error.message, error.hint)]
    except PfaFluxError as error:
        return [Check(name, "failed", error.message, error.hint)]


def _read_raw(analytics: Analytics, now: int) -> list[Check]:
    newest = analytics.task().rollup.newest_raw(now - _RECENT, now)
    allowed = [Check("read raw", "ok", "allowed")] if analytics.settings.url else []
    if newest is not None:
        found = f"{format_instant(newest // NS * NS)} ({_age(now - newest)} ago)"
        return [*allowed, Check("newest hit", "ok", found)]
    since = _waiting_since(analytics, now)
    if since is not None:
        found = f"waiting for the first hit, for {_age(now - since)}; to send one: {_try(analytics.settings)}"
        return [*allowed, Check("newest hit", "ok", found)]
    advice = (
        "Is the pixel on the pages, and does it write to this bucket? This has to show 200 and no X-Pfa-Flux: "
        f"{_try(analytics.settings)}"
    )
    return [*allowed, Check("newest hit", "warning", "none in the last 30 days", advice)]


def _newest_load(analytics: Analytics, now: int) -> list[Check]:
    """Whether anything counts page loads, where hits come; nothing where the settings leave loads out."""
    if Side.LOADS not in analytics.settings.task.sides:
        return []
    rollup = analytics.task(Side.LOADS).rollup
    newest = rollup.newest_raw(now - _RECENT, now)
    if newest is not None and now - newest < _WEEK:
        return [Check("newest load", "ok", f"{format_instant(newest // NS * NS)} ({_age(now - newest)} ago)")]
    if analytics.task().rollup.newest_raw(now - _WEEK, now) is None:
        return []
    found = "none has ever come" if newest is None and not rollup.has_before(now) else "none in the last 7 days"
    advice = (
        "As long as none comes, every page view counts as one without JavaScript. Let your analytics write page loads, "
        "or have the pixel count them: pfa-flux init --loads script. "
        "pfa-flux doctor https://example.com/ looks at one of them."
    )
    return [Check("newest load", "warning", f"{found}, while hits come", advice)]


def _age(ns: int) -> str:
    return format_duration(ns // (60 * NS) * 60) if ns >= 60 * NS else "less than a minute"


def _waiting_since(analytics: Analytics, now: int) -> int | None:
    """Time of the first run of a task that is new and has never seen a hit; None where the silence is no matter of age.

    The first run is the one that proves the task when it is installed.
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
    """A command that has a page view counted as a browser would, through the site's own server."""
    plain = [name for name in settings.pixel.domains if not name.startswith("*")]
    clearnet = [name for name in plain if network_of(name) == "clearnet"]
    page = f"https://{(clearnet or ['example.com'])[0]}/"
    return f"curl -so /dev/null -D - -e {page} {page.rstrip('/')}{settings.pixel.path}"


def _store(analytics: Analytics, now: int) -> list[Check]:
    """What the store does with points: measured anew if the token may write, else as it is remembered."""
    engine, bucket = analytics.engine, analytics.settings.rollup_bucket
    if engine.capabilities.in_process:
        return []
    if not engine.has_bucket(bucket):
        advice = "pfa-flux install-task makes it, and measures."
        return [Check("store", "skipped", "not measured: no rollup bucket, or the token cannot see it", advice)]
    known = remembered(engine, bucket)
    # What cannot be deleted stays, so that such a store is measured once a day at most.
    if known is None or known.deletes or now - known.at > _FRESH:
        try:
            known = check_store(engine, bucket)
        except AccessDeniedError:
            if known is None:
                advice = "Run pfa-flux doctor once with a token that may."
                return [Check("store", "skipped", "unknown: never measured, and the token may not write", advice)]
    status: Literal["failed", "warning", "ok"] = "failed" if known.faults else "warning" if known.remarks else "ok"
    advice = " ".join(words for _, words in (*known.faults, *known.remarks))
    return [Check("store", status, f"{known.words}; measured {format_instant(known.at)}", advice)]


def _name(what: str, side: Side) -> str:
    """What a check of a task is called: of hits as it is, of page loads with their word before it."""
    return what if side is Side.HITS else f"{side} {what}"


def _task(analytics: Analytics, side: Side, now: int) -> list[Check]:
    task, name = analytics.task(side), _name("task", side)
    planned = task.plan()
    if planned.state == "unknown":
        # The windows can be judged all the same.
        return [Check(name, "skipped", planned.words, planned.advice), _windows(task, now)]
    if planned.state == "create":
        # Without page loads today's figures are right all the same.
        # Of a missing bucket there is a check of its own.
        found = planned.words.removeprefix("the task is ").partition(";")[0]
        return [Check(name, "failed" if side is Side.HITS else "warning", found, planned.advice)]
    checks = [
        Check(name, "ok", f"{planned.task} ({planned.ids[0]}), run by {planned.backend}")
        if not planned.differs
        else Check(name, "warning" if planned.state == "change" else "failed", planned.words, planned.advice)
    ]
    return [*checks, _last_run(task, now), _windows(task, now)] if planned.state in {"change", "up to date"} else checks


def _windows(task: Task, now: int) -> Check:
    """Whether the windows of the last days are what raw data says, and whether anybody compares them."""
    found, name = task.gaps(now - _WEEK), _name("windows", task.spec.what)
    if found.to_mend:
        wrong = length(found.to_mend) // task.spec.width
        advice = "pfa-flux task gaps lists them, pfa-flux task repair mends them."
        return Check(name, "warning", f"{wrong} of the last 7 days are not what raw data says", advice)
    overdue = comparison_overdue(task.rollup, now)
    if overdue:
        return Check(name, "warning", overdue, COMPARE)
    return Check(name, "ok", f"those of the last 7 days are what raw data says ({found.raw_windows} with rows)")


def _last_run(task: Task, now: int) -> Check:
    found, name = task.installed(), _name("last run", task.spec.what)
    if found.last_error:
        advice = f"{failed(found.last_error).hint} For what is missing: pfa-flux task backfill."
        return Check(name, "failed", f"{found.last_run}: {found.last_error}", advice)
    if task.backend.advice:
        return _last_by_runner(name, found.last_run, task, now)
    if found.last_run:
        return Check(name, "ok", found.last_run)
    return Check(name, "ok", "none on schedule yet: the first is due within 16 minutes")


def _last_by_runner(name: str, last: str, task: Task, now: int) -> Check:
    """The runner is pfa-flux itself, so that a run that is long ago says that nobody runs it."""
    if not last:
        return Check(name, "warning", "none yet", task.backend.advice)
    age = now - parse_instant(last, now)
    if age <= 2 * task.spec.width + task.spec.offset * NS:
        return Check(name, "ok", last)
    advice = f"Nobody runs it: let pfa-flux serve run, which does. Or: {task.backend.advice}"
    return Check(name, "warning", f"{last}, {_age(age)} ago", advice)


def _raw_rows(analytics: Analytics) -> list[Check]:
    """What is uncounted or kept longer than it should be; nothing where all is well."""
    found = dict.fromkeys(words for side in BOTH for words in analytics.task(side).raw_warnings())
    advice = "Set the clock by NTP: docs/operations.md says what happens to raw rows where it is wrong."
    return [Check("raw rows", "warning", words, advice) for words in found]


def _own(settings: Settings, now: int) -> list[Check]:
    """What is on this machine."""
    return [*_pixel(settings, now), *serving(settings)]


def _pixel(settings: Settings, now: int) -> list[Check]:
    """The hits on their way, as the data directory has them; nothing where no pixel has run."""
    try:
        damaged = sorted(
            path.name for path in settings.data_dir.glob("*.damaged-*") if not path.name.endswith(("-wal", "-shm"))
        )
        spool = settings.data_dir / SPOOL_NAME
        checks = _spool(spool, now) if spool.exists() else []
    except PermissionError as error:
        advice = "Run doctor as root, or as the user that pfa-flux serve has."
        return [Check("pixel", "skipped", f"{error.filename} is not ours to read", advice)]
    if damaged:
        advice = f"What can be saved, sqlite3's .recover shows; then move them out of {settings.data_dir}."
        checks.append(Check("damaged files", "warning", f"set aside: {', '.join(damaged)}", advice))
    return checks


def _refusing(spool: sqlite3.Connection) -> str:
    """Why most hits were refused when the last ones were sent, empty where they were not."""
    if not spool.execute("SELECT 1 FROM sqlite_master WHERE name = 'outcome'").fetchone():
        # Of an older version: the next start of the pixel makes the table.
        return ""
    found = spool.execute("SELECT time, taken, refused, why FROM outcome").fetchone()
    last = Outcome(*found) if found else Outcome()
    return last.why if last.refusing else ""


def _relay(settings: Settings) -> list[Check]:
    """What takes the hits on their way to the database, and what it promises; nothing where nothing does."""
    if not settings.write_url:
        return []
    with closing(open_writer(settings)) as writer:
        writer.probe_write(settings.raw_bucket)
        found = writer.relay()
    if found:
        return [Check("write_url", "warning", f"{found} at {settings.write_url}: {RELAY_PROMISE}", RELAY_ADVICE)]
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
        advice = "Look at the log of pfa-flux serve, and at the directory's rights and free space."
        return [Check("pixel", "failed", f"{path} cannot be read: {error}", advice)]
    found = f"hits that wait for InfluxDB: {waiting:,}"
    if waiting:
        found += f", the oldest for {_age(now - oldest)}"
    checks = [Check("pixel", "ok", found)]
    if waiting and now - oldest > _WAITING:
        advice = "Does pfa-flux serve run? Its log says what InfluxDB answers. The hits are kept until it takes them."
        checks = [Check("pixel", "warning", found, advice)]
    if refusing:
        advice = "Fix it, then: pfa-flux quarantine --retry. Nothing expires from quarantine meanwhile."
        checks.append(Check("shipping", "failed", f"most hits are refused: {refusing}", advice))
    if refused:
        advice = "They are kept for 7 days. Fix what it reports, then: pfa-flux quarantine --retry"
        found = f"lines that InfluxDB refused: {refused:,} ({said_of_points(reason)})"
        checks.append(Check("quarantine", "warning", found, advice))
    return checks
