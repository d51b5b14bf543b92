"""The shipper: sends hits from the spool to InfluxDB, or to another server that answers `/api/v2/write`.

It runs in its own process, so neither its imports nor its work delay a hit. Points are written again until the server
confirms them. A point that is written twice overwrites itself.
"""

from __future__ import annotations

import contextlib
import logging
import random
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence

from pfa_flux import registry
from pfa_flux.engines.influxdb.lineprotocol import line
from pfa_flux.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    BusyError,
    PfaFluxError,
    StoreError,
    StoreUnfitError,
)
from pfa_flux.foreign import place
from pfa_flux.helper.delivery import MOST_POINTS, Delivery, Refusal
from pfa_flux.helper.first_look import first_look
from pfa_flux.journal.cache import Cache
from pfa_flux.journal.notes import Outcome
from pfa_flux.journal.points import point_of
from pfa_flux.journal.quarantine import KEPT_SECONDS
from pfa_flux.journal.shipped import Shipped
from pfa_flux.journal.spool import SpoolReader, Waiting
from pfa_flux.pixel.hit import View
from pfa_flux.pixel.pages import size_of
from pfa_flux.schema import BOTH
from pfa_flux.settings import Settings
from pfa_flux.tasks.state import late_before, note_late
from pfa_flux.times import NS
from pfa_flux.windows.spec import TaskSpec

log = logging.getLogger("pfa_flux")

