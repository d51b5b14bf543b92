"""Installing the task: made or brought up to date, then proved with a run whose rows are held against the raw data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from pfa_flux.engines.base import Engine
from pfa_flux.errors import AccessDeniedError, BucketNotFoundError, PfaFluxError, TaskError
from pfa_flux.schema import Side
from pfa_flux.settings.problems import meant
from pfa_flux.tasks.plan import FLOATS, keeps_floats, plan
from pfa_flux.tasks.runners.base import Backend, Installed
from pfa_flux.times import NS, format_instant
from pfa_flux.windows.partial import whole
from pfa_flux.windows.recompute import recompute
from pfa_flux.windows.rollup import Difference, Rollup
from pfa_flux.windows.store_check import StoreCheck, check_store, wait_until_visible

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
        store: what the store was found to do; None where nothing was changed, or that need not be measured.
    """

    action: Literal["created", "updated", "adopted", "up to date"]
    id: str
    made_bucket: bool = False
    proof: Proof | None = None
    store: StoreCheck | None = None


def install(
    rollup: Rollup, backend: Backend, now: int, *, adopt: bool = False, create_bucket: bool = False
) -> Installation:
    """Make the task what the spec says, and prove it with a run of closed windows. A second call changes nothing.

    Before, what the store does with points is measured.

    Where the proof fails, what was there before is put back.

    Args:
        rollup: the windows that the task is to make.
        backend: who runs the task.
        now: the present, nanoseconds.
        adopt: take over a task of the name that was not made by pfa-flux; its rows are kept. Make integers of floats
            that are where the task writes.
        create_bucket: make the rollup bucket if it is missing.

    Raises:
        TaskError: another task has the name; floats of others are where the task writes; the store does not keep points
            as they are written; the proving run
            failed, or its rows differ from the raw data.
        PartialAnswerError: the engine answers in part, so that they cannot be compared.
        BucketNotFoundError: there is no raw bucket, or no rollup bucket and none is to be made.
        AccessDeniedError: the token may not do this.
    """
    engine, spec = rollup.engine, rollup.spec
    if not engine.has_bucket(spec.raw_bucket):
        setting = "PFA_FLUX_LOADS_BUCKET" if spec.what is Side.LOADS else "PFA_FLUX_RAW_BUCKET"
        raise missing_bucket(
            engine, "raw", spec.raw_bucket, f"Name the one that raw points are written to with {setting}."
        )
    planned = plan(engine, backend, spec)
    if planned.state == "unknown":
        raise AccessDeniedError(f"{planned.words}; nothing was changed", planned.advice)
    if planned.state == "duplicates" or (planned.state == "foreign" and not adopt):
        raise TaskError(f"{spec.name!r}: {planned.words}; nothing was changed", planned.advice)
    if not planned.differs:
        return Installation("up to date", planned.ids[0])
    if planned.make_bucket:
        if not create_bucket and not engine.capabilities.in_process:
            remedy = "Name the right one with PFA_FLUX_ROLLUP_BUCKET, or have it made: "
            raise missing_bucket(
                engine, "rollup", spec.rollup_bucket, f"{remedy}pfa-flux install-task --create-buckets."
            )
        engine.create_bucket(spec.rollup_bucket)
    if planned.state == "create" and keeps_floats(engine, backend, spec):
        if not adopt:
            raise TaskError(
                f"in {spec.rollup_bucket!r} others have written {spec.field!r} as floats, where the task writes "
                "integers; nothing was changed",
                FLOATS,
            )
        due = spec.due(engine.now())
        engine.make_integers(spec.rollup, due - spec.reach, due)
    store = _checked(engine, spec.rollup_bucket, made=planned.make_bucket)
    if planned.state == "create":
        task = backend.create()
        proof = _proved_or(lambda: backend.remove(task), rollup, backend, task, now)
        return Installation("created", task.id, planned.make_bucket, proof, store)
    (found,) = backend.find()
    backend.update(found, backend.text(), active=True)
    proof = _proved_or(
        lambda: backend.update(found, found.text, active=found.active), rollup, backend, found, now, clean=True
    )
    action: Literal["adopted", "updated"] = "adopted" if planned.state == "foreign" else "updated"
    return Installation(action, found.id, planned.make_bucket, proof, store)


