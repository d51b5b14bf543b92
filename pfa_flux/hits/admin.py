"""/healthz and /metrics, on an address of their own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pfa_flux.hits.connection import Connection, Roster
from pfa_flux.hits.http import Request, answer
from pfa_flux.hits.journal import JournalFile
from pfa_flux.hits.pixel import Pixel
from pfa_flux.hits.worker import Worker
from pfa_flux.times import NS


@dataclass(slots=True)
class State:
    """What the admin address tells of.

    Attributes:
        pixel: the counter.
        journal: the spool or the store.
        roster: the connections.
        worker: the helper process.
        started: Unix time of the start, seconds.
        shipped: what the shipper told last; empty without one.
        clock: the present, nanoseconds.
    """

    pixel: Pixel
    journal: JournalFile
    roster: Roster
    worker: Worker
    started: float
    shipped: dict[str, Any]
    clock: Callable[[], int] = time.time_ns

    @property
    def lag(self) -> float:
        """Age of the oldest hit that is not shipped, seconds."""
        oldest = self.journal.oldest
        return 0.0 if oldest is None else max(0.0, (self.clock() - oldest) / NS)


class Admin:
    """The application of the admin address."""

    def __init__(self, state: State) -> None:
        self._state = state

    def handle(self, request: Request, connection: Connection) -> None:
        """Answer /healthz and /metrics."""
        close, head = not request.keep_alive, request.method == b"HEAD"
        if request.path not in (b"/healthz", b"/metrics"):
            connection.answer(answer(404, close=close, head=head))
        elif request.method not in (b"GET", b"HEAD"):
            connection.answer(answer(405, headers={"Allow": "GET, HEAD"}, close=close))
        elif request.path == b"/healthz":
            status, found = health(self._state)
            body = json.dumps(found).encode() + b"\n"
            connection.answer(answer(status, body, {"Content-Type": "application/json"}, close=close, head=head))
        else:
            body = metrics(self._state).encode()
            kind = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
            connection.answer(answer(200, body, kind, close=close, head=head))

    def refused(self, status: int, why: str) -> None:
        """Nothing is counted here."""


def health(state: State) -> tuple[int, dict[str, object]]:
    """Status and body of /healthz: 200 while hits are kept, 503 while they are shed."""
    journal, shipped = state.journal, state.shipped
    found: dict[str, object] = {
        "ready": not state.roster.draining,
        "journal": f"not writable: {journal.trouble}" if journal.trouble else "writable",
        "shed": state.pixel.shed,
    }
    if state.pixel.shed:
        found["shed_reason"] = state.pixel.shed_why
    if journal.ships:
        found |= {
            "waiting": journal.waiting,
            "lag_seconds": round(state.lag, 1),
            "shipper": shipped.get("error") or "ok",
        }
    return (503 if journal.trouble or state.roster.draining else 200), found


def metrics(state: State) -> str:
    """Body of /metrics. Labels come from lists of our own: nothing of what a client sends is in them.

    https://prometheus.io/docs/instrumenting/exposition_formats/
    """
    pixel, journal, roster, shipped = state.pixel, state.journal, state.roster, state.shipped
    out = _Text()
    out.add("hits_total", "counter", "Hits that are kept.", {f'kind="{k}"': n for k, n in pixel.counted.items()} or {
        'kind="hit"': 0
    })  # fmt: skip
    out.add("rejected_total", "counter", "Requests answered and not counted.",
            {f'reason="{reason}"': count for reason, count in sorted(pixel.rejected.items())})  # fmt: skip
    out.add("shed_total", "counter", "Hits answered and lost, because the journal could not be written.", pixel.shed)
    out.add("folded_total", "counter", "Times a page beyond max_pages was taken as (other).", pixel.folded)
    out.add("refused_requests_total", "counter", "Malformed or too large requests.",
            {f'status="{status}"': count for status, count in sorted(pixel.refused_requests.items())})  # fmt: skip
    other = {'what="head"': pixel.heads, 'what="not_found"': pixel.not_found, 'what="method"': pixel.bad_methods}
    out.add("other_requests_total", "counter", "Requests that are no hit.", other)
    out.add("connections", "gauge", "Open connections.", len(roster.open))
    out.add("connections_timed_out_total", "counter", "Connections ended in the middle of a request.", roster.timed_out)
    out.add("connections_turned_away_total", "counter", "Connections beyond max_connections.", roster.turned_away)
    out.add("domains", "gauge", "Distinct domains since the start.", pixel.domains)
    out.add("pages", "gauge", "Distinct pages since the start.", pixel.pages)
    out.add("journal_failing", "gauge", "1 while hits are shed.", int(bool(journal.trouble)))
    out.add("journal_bytes", "gauge", "Size of the journal that is in use.", journal.used_bytes)
    out.add("journal_log_bytes", "gauge", "Size of its write-ahead log.", journal.log_bytes)
    out.add("journal_set_aside_total", "counter", "Damaged journals that were set aside.", journal.set_aside)
    out.add("helper_restarts_total", "counter", "Times the helper process was started again.", state.worker.restarts)
    out.add("start_time_seconds", "gauge", "Unix time of the start.", round(state.started, 3))
    if journal.ships:
        out.add("journal_rows", "gauge", "Hits that wait to be shipped.", journal.waiting)
        out.add("lag_seconds", "gauge", "Age of the oldest of them.", round(state.lag, 3))
        out.add("shipped_total", "counter", "Points that InfluxDB has taken.", shipped.get("points", 0))
        out.add("ship_retries_total", "counter", "Writes that had to be repeated.", shipped.get("retries", 0))
        out.add("refused_points_total", "counter", "Points that it refused.", shipped.get("refused", 0))
        out.add("quarantined", "gauge", "Of them those that are still put by.", shipped.get("quarantined", 0))
        out.add("late_minutes_total", "counter", "Minutes noted for pfa-flux task repair.", shipped.get("late", 0))
        out.add("shipper_failing", "gauge", "1 while writes fail.", int(bool(shipped.get("error"))))
    return out.text()


class _Text:
    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, name: str, kind: str, words: str, values: float | dict[str, int]) -> None:
        full = f"pfa_flux_{name}"
        self._lines += [f"# HELP {full} {words}", f"# TYPE {full} {kind}"]
        for label, value in (values if isinstance(values, dict) else {"": values}).items():
            self._lines.append(f"{full}{{{label}}} {value}" if label else f"{full} {value}")

    def text(self) -> str:
        return "\n".join((*self._lines, ""))
