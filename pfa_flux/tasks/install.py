"""Installing the task: made or brought up to date, then proved with a run whose rows are held against the raw data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pfa_flux.engines.base import Engine
from pfa_flux.engines.embedded import Embedded
from pfa_flux.errors import BucketNotFoundError, CapabilityError, TaskError
from pfa_flux.settings import Settings
from pfa_flux.tasks.backends.base import Backend, Installed
from pfa_flux.tasks.backends.embedded import EmbeddedRollup
from pfa_flux.tasks.rollup import WINDOW, Sums, newest_hit, raw_sums, rollup_sums, window_end
from pfa_flux.tasks.spec import MARK, TaskSpec
from pfa_flux.times import NS, format_instant

_DAY = 86400 * NS
_LIMIT_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Proof:
    """What a forced run gave, held against the raw data.

    Attributes:
        start: first nanosecond of the windows that were proved.
        stop: their end.
        hits: hits in them, in raw and in downsampled data alike; 0 says that the run ended well and no more.
        rows: downsampled rows they make.
    """

    start: int
    stop: int
    hits: int
    rows: int


@dataclass(frozen=True, slots=True)
class Installation:
    """What `install_task` did.

    Attributes:
        action: created, updated (its id and history kept), or up to date: nothing was changed.
        id: the task's id on its server.
        made_bucket: the rollup bucket was missing and has been made.
        proof: what the proving run gave; None where nothing was changed.
    """

    action: Literal["created", "updated", "up to date"]
    id: str
    made_bucket: bool = False
    proof: Proof | None = None


def backend_for(engine: Engine, settings: Settings, spec: TaskSpec) -> Backend:
    """Who runs the task for an engine.

    Raises:
        CapabilityError: nobody does: an InfluxDB 1.x without Kapacitor.
    """
    tasks = engine.capabilities.tasks
    if isinstance(engine, Embedded):
        return EmbeddedRollup(engine, spec)
    if not tasks:
        raise CapabilityError(
            f"InfluxDB {engine.capabilities.version} runs no tasks by itself",
            "Put Kapacitor 1.6 or newer in front of it and set PFA_FLUX_KAPACITOR_URL; blocked-ratio works without.",
        )
    # Imported here: they bring the HTTP client along.
    from pfa_flux.engines.detect import kapacitor_transport
    from pfa_flux.engines.influxdb2 import InfluxDB2
    from pfa_flux.tasks.backends.server import InfluxDBTasks, KapacitorTasks

    if isinstance(engine, InfluxDB2):
        return InfluxDBTasks(engine.transport, spec)
    cut = engine.capabilities.range_takes_stop
    return KapacitorTasks(kapacitor_transport(settings), spec, settings.url, settings.token, cut=cut)


def install_task(engine: Engine, backend: Backend, spec: TaskSpec, now: int) -> Installation:
    """Make the task what the spec says, and prove it with a run of closed windows. A second call changes nothing.

    Where the proof fails, what was there before is put back.

    Args:
        engine: where raw and downsampled data are.
        backend: who runs the task.
        spec: what the task is to be.
        now: the present, nanoseconds.

    Raises:
        TaskError: another task has the name; the proving run failed, or its rows differ from the raw data.
        BucketNotFoundError: there is no raw bucket.
        AccessDeniedError: the token may not do this.
    """
    _require_raw_bucket(engine, spec)
    found = installed_task(backend, spec)
    if found and found.active and found.text == backend.text() and engine.has_bucket(spec.rollup_bucket):
        return Installation("up to date", found.id)
    made_bucket = _ensure_bucket(engine, spec.rollup_bucket)
    if found is None:
        task = backend.create()
        proof = _proved_or(lambda: backend.remove(task), engine, backend, spec, task, now)
        return Installation("created", task.id, made_bucket, proof)

    def put_back() -> None:
        backend.update(found, found.text, active=found.active)

    backend.update(found, backend.text(), active=True)
    return Installation("updated", found.id, made_bucket, _proved_or(put_back, engine, backend, spec, found, now))


def run_now(backend: Backend, spec: TaskSpec, now: int) -> tuple[int, int]:
    """Downsample now: embedded, every window that is due; on a server, a forced run of the last closed windows.

    Returns:
        Start and stop of the windows, nanoseconds; equal where nothing was due.

    Raises:
        TaskError: the task is not installed, or its run failed.
    """
    task = installed_task(backend, spec)
    if task is None:
        raise TaskError(f"the task {spec.name!r} is not installed", "Run pfa-flux install-task first.")
    if isinstance(backend, EmbeddedRollup):
        return backend.run_due(now)
    stop = window_end(now - spec.offset * NS)
    backend.run(task, stop)
    return stop - spec.lookback * WINDOW, stop


def _require_raw_bucket(engine: Engine, spec: TaskSpec) -> None:
    if not engine.has_bucket(spec.raw_bucket):
        raise BucketNotFoundError(
            f"the raw bucket {spec.raw_bucket!r} does not exist, or the token cannot see it",
            "Name the one that hits are written to with PFA_FLUX_RAW_BUCKET.",
        )


def installed_task(backend: Backend, spec: TaskSpec) -> Installed | None:
    """The task as it is installed now; None without one.

    Raises:
        TaskError: there are several of the name, or one that was not made from our file.
    """
    found = backend.find()
    if len(found) > 1:
        ids = ", ".join(task.id for task in found)
        raise TaskError(
            f"there are {len(found)} tasks named {spec.name!r} ({ids}), and each would write the same rows",
            "Delete all but one, then run install-task again.",
        )
    if found and MARK not in found[0].text and not isinstance(backend, EmbeddedRollup):
        raise TaskError(
            f"the task {spec.name!r} ({found[0].id}) was not made by pfa-flux, and is left as it is",
            "Rename or delete it, then run install-task again.",
        )
    return found[0] if found else None


def _ensure_bucket(engine: Engine, bucket: str) -> bool:
    """Make the bucket where it is missing. Returns whether it was."""
    if engine.has_bucket(bucket):
        return False
    engine.create_bucket(bucket)
    return True


def _proved_or(
    undo: Callable[[], None], engine: Engine, backend: Backend, spec: TaskSpec, task: Installed, now: int
) -> Proof:
    try:
        return prove(engine, backend, spec, task, now)
    except BaseException:
        undo()
        raise


def prove(engine: Engine, backend: Backend, spec: TaskSpec, task: Installed, now: int) -> Proof:
    """Run the task for closed windows, those of the newest hit of the last day if there is one, and compare.

    Raises:
        TaskError: the run failed, or its rows differ from the raw data.
    """
    closed = window_end(now - spec.offset * NS)
    newest = newest_hit(engine, spec, closed - _DAY, closed)
    stop = closed if newest is None else window_end(newest) + WINDOW
    start = stop - spec.lookback * WINDOW
    # A hit that comes in late, between the run and the comparison, is no fault: then once more.
    for attempt in range(2):
        before = raw_sums(engine, spec, start, stop)
        backend.run(task, stop)
        made = rollup_sums(engine, spec, start, stop)
        if made == before:
            return Proof(start, stop, sum(made.values()), len(made))
        if attempt and raw_sums(engine, spec, start, stop) == before:
            break
    raise TaskError(
        f"the proving run's rows differ from the raw data: {_difference(before, made)}",
        "Downsampled rows of other origin may lie in the rollup bucket; look at them with the query above's tags.",
    )


def _difference(raw: Sums, rollup: Sums) -> str:
    keys = sorted(key for key in {*raw, *rollup} if raw.get(key) != rollup.get(key))
    shown = [
        f"window ending {format_instant(key.window_end)}, {key.scheme}://{key.domain}{key.page}: "
        f"raw {raw.get(key, 0)}, downsampled {rollup.get(key, 0)}"
        for key in keys[:_LIMIT_SHOWN]
    ]
    more = f" and {len(keys) - _LIMIT_SHOWN} more" if len(keys) > _LIMIT_SHOWN else ""
    return "; ".join(shown) + more
