"""Health of the pixel: it stores hits, and they reach their destination.

The result depends on observed progress, never on the absence of errors.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from pfa_flux.helper.process import Worker
from pfa_flux.journal.base import JournalFile
from pfa_flux.pixel.connection import Roster
from pfa_flux.pixel.counter import Pixel
from pfa_flux.times import NS

STANDS = 7.0
"""Seconds without progress after which hits count as stuck. With the second between two checks, that is under ten."""
_UNWATCHED = 5.0
_LATELY = 90.0
_MOST_RESTARTS = 2
"""Restarts of the helper within a minute that indicate a fault."""
_COUNTED = ("points", "batches", "retries", "refused", "damaged", "late")


class Progress:
    """Tracks whether waiting hits are shipped."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._mark: Hashable = None
        self._since = self._checked = clock()

    def update(self, mark: Hashable) -> None:
        """Record the position of shipping.

        Args:
            mark: the position; None if nothing is waiting.
        """
        self._checked = self._clock()
        if mark is None or mark != self._mark:
            self._mark, self._since = mark, self._checked

    @property
    def standing(self) -> float:
        """Seconds that hits have waited without progress."""
        return 0.0 if self._mark is None else self._clock() - self._since

    @property
    def unwatched(self) -> float:
        """Seconds since the last update."""
        return self._clock() - self._checked


@dataclass(slots=True)
class State:
    """State for the admin address.

    Attributes:
        pixel: the counter.
        journal: the spool or the store.
        roster: the connections.
        worker: the helper process.
        started: Unix time of the start, seconds.
        shipped: the shipper's last report; empty without a shipper.
        clock: returns the current time, nanoseconds.
        upkeep: results of comparing windows with raw data, by side; empty if the helper does not compare.
        progress: whether waiting hits make progress.
        failures: number of failures of each background task, by name. A failed task is restarted.
    """

    pixel: Pixel
    journal: JournalFile
    roster: Roster
    worker: Worker
    started: float
    shipped: dict[str, Any]
    clock: Callable[[], int] = time.time_ns
    upkeep: dict[str, dict[str, int]] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    failures: Counter[str] = field(default_factory=Counter)
    _failed: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=20))
    _before: Counter[str] = field(default_factory=Counter)

    @property
    def lag(self) -> float:
        """Age of the oldest hit that is not shipped, seconds."""
        oldest = self.journal.oldest
        return 0.0 if oldest is None else max(0.0, (self.clock() - oldest) / NS)

    def failed(self, name: str) -> None:
        """Record that a background task failed."""
        self.failures[name] += 1
        self._failed.append((time.monotonic(), name))

    @property
    def failed_lately(self) -> list[str]:
        """Background tasks that failed in the last 90 seconds."""
        limit = time.monotonic() - _LATELY
        return sorted({name for moment, name in self._failed if moment > limit})

    def helper_starts(self) -> None:
        """Keep the totals of the last helper, because the new one counts from zero."""
        self._before.update({key: self.shipped.get(key, 0) for key in _COUNTED})
        self.shipped.clear()

    def total(self, key: str) -> int:
        """Total of all helpers since the start."""
        return self._before[key] + int(self.shipped.get(key, 0))


def health(state: State) -> tuple[int, dict[str, object]]:
    """Status and body of /healthz: 200 if hits are stored and shipped, otherwise 503 with the reasons."""
    journal, shipped = state.journal, state.shipped
    wrong = _wrong(state)
    body: dict[str, object] = {
        "ready": not state.roster.draining,
        "journal": f"not writable: {journal.trouble}" if journal.trouble else "writable",
        "shed": state.pixel.shed,
    }
    if state.pixel.shed:
        body["shed_reason"] = state.pixel.shed_why
    if journal.ships:
        body |= {
            "waiting": journal.waiting,
            "lag_seconds": round(state.lag, 1),
            "shipper": shipped.get("error") or shipped.get("refusing") or "ok",
        }
        for key in ("relay", "unknown"):
            if shipped.get(key):
                body[key] = shipped[key]
    if wrong:
        body["wrong"] = wrong
    return (503 if wrong or journal.trouble or state.roster.draining else 200), body


def _wrong(state: State) -> list[str]:
    """What is wrong, as text."""
    shipped, wrong = state.shipped, []
    if state.progress.unwatched > _UNWATCHED:
        wrong.append(f"the journal has not been maintained for {state.progress.unwatched:.0f} s")
    if state.progress.standing >= STANDS:
        why = shipped.get("error") or "the helper process gives no reason"
        wrong.append(f"hits are waiting, and none has been shipped for {state.progress.standing:.0f} s: {why}")
    if shipped.get("refusing"):
        wrong.append(f"InfluxDB refuses most hits, and they go into quarantine: {shipped['refusing']}")
    if state.worker.recent_restarts >= _MOST_RESTARTS:
        wrong.append(f"the helper process ended {state.worker.recent_restarts} times within a minute")
    wrong += [f"the task {name} failed" for name in state.failed_lately]
    return wrong
