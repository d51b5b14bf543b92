"""Serves /healthz and /metrics on a separate address."""

from __future__ import annotations

import json

from pfa_flux.pixel.connection import Connection
from pfa_flux.pixel.hit import HIT
from pfa_flux.pixel.http import Request, answer
from pfa_flux.serve.health import State, health
from pfa_flux.times import NS


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
            status, body = health(self._state)
            text = json.dumps(body).encode() + b"\n"
            connection.answer(answer(status, text, {"Content-Type": "application/json"}, close=close, head=head))
        else:
            text = metrics(self._state).encode()
            kind = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
            connection.answer(answer(200, text, kind, close=close, head=head))

    def refused(self, status: int, why: str) -> None:
        """Refused requests are not counted here."""


def metrics(state: State) -> str:
    """Body of /metrics. All labels come from fixed lists, so they contain nothing that a client sent.

    https://prometheus.io/docs/instrumenting/exposition_formats/
    """
    pixel, journal, roster, shipped = state.pixel, state.journal, state.roster, state.shipped
    out, rejected = _Text(), sorted(pixel.rejected.items())
    out.add("hits_total", "counter", "Page views stored.", {f'kind="{k}"': n for k, n in pixel.counted.items()} or {
        f'kind="{HIT}"': 0
    })  # fmt: skip
    out.add("rejected_total", "counter", "Requests that were answered but not counted.",
            {f'reason="{reason}"': count for reason, count in rejected if not reason.skipped})  # fmt: skip
    out.add("skipped_total", "counter", "Requests that were not counted because the front skips them.",
            {f'reason="{reason.skipped}"': count for reason, count in rejected if reason.skipped})  # fmt: skip
    out.add("shed_total", "counter", "Page views lost because the journal could not be written.", pixel.shed)
    out.add("folded_total", "counter", "Page views counted as (other), without their own page.", pixel.pages.folded)
    out.add("refused_requests_total", "counter", "Malformed or too large requests.",
            {f'status="{status}"': count for status, count in sorted(pixel.refused_requests.items())})  # fmt: skip
    other = {'what="head"': pixel.heads, 'what="not_found"': pixel.not_found, 'what="method"': pixel.bad_methods}
    out.add("other_requests_total", "counter", "Requests that are not page views.", other)
    out.add("connections", "gauge", "Open connections.", len(roster.open))
    out.add("connections_timed_out_total", "counter", "Connections that timed out during a request.", roster.timed_out)
    out.add(
        "connections_turned_away_total", "counter", "Connections refused beyond max_connections.", roster.turned_away
    )
    out.add("domains", "gauge", "Domains with figures of their own.", pixel.pages.domains)
    out.add("pages", "gauge", "Pages with figures of their own.", len(pixel.pages))
    out.add("journal_failing", "gauge", "1 while page views are lost.", int(bool(journal.trouble)))
    out.add("journal_bytes", "gauge", "Used bytes of the journal.", journal.used_bytes)
    out.add("journal_log_bytes", "gauge", "Size of the journal's write-ahead log.", journal.log_bytes)
    out.add("journal_set_aside_total", "counter", "Damaged journals that were renamed.", journal.set_aside)
    out.add("helper_restarts_total", "counter", "Restarts of the helper process.", state.worker.restarts)
    out.add("helper_garbled_total", "counter", "Invalid messages from the helper process.", state.worker.garbled)
    out.add("task_failures_total", "counter", "Failures of background tasks, each followed by a restart.",
            {f'task="{name}"': count for name, count in sorted(state.failures.items())})  # fmt: skip
    out.add("start_time_seconds", "gauge", "Unix time of the start.", round(state.started, 3))
    for name, kind, help_text, key, unit in _UPKEEP:
        by_side = {f'side="{side}"': report[key] // unit for side, report in sorted(state.upkeep.items())}
        out.add(name, kind, help_text, by_side)
    if journal.ships:
        out.add("journal_rows", "gauge", "Page views waiting to be shipped.", journal.waiting)
        out.add("lag_seconds", "gauge", "Age of the oldest waiting page view.", round(state.lag, 3))
        out.add("shipped_total", "counter", "Points that InfluxDB accepted.", state.total("points"))
        out.add("ship_retries_total", "counter", "Writes to InfluxDB that were repeated.", state.total("retries"))
        out.add("refused_points_total", "counter", "Points that InfluxDB refused.", state.total("refused"))
        out.add(
            "damaged_hits_total", "counter", "Page views in the spool that could not be read.", state.total("damaged")
        )
        out.add("quarantined", "gauge", "Page views in quarantine.", shipped.get("quarantined", 0))
        out.add("late_minutes_total", "counter", "Minutes noted for pfa-flux task repair.", state.total("late"))
        standing = round(state.progress.standing, 3)
        out.add("standing_seconds", "gauge", "Seconds since waiting page views last made progress.", standing)
        out.add("shipper_refused", "gauge", "1 while InfluxDB refuses most points.", int(bool(shipped.get("refusing"))))
        out.add("shipper_failing", "gauge", "1 while writes to InfluxDB fail.", int(bool(shipped.get("error"))))
    return out.text()


_UPKEEP = (
    ("compared_time_seconds", "gauge", "Unix time of the last comparison of windows with raw data.", "at", NS),
    ("mended_windows_total", "counter", "Windows that did not match raw data and were repaired.", "mended", 1),
    ("kept_windows", "gauge", "Windows left unchanged because raw data has lost some of their rows.", "kept", 1),
)


class _Text:
    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, name: str, kind: str, help_text: str, values: float | dict[str, int]) -> None:
        full = f"pfa_flux_{name}"
        self._lines += [f"# HELP {full} {help_text}", f"# TYPE {full} {kind}"]
        for label, value in (values if isinstance(values, dict) else {"": values}).items():
            self._lines.append(f"{full}{{{label}}} {value}" if label else f"{full} {value}")

    def text(self) -> str:
        return "\n".join((*self._lines, ""))
