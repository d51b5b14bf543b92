"""Installing the task: made or brought up to date, then proved with a run whose rows are held against the raw data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pfa_flux.engines.base import Engine
from pfa_flux.errors import BucketNotFoundError, TaskError
from pfa_flux.tasks.backends.base import Backend, Installed
from pfa_flux.tasks.ledger import known_from
from pfa_flux.tasks.plan import plan
from pfa_flux.tasks.recompute import recompute
from pfa_flux.tasks.rollup import Sums, newest_raw, raw_sums, rollup_sums
from pfa_flux.tasks.spec import TaskSpec
from pfa_flux.times import NS, format_instant

_DAY = 86400 * NS
_LIMIT_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Proof:
    """What a forced run gave, held against the raw data.

    Attributes:
        start: first nanosecond of the windows that were proved.
        stop: their end.
        hits: hits, or page loads, in them, in raw and in downsampled data alike; 0 says that the run ended well and no
            more.
        rows: downsampled rows they make.
    """

    start: int
    stop: int
    hits: int
    rows: int


@dataclass(frozen=True, slots=True)
class Installation:
    """What installing did.

    Attributes:
        action: created, updated (its id and history kept), adopted (the same, of a task that was not ours), or up to
            date: nothing was changed.
        id: the task's id on its server.
        made_bucket: the rollup bucket was missing and has been made.
        proof: what the proving run gave; None where nothing was changed.
    """

    action: Literal["created", "updated", "adopted", "up to date"]
    id: str
    made_bucket: bool = False
    proof: Proof | None = None


def install(engine: Engine, backend: Backend, spec: TaskSpec, now: int, *, adopt: bool = False) -> Installation:
    """Make the task what the spec says, and prove it with a run of closed windows. A second call changes nothing.

    Where the proof fails, what was there before is put back.

    Args:
        engine: where raw and downsampled data are.
        backend: who runs the task.
        spec: what the task is to be.
        now: the present, nanoseconds.
        adopt: take over a task of the name that was not made by pfa-flux; its rows are kept.

    Raises:
        TaskError: another task has the name; the proving run failed, or its rows differ from the raw data.
        BucketNotFoundError: there is no raw bucket.
        AccessDeniedError: the token may not do this.
    """
    if not engine.has_bucket(spec.raw_bucket):
        raise BucketNotFoundError(
            f"the raw bucket {spec.raw_bucket!r} does not exist, or the token cannot see it",
            "Name the one that raw points are written to with PFA_FLUX_RAW_BUCKET.",
        )
    planned = plan(engine, backend, spec)
    if planned.state == "duplicates" or (planned.state == "foreign" and not adopt):
        raise TaskError(f"{spec.name!r}: {planned.words}; nothing was changed", planned.advice)
    if not planned.differs:
        return Installation("up to date", planned.ids[0])
    if planned.make_bucket:
        engine.create_bucket(spec.rollup_bucket)
    if planned.state == "create":
        task = backend.create()
        proof = _proved_or(lambda: backend.remove(task), engine, backend, spec, task, now)
        return Installation("created", task.id, planned.make_bucket, proof)
    (found,) = backend.find()
    backend.update(found, backend.text(), active=True)
    proof = _proved_or(
        lambda: backend.update(found, found.text, active=found.active),
        engine,
        backend,
        spec,
        found,
        now,
        clean=True,
    )
    return Installation("adopted" if planned.state == "foreign" else "updated", found.id, planned.make_bucket, proof)


def _proved_or(
    undo: Callable[[], None],
    engine: Engine,
    backend: Backend,
    spec: TaskSpec,
    task: Installed,
    now: int,
    *,
    clean: bool = False,
) -> Proof:
    try:
        return prove(engine, backend, spec, task, now, clean=clean)
    except BaseException:
        undo()
        raise


def prove(engine: Engine, backend: Backend, spec: TaskSpec, task: Installed, now: int, *, clean: bool = False) -> Proof:
    """Run the task for closed windows, those of the newest row of the last day if there is one, and compare.

    Args:
        engine: where raw and downsampled data are.
        backend: who runs the task.
        spec: what the task is.
        task: the task as it is installed.
        now: the present, nanoseconds.
        clean: another task, or one of another form, has run before: in the windows that this one will recompute, rows
            that it would not overwrite are removed first.

    Raises:
        TaskError: the run failed, or its rows differ from the raw data.
    """
    closed = spec.due(now)
    newest = newest_raw(engine, spec, closed - _DAY, closed)
    stop = closed if newest is None else spec.floor(newest) + spec.width
    start = stop - spec.reach
    if clean:
        # Those of the proof, and those that the next runs on schedule reach back to.
        low = max(start, known_from(engine, spec, now))
        recompute(engine, spec, [(low, stop), (max(low, closed - spec.reach), closed)])
    # A row that comes in late, between the run and the comparison, is no fault: then once more.
    for attempt in range(2):
        before = raw_sums(engine, spec, start, stop)
        backend.run(task, stop)
        made = rollup_sums(engine, spec, start, stop)
        if made == before:
            return Proof(start, stop, sum(made.values()), len(made))
        if attempt and raw_sums(engine, spec, start, stop) == before:
            break
    raise TaskError(
        f"the proving run's rows differ from the raw data: {_difference(spec, before, made)}",
        "Rows of another origin may lie in the rollup bucket: pfa-flux task verify names them, --repair removes them.",
    )


def _difference(spec: TaskSpec, raw: Sums, rollup: Sums) -> str:
    cells = sorted(cell for cell in {*raw, *rollup} if raw.get(cell) != rollup.get(cell))
    shown = [
        f"window ending {format_instant(cell.end)}, "
        f"{' '.join(f'{tag}={value}' for tag, value in zip(spec.tags, cell.tags, strict=True))}: "
        f"raw {raw.get(cell, 0)}, downsampled {rollup.get(cell, 0)}"
        for cell in cells[:_LIMIT_SHOWN]
    ]
    more = f" and {len(cells) - _LIMIT_SHOWN} more" if len(cells) > _LIMIT_SHOWN else ""
    return "; ".join(shown) + more