def missing_bucket(engine: Engine, kind: str, bucket: str, remedy: str) -> BucketNotFoundError:
    """An error about a bucket that is not there, with the name that may be meant.

    Args:
        engine: the store.
        kind: raw or rollup.
        bucket: its name.
        remedy: what to do.
    """
    there: list[str] = []
    with suppress(PfaFluxError):
        there = engine.buckets()
    return BucketNotFoundError(
        f"the {kind} bucket {bucket!r} does not exist, or the token cannot see it", f"{meant(bucket, there)}{remedy}"
    )


def _checked(engine: Engine, bucket: str, *, made: bool) -> StoreCheck | None:
    """What the store does with points, where that has to be measured.

    Args:
        engine: the store.
        bucket: the rollup bucket.
        made: it has just been made, and goes again if figures from the store cannot be right.
    """
    if engine.capabilities.in_process:
        return None
    try:
        found = check_store(engine, bucket)
        for words, consequence in found.faults:
            raise TaskError(
                f"{words}; nothing was installed", f"{consequence} Use a store that does, such as InfluxDB 1.8 or 2.x."
            )
    except BaseException:
        if made:
            engine.drop_bucket(bucket)
        raise
    return found


def _proved_or(
    undo: Callable[[], None], rollup: Rollup, backend: Backend, task: Installed, now: int, *, clean: bool = False
) -> Proof:
    try:
        return prove(rollup, backend, task, now, clean=clean)
    except BaseException:
        undo()
        raise


def prove(rollup: Rollup, backend: Backend, task: Installed, now: int, *, clean: bool = False) -> Proof:
    """Run the task for closed windows, those of the newest row of the last day if there is one, and compare.

    Args:
        rollup: the windows that the task makes.
        backend: who runs the task.
        task: the task as it is installed.
        now: the present, nanoseconds.
        clean: another task, or one of another form, has run before: in the windows that this one will recompute, rows
            that it would not overwrite are removed first.

    Raises:
        TaskError: the run failed, or its rows differ from the raw data.
        PartialAnswerError: the engine answers in part, so that they cannot be compared.
    """
    spec = rollup.spec
    closed = spec.due(now)
    newest = rollup.newest_raw(closed - _DAY, closed)
    stop = closed if newest is None else spec.floor(newest) + spec.width
    start = stop - spec.reach
    if clean:
        # Those of the proof, and those that the next runs on schedule reach back to.
        low = max(start, rollup.known_from(now))
        recompute(rollup, [(low, stop), (max(low, closed - spec.reach), closed)])
    # A row that arrives late, between the run and the comparison, is no fault: then once more.
    for _ in range(2):
        backend.run(task, stop)
        wait_until_visible(rollup.engine, spec.rollup_bucket)
        with whole(rollup.engine):
            found = rollup.compare(start, stop)
        if not found.differences:
            return Proof(start, stop, sum(found.raw.values()), found.rows)
    raise TaskError(
        f"the proving run's rows differ from the raw data: {_words(found.differences)}",
        "Rows of another origin may lie in the rollup bucket: pfa-flux task verify names them, --repair removes them.",
    )


def _words(differences: Sequence[Difference]) -> str:
    shown = [
        f"window ending {format_instant(each.end)}, {' '.join(f'{tag}={value}' for tag, value in each.tags.items())}: "
        f"raw {each.raw}, downsampled {each.rollup or 0}"
        for each in differences[:_LIMIT_SHOWN]
    ]
    more = f" and {len(differences) - _LIMIT_SHOWN} more" if len(differences) > _LIMIT_SHOWN else ""
    return "; ".join(shown) + more
