"""Checks of everything between the settings and a right figure, each with what to do where it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pfa_flux.analytics import Analytics, connect
from pfa_flux.engines.embedded import Embedded
from pfa_flux.errors import AccessDeniedError, CapabilityError, PfaFluxError, UnreachableError
from pfa_flux.settings import Settings
from pfa_flux.tasks.backends.runner import Runner
from pfa_flux.tasks.rollup import newest_raw
from pfa_flux.tasks.spec import TaskSpec
from pfa_flux.tasks.task import Task
from pfa_flux.times import NS, format_duration, format_instant

_RECENT = 30 * 86400 * NS


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at.

    Attributes:
        name: what was looked at.
        status: ok; failed: the job cannot be done as it is; warning: it can, and less well; skipped.
        found: what was found.
        advice: what to do about it, empty where nothing needs doing.
    """

    name: str
    status: Literal["ok", "warning", "failed", "skipped"]
    found: str
    advice: str = ""


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
    except (UnreachableError, AccessDeniedError, PfaFluxError) as error:
        name = "access" if isinstance(error, AccessDeniedError) else "engine"
        return [Check(name, "failed", error.message, error.hint)], error
    with analytics:
        return [check for look in _LOOKS for check in _guarded(look, analytics, now)], None


_Look = Callable[[Analytics, int], list[Check]]


def _guarded(look: _Look, analytics: Analytics, now: int) -> list[Check]:
    """A check that breaks is a check that failed."""
    try:
        return look(analytics, now)
    except PfaFluxError as error:
        return [Check(look.__name__.strip("_").replace("_", " "), "failed", error.message, error.hint)]


def _engine(analytics: Analytics, _now: int) -> list[Check]:
    can = analytics.engine.capabilities
    if isinstance(analytics.engine, Embedded):
        found = f"embedded, {can.version}, {analytics.engine.path}"
        if analytics.engine.exists():
            return [Check("engine", "ok", found)]
        return [Check("engine", "warning", f"{found} (no store yet)", "It is made when the first hit is written.")]
    checks = [
        Check("engine", "ok", f"InfluxDB {can.version} at {analytics.settings.url}"),
        Check("access", "ok", "the token is accepted" if analytics.settings.token else "no token is asked for"),
    ]
    if can.flux:
        package = "with join" if can.join else "without join: blocked-ratio uses union"
        return [*checks, Check("flux", "ok", f"version {can.flux_version}, {package}")]
    advice = "blocked-ratio uses InfluxQL; for tasks set [http] flux-enabled = true in influxdb.conf."
    return [*checks, Check("flux", "warning", "off or absent", advice)]


def _buckets(analytics: Analytics, _now: int) -> list[Check]:
    if isinstance(analytics.engine, Embedded):
        return []
    settings, engine = analytics.settings, analytics.engine
    raw = engine.has_bucket(settings.raw_bucket)
    rollup = engine.has_bucket(settings.rollup_bucket)
    missing = "missing, or the token cannot see it"
    return [
        Check("raw bucket", "ok", settings.raw_bucket)
        if raw
        else Check("raw bucket", "failed", f"{settings.raw_bucket}: {missing}", "Set PFA_FLUX_RAW_BUCKET, or make it."),
        Check("rollup bucket", "ok", settings.rollup_bucket)
        if rollup
        else Check(
            "rollup bucket", "failed", f"{settings.rollup_bucket}: {missing}", "pfa-flux install-task makes it."
        ),
    ]


def _influxql(analytics: Analytics, _now: int) -> list[Check]:
    if isinstance(analytics.engine, Embedded):
        return []
    from pfa_flux.engines.server import Server

    assert isinstance(analytics.engine, Server)
    bucket = analytics.settings.raw_bucket
    try:
        database, policy = analytics.engine.database_of(bucket)
        analytics.engine.influxql("SHOW FIELD KEYS LIMIT 1", bucket)
    except CapabilityError as error:
        return [Check("influxql (DBRP)", "warning", error.message, error.hint)]
    return [Check("influxql (DBRP)", "ok", f"reaches {bucket} as {database}.{policy}")]


def _read_raw(analytics: Analytics, now: int) -> list[Check]:
    newest = newest_raw(analytics.engine, TaskSpec.from_settings(analytics.settings), now - _RECENT, now)
    allowed = [] if isinstance(analytics.engine, Embedded) else [Check("read raw", "ok", "allowed")]
    if newest is None:
        advice = "Is the pixel on the pages, and does it write to this bucket?"
        return [*allowed, Check("newest hit", "warning", "none in the last 30 days", advice)]
    age = format_duration(max(0, now - newest) // (60 * NS) * 60) if now - newest >= 60 * NS else "less than a minute"
    return [*allowed, Check("newest hit", "ok", f"{format_instant(newest // NS * NS)} ({age} ago)")]


def _write_rollup(analytics: Analytics, _now: int) -> list[Check]:
    if isinstance(analytics.engine, Embedded):
        return []
    from pfa_flux.engines.server import Server

    assert isinstance(analytics.engine, Server)
    analytics.engine.probe_write(analytics.settings.rollup_bucket)
    return [Check("write rollup", "ok", "allowed")]


def _task(analytics: Analytics, _now: int) -> list[Check]:
    task = analytics.task()
    planned = task.plan()
    if planned.state == "create":
        return [Check("task", "failed", "not installed", planned.advice)]
    checks = [
        Check("task", "ok", f"{planned.task} ({planned.ids[0]}), run by {planned.backend}")
        if not planned.differs
        else Check("task", "warning" if planned.state == "change" else "failed", planned.words, planned.advice)
    ]
    return [*checks, _last_run(task)] if planned.state in {"change", "up to date"} else checks


def _last_run(task: Task) -> Check:
    found = task.installed()
    if found.last_error:
        advice = "Mend what it says, then run pfa-flux task backfill."
        return Check("last run", "failed", f"{found.last_run}: {found.last_error}", advice)
    if found.last_run:
        return Check("last run", "ok", found.last_run)
    if isinstance(task.backend, Runner):
        return Check("last run", "warning", "none yet", task.backend.advice)
    return Check("last run", "ok", "none on schedule yet: the first is due within 16 minutes")


_LOOKS: tuple[_Look, ...] = (_engine, _buckets, _influxql, _read_raw, _write_rollup, _task)
