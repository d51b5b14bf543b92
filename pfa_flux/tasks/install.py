"""Install or update a task, and prove it: run it, and compare its rows with raw data."""

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
from pfa_flux.windows.spec import TaskSpec
from pfa_flux.windows.store_check import StoreCheck, check_store, wait_until_visible

_DAY = 86400 * NS
_LIMIT_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Proof:
    """The result of a proving run, whose rows match raw data.

    Attributes:
        start: start of the proved windows, nanoseconds.
        stop: end of the proved windows.
        hits: hits or page loads in these windows, equal in raw and downsampled data. 0 means only that the run
            succeeded.
        rows: downsampled rows in these windows.
    """

    start: int
    stop: int
    hits: int
    rows: int


@dataclass(frozen=True, slots=True)
class Installation:
    """The result of an installation.

    Attributes:
        action: `created`; `updated`, which keeps id and history; `adopted`, the same for a task that pfa-flux did not
            create; or `up to date`: nothing was changed.
        id: id of the task on its server.
        made_bucket: whether the rollup bucket was missing and has been created.
        proof: result of the proving run. None if nothing was changed.
        store: what the store does with points. None if nothing was changed, or if no measurement was necessary.
    """

    action: Literal["created", "updated", "adopted", "up to date"]
    id: str
    made_bucket: bool = False
    proof: Proof | None = None
    store: StoreCheck | None = None


def install(
    rollup: Rollup, backend: Backend, now: int, *, adopt: bool = False, create_bucket: bool = False
) -> Installation:
    """Create or update the task as in the spec, and prove it with a run of closed windows.

    It first measures what the store does with points. If the proof fails, it restores the previous state. A second call
    changes nothing.

    Args:
        rollup: the windows of the task.
        backend: what runs the task.
        now: the present, nanoseconds.
        adopt: take over a task of the same name that pfa-flux did not create, and keep its rows. Turn floats of other
            writers in the task's windows into integers.
        create_bucket: create the rollup bucket if it is missing.

    Raises:
        TaskError: another task has the name; other writers have stored floats in the task's windows; the store changes
            points; the proving run failed, or its rows do not match raw data.
        PartialAnswerError: the engine gives partial answers, so the rows cannot be compared.
        BucketNotFoundError: the raw bucket does not exist; or the rollup bucket does not, and `create_bucket` is false.
        AccessDeniedError: the token may not do this.
    """
    engine, spec = rollup.engine, rollup.spec
    if not engine.has_bucket(spec.raw_bucket):
        setting = "PFA_FLUX_LOADS_BUCKET" if spec.what is Side.LOADS else "PFA_FLUX_RAW_BUCKET"
        raise missing_bucket(engine, "raw", spec.raw_bucket, f"Set {setting} to the bucket with raw data.")
    planned = plan(engine, backend, spec)
    if planned.state == "unknown":
        raise AccessDeniedError(f"{planned.words}; nothing was changed", planned.advice)
    if planned.state == "duplicates" or (planned.state == "foreign" and not adopt):
        raise TaskError(f"{spec.name!r}: {planned.words}; nothing was changed", planned.advice)
    if not planned.differs:
        return Installation("up to date", planned.ids[0])
    if planned.make_bucket:
        _create_bucket(engine, spec, allowed=create_bucket)
    if planned.state == "create" and keeps_floats(engine, backend, spec):
        _make_integers(engine, spec, allowed=adopt)
    store = _checked(engine, spec.rollup_bucket, made=planned.make_bucket)
    if planned.state == "create":
        task = backend.create()
        proof = _proved_or(lambda: backend.remove(task), rollup, backend, task, now)
        return Installation("created", task.id, planned.make_bucket, proof, store)
    (old,) = backend.find()
    backend.update(old, backend.text(), active=True)
    proof = _proved_or(lambda: backend.update(old, old.text, active=old.active), rollup, backend, old, now, clean=True)
    action: Literal["adopted", "updated"] = "adopted" if planned.state == "foreign" else "updated"
    return Installation(action, old.id, planned.make_bucket, proof, store)


def _create_bucket(engine: Engine, spec: TaskSpec, *, allowed: bool) -> None:
    """Create the rollup bucket. The embedded store needs no permission, because its buckets always exist."""
    if not allowed and not engine.capabilities.in_process:
        remedy = "Set PFA_FLUX_ROLLUP_BUCKET, or run pfa-flux install-task --create-buckets to create it."
        raise missing_bucket(engine, "rollup", spec.rollup_bucket, remedy)
    engine.create_bucket(spec.rollup_bucket)


