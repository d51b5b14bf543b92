"""Windows that raw rows came into after they had been put together; noted in the data directory's store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing

from pfa_flux.engines.embedded import Embedded
from pfa_flux.settings import Settings
from pfa_flux.tasks.spans import Span
from pfa_flux.tasks.spec import TaskSpec
from pfa_flux.times import NS

_MINUTE = 60 * NS


def late_before(spec: TaskSpec, now: int) -> int:
    """Rows of times before this come in late at `now`: the next run of the task does not reach back to them."""
    return spec.due(now) + spec.width - spec.reach


def note_touched(store: Embedded, bucket: str, measurement: str, times: Iterable[int]) -> None:
    """Note the times (nanoseconds) of late rows of a raw measurement, to the minute: every window is whole minutes."""
    minutes = {time // _MINUTE * _MINUTE for time in times}
    if minutes:
        with store.transaction() as connection:
            rows = [(bucket, measurement, minute) for minute in minutes]
            connection.executemany("INSERT OR IGNORE INTO touched VALUES (?, ?, ?)", rows)


def note_late(settings: Settings, late: Mapping[TaskSpec, Iterable[int]], *, patience: float) -> int:
    """Note the times (nanoseconds) of late rows of several tasks in the data directory's store.

    Args:
        settings: whose data directory.
        late: times by the task whose raw rows they are of.
        patience: seconds to wait for a process that is writing to the store.

    Returns:
        Minutes noted.

    Raises:
        StoreError: the store cannot be written to.
    """
    minutes = {spec: {time // _MINUTE for time in times} for spec, times in late.items()}
    if any(minutes.values()):
        with closing(Embedded(settings, patience=patience)) as store:
            for spec, times in late.items():
                note_touched(store, spec.raw_bucket, spec.source, times)
    return sum(map(len, minutes.values()))


def touched_windows(store: Embedded, spec: TaskSpec) -> list[int]:
    """Ends of the windows that were touched, nanoseconds, in order."""
    sql = "SELECT minute FROM touched WHERE bucket = ? AND measurement = ?"
    rows = store.select(sql, (spec.raw_bucket, spec.source))
    return sorted({spec.floor(minute) + spec.width for (minute,) in rows})


def forget_touched(store: Embedded, spec: TaskSpec, spans: Sequence[Span]) -> None:
    """Forget what lies in spans that have been put together again."""
    if not touched_windows(store, spec):
        return
    with store.transaction() as connection:
        for start, stop in spans:
            connection.execute(
                "DELETE FROM touched WHERE bucket = ? AND measurement = ? AND minute >= ? AND minute < ?",
                (spec.raw_bucket, spec.source, start, stop),
            )