POLL = 1.0
"""Seconds that hits wait to be shipped together with later ones."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
_LOUD_EVERY = 60.0
_JUDGED_BY = 100
"""Number of newest points that decide whether the store refuses most of them."""
_RELAY_EVERY = 300.0
_MOST_START_BYTES = 32 * 1024 * 1024


class Shipper:
    """Ships hits until `wait` returns true."""

    def __init__(
        self,
        settings: Settings,
        spool: SpoolReader,
        tell: Callable[[Shipped], None],
        wait: Callable[[float], bool],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Create it.

        Args:
            settings: names and address of the store.
            spool: the hits.
            tell: receives a report after every step.
            wait: waits for a number of seconds. Returns true to stop.
            clock: returns the current time, nanoseconds.
        """
        self._settings, self._spool, self._tell, self._wait, self._clock = settings, spool, tell, wait, clock
        self._writer = registry.open_writer(settings)
        self._delivery = Delivery(settings, self._writer, spool.notes)
        self._specs = {side.one: TaskSpec.from_settings(settings, side) for side in BOTH}
        self._starts = Cache[tuple[str, View], str](_MOST_START_BYTES)
        self._loud: dict[str, float] = {}
        self._asked_relay = -_RELAY_EVERY
        self._looked = False
        self._outcome = spool.notes.outcome()
        self._recent = deque([(self._outcome.taken, self._outcome.refused)])
        self.done = Shipped(refusing=self._outcome.why if self._outcome.refusing else "")

    def run(self) -> None:
        """Ship all waiting hits, wait for more, and repeat."""
        stop = False
        while not stop:
            batch = self._read()
            if batch:
                stop = not self._ship(batch)
            self.done.quarantined = self._count_quarantined()
            self._tell(self.done)
            full = sum(len(turn.views) for turn in batch) >= MOST_POINTS
            stop = stop or self._wait(0.0 if full else POLL)

    def close(self) -> None:
        """Close connections and files."""
        self._writer.close()
        self._spool.close()

    def _read(self) -> list[Waiting]:
        """The next rows. Damaged hits go into quarantine. Empty if the file is busy or its disk is full.

        Raises:
            sqlite3.DatabaseError: more than single rows is damaged.
        """
        try:
            batch = self._spool.after(self.done.upto, MOST_POINTS)
            for turn in batch:
                if turn.damaged is not None:
                    why = f"damaged in the spool: {turn.damaged.why}"
                    self._spool.quarantine.put_bytes(self._clock(), why, turn.damaged.count, turn.damaged.content)
        except sqlite3.OperationalError as error:
            self.done.error = f"the spool cannot be read: {error}"
            return []
        if not batch:
            self.done.error = ""
        damaged = sum(turn.damaged.count for turn in batch if turn.damaged is not None)
        if damaged:
            self.done.damaged += damaged
            log.error("%d hits in the spool are damaged: their bytes were put into quarantine", damaged)
        return batch

    def _count_quarantined(self) -> int:
        """Number of hits in quarantine. None expires while the store refuses most, or for seven days after."""
        now = self._clock()
        refusing = self.done.refusing or now - self._outcome.time < KEPT_SECONDS * NS
        try:
            return self._spool.quarantine.count(now, expire=not refusing)
        except sqlite3.OperationalError:
            return self.done.quarantined

    def _ship(self, batch: Sequence[Waiting]) -> bool:
        """Write a batch, however long it takes. Returns false if `wait` returned true before that."""
        lines = self._lines(batch)
        pause = _FIRST_PAUSE
        while True:
            try:
                self._test_store()
                refused = self._delivery.write(lines, self._progress)
                self._quarantine(refused)
                break
            except PfaFluxError as error:
                failure = error
            except Exception as error:
                # After any error, the hits wait and are written again.
                failure = PfaFluxError(f"an internal error: {place(error)}")
            asked = failure.retry_after if isinstance(failure, BusyError) else 0.0
            self._failed(failure)
            # Jitter spreads the attempts of several pixels, even if the server gives all of them the same delay.
            if self._wait(max(asked * random.uniform(1.0, 1.25), pause * random.uniform(0.5, 1.0))):
                return False
            pause = min(pause * 2, _LONGEST_PAUSE)
        if self.done.error:
            log.info("hits are shipped again")
        self.done.error = ""
        self._loud.pop("failed", None)
        self._name_relay()
        while not self._note_late(batch):
            if self._wait(POLL):
                return False
        self.done.upto = batch[-1].seq
        self._judge(len(lines), refused)
        self.done.batches += 1
        return True

    def _test_store(self) -> None:
        """Test the store before the first hits are written.

        Raises:
            StoreUnfitError: it does not keep points as sent. UnreachableError, BusyError: try again later.
        """
        if self._looked:
            return
        store = f"{self._settings.url} {self._settings.raw_bucket}"
        if not self._spool.notes.has_passed(store):
            self.done.unknown = first_look(self._settings)
            if self.done.unknown:
                log.warning("the store could not be tested: %s", self.done.unknown)
            else:
                self._spool.notes.record_passed(store)
        self._looked = True

    def _progress(self) -> None:
        """Called after each write. A batch that is narrowed down may need thousands."""
        self._tell(self.done)

    def _name_relay(self) -> None:
        """From time to time, check whether a relay takes the writes, and log its name."""
        if time.monotonic() - self._asked_relay < _RELAY_EVERY:
            return
        self._asked_relay = time.monotonic()
        relay = self._writer.relay()
        if relay and relay != self.done.relay:
            log.warning("hits are written through %s: %s", relay, registry.RELAY_PROMISE)
        self.done.relay = relay

    def _failed(self, error: PfaFluxError) -> None:
        """Count a failure. Log it once a minute while it lasts."""
        self.done.retries += 1
        self.done.error = error.message
        self._tell(self.done)
        if self._is_loud("failed"):
            lasting = isinstance(error, AccessDeniedError | BucketNotFoundError | StoreUnfitError)
            log.log(logging.ERROR if lasting else logging.WARNING, "hits wait in the spool: %s", error)

    def _is_loud(self, what: str) -> bool:
        """A message is due again."""
        now = time.monotonic()
        if now - self._loud.get(what, -_LOUD_EVERY) < _LOUD_EVERY:
            return False
        self._loud[what] = now
        return True

    def _quarantine(self, refused: Sequence[Refusal]) -> None:
        """Put refused points into quarantine. Called once per complete batch, because a failed one starts again."""
        self._spool.quarantine.put_all(self._clock(), [(each.message, each.lines) for each in refused])

    def _judge(self, count: int, refused: Sequence[Refusal]) -> None:
        """Count accepted and refused points, and log if the store refuses most of them."""
        lost = sum(len(each.lines) for each in refused)
        self.done.points += count - lost
        self.done.refused += lost
        self._recent.append((count - lost, lost))
        while len(self._recent) > 1 and sum(map(sum, self._recent)) - sum(self._recent[0]) >= _JUDGED_BY:
            self._recent.popleft()
        earlier = self._outcome
        taken, gone = (sum(column) for column in zip(*self._recent, strict=True))
        why = refused[-1].why if refused else earlier.why
        if gone > taken or earlier.refusing:
            # The retention of the quarantine starts when the store accepts most points again.
            self._outcome = Outcome(self._clock(), taken, gone, why)
            with contextlib.suppress(sqlite3.OperationalError):
                self._spool.notes.record_outcome(self._outcome)
        self.done.refusing = why if self._outcome.refusing else ""
        if self.done.refusing and self._is_loud("refused"):
            log.error(
                "InfluxDB refuses most hits, %d of the last %d; they are put into quarantine: %s",
                gone,
                taken + gone,
                why,
            )
        elif lost and not self.done.refusing and self._is_loud("some"):
            log.error("%d refused hits were put into quarantine: %s", lost, why)
        elif earlier.refusing and not self.done.refusing:
            log.warning("InfluxDB accepts most hits again. To write the refused ones: pfa-flux quarantine --retry")

    def _lines(self, batch: Sequence[Waiting]) -> list[str]:
        lines = []
        for turn in batch:
            moment = turn.time
            for view in turn.views:
                if view is not None:
                    start = self._starts.get((turn.sess, view)) or self._start(turn.sess, view)
                    lines.append(f"{start}{moment}")
                moment += 1
        return lines

    def _start(self, sess: str, view: View) -> str:
        """The line of a page view without its time."""
        start = line(point_of(view, self._settings.schema, sess, 0)).removesuffix("0")
        self._starts.add((sess, view), start, size_of(view))
        return start

    def _note_late(self, batch: Sequence[Waiting]) -> bool:
        """Note the windows for which a batch is late. Returns whether this succeeded."""
        now = self._clock()
        late: dict[TaskSpec, set[int]] = {}
        for turn in batch:
            for kind, spec in self._specs.items():
                if turn.time < late_before(spec, now) and any(
                    view is not None and view.kind == kind for view in turn.views
                ):
                    late.setdefault(spec, set()).add(turn.time)
        try:
            self.done.late += note_late(self._settings, late, patience=POLL)
        except StoreError as error:
            self.done.error = error.message
            self._tell(self.done)
            log.warning("late hits could not be noted for pfa-flux task repair: %s", error)
            return False
        return True