def _make_integers(engine: Engine, spec: TaskSpec, *, allowed: bool) -> None:
    """Turn floats of other writers in the task's windows into integers."""
    if not allowed:
        raise TaskError(
            f"another program has written {spec.field!r} as floats into {spec.rollup_bucket!r}, but the task writes "
            "integers; nothing was changed",
            FLOATS,
        )
    due = spec.due(engine.now())
    engine.make_integers(spec.rollup, due - spec.reach, due)


def missing_bucket(engine: Engine, kind: str, bucket: str, remedy: str) -> BucketNotFoundError:
    """The error for a missing bucket, with a suggestion of a similar name.

    Args:
        engine: the engine.
        kind: raw or rollup.
        bucket: name of the bucket.
        remedy: what to do.
    """
    existing: list[str] = []
    with suppress(PfaFluxError):
        existing = engine.buckets()
    return BucketNotFoundError(
        f"the {kind} bucket {bucket!r} does not exist, or the token cannot see it", f"{meant(bucket, existing)}{remedy}"
    )


def _checked(engine: Engine, bucket: str, *, made: bool) -> StoreCheck | None:
    """Measure what the store does with points. None if that is known.

    Args:
        engine: the engine.
        bucket: the rollup bucket.
        made: the bucket was just created. It is dropped again if the store is unfit.

    Raises:
        TaskError: figures from the store cannot be right.
    """
    if engine.capabilities.in_process:
        return None
    try:
        check = check_store(engine, bucket)
        for fault, consequence in check.faults:
            raise TaskError(
                f"{fault}; nothing was installed",
                f"{consequence} Use a store without this fault, such as InfluxDB 1.8 or 2.x.",
            )
    except BaseException:
        if made:
            engine.drop_bucket(bucket)
        raise
    return check


def _proved_or(
    undo: Callable[[], None], rollup: Rollup, backend: Backend, task: Installed, now: int, *, clean: bool = False
) -> Proof:
    try:
        return prove(rollup, backend, task, now, clean=clean)
    except BaseException:
        undo()
        raise


def prove(rollup: Rollup, backend: Backend, task: Installed, now: int, *, clean: bool = False) -> Proof:
    """Run the task for closed windows, and compare its rows with raw data.

    The windows end with the newest raw row of the last day, or else with the present.

    Args:
        rollup: the windows of the task.
        backend: what runs the task.
        task: the installed task.
        now: the present, nanoseconds.
        clean: another task, or another version of the task, ran before. So recompute the windows first, which removes
            rows that this task would not overwrite.

    Raises:
        TaskError: the run failed, or its rows do not match raw data.
        PartialAnswerError: the engine gives partial answers, so the rows cannot be compared.
    """
    spec = rollup.spec
    closed = spec.due(now)
    newest = rollup.newest_raw(closed - _DAY, closed)
    stop = closed if newest is None else spec.floor(newest) + spec.width
    start = stop - spec.reach
    if clean:
        # The windows of the proof, and those that the next scheduled runs will recompute.
        low = max(start, rollup.raw_kept_from(now))
        recompute(rollup, [(low, stop), (max(low, closed - spec.reach), closed)])
    # A late row may arrive between the run and the comparison. That is not a fault, so the proof is repeated once.
    for _ in range(2):
        backend.run(task, stop)
        wait_until_visible(rollup.engine, spec.rollup_bucket)
        with whole(rollup.engine):
            comparison = rollup.compare(start, stop)
        if not comparison.differences:
            return Proof(start, stop, sum(comparison.raw.values()), comparison.rows)
    raise TaskError(
        f"the rows of the proving run do not match raw data: {_described(comparison.differences)}",
        "The rollup bucket may have rows of another program. pfa-flux task verify shows them, --repair removes them.",
    )


def _described(differences: Sequence[Difference]) -> str:
    shown = [
        f"window ending {format_instant(each.end)}, {' '.join(f'{tag}={value}' for tag, value in each.tags.items())}: "
        f"raw {each.raw}, downsampled {each.rollup or 0}"
        for each in differences[:_LIMIT_SHOWN]
    ]
    more = f" and {len(differences) - _LIMIT_SHOWN} more" if len(differences) > _LIMIT_SHOWN else ""
    return "; ".join(shown) + more
