"""/healthz and /metrics, on an address of their own."""

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
            status, found = health(self._state)
            body = json.dumps(found).encode() + b"\n"
            connection.answer(answer(status, body, {"Content-Type": "application/json"}, close=close, head=head))
        else:
            body = metrics(self._state).encode()
            kind = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
            connection.answer(answer(200, body, kind, close=close, head=head))

    def refused(self, status: int, why: str) -> None:
        """Nothing is counted here."""


def metrics(state: State) -> str:
    """Body of /metrics. Labels come from lists of our own: nothing of what a client sends is in them.

    https://prometheus.io/docs/instrumenting/exposition_formats/
    """
    pixel, journal, roster, shipped = state.pixel, state.journal, state.roster, state.shipped
    out, rejected = _Text(), sorted(pixel.rejected.items())
    out.add("hits_total", "counter", "Hits that are kept.", {f'kind="{k}"': n for k, n in pixel.counted.items()} or {
        f'kind="{HIT}"': 0
    })  # fmt: skip
    out.add("rejected_total", "counter", "Requests answered and not counted.",
            {f'reason="{reason}"': count for reason, count in rejected if not reason.skipped})  # fmt: skip
    out.add("skipped_total", "counter", "Requests answered and not counted, as whoever stands before the pixel asked.",
            {f'reason="{reason.skipped}"': count for reason, count in rejected if reason.skipped})  # fmt: skip
    out.add("shed_total", "counter", "Hits answered and lost, because the journal could not be written.", pixel.shed)
    out.add(
        "folded_total", "counter", "Times a page that could not be told apart was taken as (other).", pixel.pages.folded
    )
    out.add("refused_requests_total", "counter", "Malformed or too large requests.",
            {f'status="{status}"': count for status, count in sorted(pixel.refused_requests.items())})  # fmt: skip
    other = {'what="head"': pixel.heads, 'what="not_found"': pixel.not_found, 'what="method"': pixel.bad_methods}
    out.add("other_requests_total", "counter", "Requests that are no hit.", other)
    out.add("connections", "gauge", "Open connections.", len(roster.open))
    out.add("connections_timed_out_total", "counter", "Connections ended in the middle of a request.", roster.timed_out)
    out.add("connections_turned_away_total", "counter", "Connections beyond max_connections.", roster.turned_away)
    out.add("domains", "gauge", "Domains that are told apart just now.", pixel.pages.domains)
    out.add("pages", "gauge", "Pages that are told apart just now.", len(pixel.pages))
    out.add("journal_failing", "gauge", "1 while hits are shed.", int(bool(journal.trouble)))
    out.add("journal_bytes", "gauge", "Size of the journal that is in use.", journal.used_bytes)
    out.add("journal_log_bytes", "gauge", "Size of its write-ahead log.", journal.log_bytes)
    out.add("journal_set_aside_total", "counter", "Damaged journals that were set aside.", journal.set_aside)
    out.add("helper_restarts_total", "counter", "Times the helper process was started again.", state.worker.restarts)
    out.add("helper_garbled_total", "counter", "Lines of it that were no message.", state.worker.garbled)
    out.add("task_failures_total", "counter", "Times a background task failed and was started again.",
            {f'task="{name}"': count for name, count in sorted(state.failures.items())})  # fmt: skip
    out.add("start_time_seconds", "gauge", "Unix time of the start.", round(state.started, 3))
    for name, kind, words, key, unit in _UPKEEP:
        values = {f'side="{side}"': found[key] // unit for side, found in sorted(state.upkeep.items())}
        out.add(name, kind, words, values)
    if journal.ships:
        out.add("journal_rows", "gauge", "Hits that wait to be shipped.", journal.waiting)
        out.add("lag_seconds", "gauge", "Age of the oldest of them.", round(state.lag, 3))
        out.add("shipped_total", "counter", "Points that InfluxDB has taken.", state.total("points"))
        out.add("ship_retries_total", "counter", "Writes that had to be repeated.", state.total("retries"))
        out.add("refused_points_total", "counter", "Points that it refused.", state.total("refused"))
        out.add("damaged_hits_total", "counter", "Hits that could not be read in the spool.", state.total("damaged"))
        out.add("quarantined", "gauge", "Hits and loads that are in quarantine now.", shipped.get("quarantined", 0))
        out.add("late_minutes_total", "counter", "Minutes noted for pfa-flux task repair.", state.total("late"))
        standing = round(state.progress.standing, 3)
        out.add("standing_seconds", "gauge", "Seconds that hits have waited and none was shipped.", standing)
        out.add("shipper_refused", "gauge", "1 while most points are refused.", int(bool(shipped.get("refusing"))))
        out.add("shipper_failing", "gauge", "1 while writes fail.", int(bool(shipped.get("error"))))
    return out.text()


_UPKEEP = (
    ("compared_time_seconds", "gauge", "Unix time of the last comparison of windows with raw data.", "at", NS),
    ("mended_windows_total", "counter", "Windows that were not what raw data says, and were mended.", "mended", 1),
    ("kept_windows", "gauge", "Windows left as they are, because raw data has lost rows of them.", "kept", 1),
)


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
