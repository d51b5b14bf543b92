"""Checks of everything between the settings and a right figure, each with what to do where it fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from pfa_flux.analytics import Analytics, connect
from pfa_flux.engines.base import Check
from pfa_flux.errors import AccessDeniedError, PfaFluxError
from pfa_flux.hits.spool import SPOOL_NAME
from pfa_flux.schema import BOTH
from pfa_flux.settings import Settings
from pfa_flux.tasks.task import Task
from pfa_flux.times import NS, format_duration, format_instant, parse_instant

_RECENT = 30 * 86400 * NS
_FRESH = 86400 * NS
"""Age up to which a task may wait for the first hit ever."""
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
        return [Check(name, "failed", error.message, error.hint), *_pixel(settings, now)], error
    with analytics:
        own = analytics.engine.checks(settings)
        # What can be read comes before what can be written.
        reads = [name for name in own if not name.startswith("write")]
        looks: dict[str, Callable[[], list[Check]]] = {
            **{name: own[name] for name in reads},
            "read raw": lambda: _read_raw(analytics, now),
            **{name: own[name] for name in own if name not in reads},
            "task": lambda: _task(analytics, now),
            "raw rows": lambda: _raw_rows(analytics),
        }
        checks = [check for name, look in looks.items() for check in _guarded(name, look)]
    return [*checks, *_pixel(settings, now)], None


def _guarded(name: str, look: Callable[[], list[Check]]) -> list[Check]:
    """A check that breaks is a check that failed."""
    try:
        return look()
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
    clearnet = [name for name in plain if not name.endswith((".onion", ".i2p"))]
    page = f"https://{(clearnet or ['example.com'])[0]}/"
    return f"curl -so /dev/null -D - -e {page} {page.rstrip('/')}{settings.pixel.path}"


def _task(analytics: Analytics, now: int) -> list[Check]:
    task = analytics.task()
    planned = task.plan()
    if planned.state == "create":
        return [Check("task", "failed", "not installed", planned.advice)]
    checks = [
        Check("task", "ok", f"{planned.task} ({planned.ids[0]}), run by {planned.backend}")
        if not planned.differs
        else Check("task", "warning" if planned.state == "change" else "failed", planned.words, planned.advice)
    ]
    return [*checks, _last_run(task, now)] if planned.state in {"change", "up to date"} else checks


def _last_run(task: Task, now: int) -> Check:
    found = task.installed()
    if found.last_error:
        advice = "Mend what it says, then run pfa-flux task backfill."
        return Check("last run", "failed", f"{found.last_run}: {found.last_error}", advice)
    if task.backend.advice:
        return _last_by_runner(found.last_run, task, now)
    if found.last_run:
        return Check("last run", "ok", found.last_run)
    return Check("last run", "ok", "none on schedule yet: the first is due within 16 minutes")


def _last_by_runner(last: str, task: Task, now: int) -> Check:
    """The runner is pfa-flux itself, so that a run that is long ago says that nobody runs it."""
    if not last:
        return Check("last run", "warning", "none yet", task.backend.advice)
    age = now - parse_instant(last, now)
    if age <= 2 * task.spec.width + task.spec.offset * NS:
        return Check("last run", "ok", last)
    advice = f"Nobody runs it: let pfa-flux serve run, which does. Or: {task.backend.advice}"
    return Check("last run", "warning", f"{last}, {_age(age)} ago", advice)


def _raw_rows(analytics: Analytics) -> list[Check]:
    """What is uncounted or kept longer than it should be; nothing where all is well."""
    found = dict.fromkeys(words for side in BOTH for words in analytics.task(side.value).raw_warnings())
    advice = "Set the clock by NTP: docs/operations.md says what happens to raw rows where it is wrong."
    return [Check("raw rows", "warning", words, advice) for words in found]


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


def _spool(path: Path, now: int) -> list[Check]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as spool:
            waiting, oldest = spool.execute(
                "SELECT coalesce(sum(length(pages)), 0) / 4, min(time) FROM turn"
            ).fetchone()
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
    if refused:
        advice = "They are kept for 7 days. Mend what it says, then: pfa-flux quarantine --retry"
        checks.append(Check("quarantine", "warning", f"lines that InfluxDB refused: {refused:,} ({reason})", advice))
    return checks
