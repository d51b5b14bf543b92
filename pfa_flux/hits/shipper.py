"""The shipper: takes hits from the spool to InfluxDB, or to anything else that answers `/api/v2/write`.

It works in a process of its own beside the one that serves, so that neither its imports nor its work slow a hit down.
Points are written again until the server says that it has them; written twice they overwrite themselves.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pfa_flux.engines import registry
from pfa_flux.engines.influxdb.lineprotocol import line
from pfa_flux.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    BusyError,
    PfaFluxError,
    QueryError,
    StoreError,
)
from pfa_flux.hits.hit import View
from pfa_flux.hits.quarantine import REFUSED, by_bucket
from pfa_flux.hits.spool import SpoolReader, Waiting
from pfa_flux.hits.store import point_of
from pfa_flux.schema import Side
from pfa_flux.settings import Settings
from pfa_flux.tasks.state import late_before, note_late
from pfa_flux.windows.spec import TaskSpec

log = logging.getLogger("pfa_flux")

MOST_POINTS = 5_000
"""Points in one write, as InfluxData recommends."""
POLL = 1.0
"""Seconds that hits wait for others to be shipped with."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
_MOST_SPLITS = 200
"""Writes that may be spent on finding the refused lines of one batch."""
_LOUD_EVERY = 60.0


@dataclass(slots=True)
class Shipped:
    """What the shipper has done, as it tells the process that serves.

    Attributes:
        upto: rows of the spool up to this one are safe.
        points: points written since the start, each once.
        batches: batches written.
        retries: writes that had to be repeated.
        quarantined: lines that are put by now.
        refused: lines refused since the start.
        late: windows noted for repair since the start, by their minutes.
        error: what the last write failed with, empty where it did not.
    """

    upto: int = 0
    points: int = 0
    batches: int = 0
    retries: int = 0
    quarantined: int = 0
    refused: int = 0
    late: int = 0
    error: str = ""


class Shipper:
    """Ships until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        spool: SpoolReader,
        tell: Callable[[Shipped], None],
        wait: Callable[[float], bool],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Make it.

        Args:
            settings: where to ship to.
            spool: where the hits are.
            tell: told of every step.
            wait: waits for seconds; true: stop.
            clock: the present, nanoseconds.
        """
        self._settings, self._spool, self._tell, self._wait, self._clock = settings, spool, tell, wait, clock
        self._writer = registry.open_writer(settings)
        self._specs = {"hit": TaskSpec.from_settings(settings), "load": TaskSpec.from_settings(settings, Side.LOADS)}
        self._starts: dict[tuple[str, View, bool], str] = {}
        self._whole_loads = False
        self._loud = 0.0
        self.done = Shipped()

    def run(self) -> None:
        """Ship what is there, wait for more, and so on."""
        stop = False
        while not stop:
            batch = self._spool.after(self.done.upto, MOST_POINTS)
            if batch:
                stop = not self._ship(batch)
            self.done.quarantined = self._spool.quarantine.count(self._clock())
            self._tell(self.done)
            full = sum(len(turn.views) for turn in batch) >= MOST_POINTS
            stop = stop or self._wait(0.0 if full else POLL)

    def close(self) -> None:
        """Close connections and files."""
        self._writer.close()
        self._spool.close()

    def _ship(self, batch: Sequence[Waiting]) -> bool:
        """Write a batch, however long it takes. Returns whether it is through; if not, it was told to stop."""
        count = sum(len(turn.views) for turn in batch)
        pause = _FIRST_PAUSE
        while True:
            try:
                self._write(batch)
                break
            except PfaFluxError as error:
                asked = error.retry_after if isinstance(error, BusyError) else 0.0
                self._failed(error)
                # Jitter, so that several pixels do not all come back at once, even if the server tells all the same.
                if self._wait(max(asked * random.uniform(1.0, 1.25), pause * random.uniform(0.5, 1.0))):
                    return False
                pause = min(pause * 2, _LONGEST_PAUSE)
        if self.done.error:
            log.info("hits are shipped again")
        self.done.error, self._loud = "", 0.0
        while not self._note_late(batch):
            if self._wait(POLL):
                return False
        self.done.upto = batch[-1].seq
        self.done.points += count
        self.done.batches += 1
        return True

    def _failed(self, error: PfaFluxError) -> None:
        """Count a failure, and say it, once a minute while it lasts."""
        self.done.retries += 1
        self.done.error = error.message
        self._tell(self.done)
        if time.monotonic() - self._loud >= _LOUD_EVERY or not self._loud:
            self._loud = time.monotonic()
            lasting = isinstance(error, AccessDeniedError | BucketNotFoundError)
            log.log(logging.ERROR if lasting else logging.WARNING, "hits wait in the spool: %s", error)

    def _write(self, batch: Sequence[Waiting]) -> None:
        """Write all points of a batch; those that the server refuses are put by with its words."""
        parts, splits = by_bucket(self._settings, self._lines(batch)), 0
        while parts:
            bucket, lines = parts.pop()
            try:
                self._writer.write(bucket, lines)
            except QueryError as error:
                if error.status not in REFUSED:
                    raise
                if self._learned(error):
                    parts = by_bucket(self._settings, self._lines(batch))
                    continue
                if not splits:
                    # Refuses it an empty write as well, then it is the request that is wrong, and not these lines.
                    self._writer.probe_write(bucket)
                splits += 1
                if len(lines) > 1 and splits < _MOST_SPLITS:
                    middle = len(lines) // 2
                    parts += [(bucket, lines[middle:]), (bucket, lines[:middle])]
                else:
                    self._put_by(error, lines)

    def _learned(self, error: QueryError) -> bool:
        """The refusal says how to do it right: the store's field of page loads is an integer."""
        field = self._settings.schema.loads_field
        if self._whole_loads or "field type conflict" not in error.message or field not in error.message:
            return False
        self._whole_loads = True
        return True

    def _put_by(self, error: QueryError, lines: Sequence[str]) -> None:
        self._spool.quarantine.put(self._clock(), error.message, lines)
        self.done.refused += len(lines)
        log.error("%d refused hits were put into quarantine: %s", len(lines), error.message)

    def _lines(self, batch: Sequence[Waiting]) -> list[str]:
        starts, whole = self._starts, self._whole_loads
        lines = []
        for turn in batch:
            moment = turn.time
            for view in turn.views:
                start = starts.get((turn.sess, view, whole))
                if start is None:
                    start = self._start(turn.sess, view)
                lines.append(f"{start}{moment}")
                moment += 1
        return lines

    def _start(self, sess: str, view: View) -> str:
        """The line of a page view up to its time."""
        if len(self._starts) > 100_000:
            self._starts.clear()
        start = line(point_of(view, self._settings.schema, sess, 0, whole_loads=self._whole_loads)).removesuffix("0")
        self._starts[sess, view, self._whole_loads] = start
        return start

    def _note_late(self, batch: Sequence[Waiting]) -> bool:
        """Note the windows that a batch came too late for. Returns whether that is done."""
        now = self._clock()
        late: dict[TaskSpec, set[int]] = {}
        for turn in batch:
            for kind, spec in self._specs.items():
                if turn.time < late_before(spec, now) and any(view.kind == kind for view in turn.views):
                    late.setdefault(spec, set()).add(turn.time)
        try:
            self.done.late += note_late(self._settings, late, patience=POLL)
        except StoreError as error:
            self.done.error = error.message
            self._tell(self.done)
            log.warning("late hits cannot be noted for pfa-flux task repair: %s", error)
            return False
        return True
