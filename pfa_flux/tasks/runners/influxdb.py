"""Flux tasks of InfluxDB 2, through its tasks API."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any, cast

from pfa_flux import foreign
from pfa_flux.engines.base import Engine, Span
from pfa_flux.engines.influxdb import flux
from pfa_flux.engines.influxdb.server import Server
from pfa_flux.engines.influxdb.transport import Transport, understood
from pfa_flux.errors import AccessDeniedError, NotInfluxDBError, QueryError, TaskError
from pfa_flux.settings import Settings
from pfa_flux.tasks.runners.base import Installed, Neighbour, Run, failed, in_words
from pfa_flux.tasks.task_flux import origin_of, task_flux
from pfa_flux.times import format_instant
from pfa_flux.windows.spec import TaskSpec

_PATIENCE = 60.0
"""How many seconds a forced run may take. A run of two windows takes a fraction of a second."""

_LOG_SECONDS = 5.0
_PAGE = 500
"""How many tasks or runs to request in one answer. Servers allow no more."""

_TASKS, _RUNS = "the answer with tasks", "the answer with runs of a task"
_LINE = 1_000
"""How many characters of a log line to show."""

_DESCRIPTION = "Downsamples to windows, without sess. Kept by pfa-flux."
_TOKEN = re.compile(r'(\btoken\s*(?::|=)\s*)"(?:\\.|[^"\\])*"')


def open_backend(engine: Engine, settings: Settings, spec: TaskSpec) -> InfluxDBTasks:
    """The tasks of an InfluxDB 2 engine."""
    del settings
    return InfluxDBTasks(cast("Server", engine).transport, spec)


class InfluxDBTasks:
    """Tasks of InfluxDB 2."""

    def __init__(self, transport: Transport, spec: TaskSpec) -> None:
        self._transport, self._spec = transport, spec

    @property
    def name(self) -> str:
        """Backend name."""
        return "influxdb"

    def text(self) -> str:
        """The task's intended text."""
        return task_flux(self._spec)

    def masked(self, text: str) -> str:
        """A task's Flux without any tokens."""
        return _TOKEN.sub(r'\1"***"', text)

    def find(self) -> list[Installed]:
        """The tasks with the name in the organisation."""
        return self._named({"name": self._spec.name, **self._owner()})

    @understood(_TASKS)
    def _named(self, query: dict[str, str]) -> list[Installed]:
        return [_installed(task) for task in self._listed(query) if task["name"] == self._spec.name]

    def _listed(self, query: dict[str, str]) -> Iterator[dict[str, Any]]:
        """The tasks that a query lists, page by page."""
        page = {**query, "limit": str(_PAGE)}
        while True:
            tasks = self._transport.request("GET", "/api/v2/tasks", query=page).listed("tasks")
            yield from tasks
            if len(tasks) < _PAGE:
                return
            page["after"] = str(tasks[-1]["id"])

    def hidden(self) -> AccessDeniedError | None:
        """Why `find` may not list existing tasks: InfluxDB lists none for a token without the right to see them.

        A token that sees any task of the organisation sees all of them. A token that sees none but may create tasks is
        assumed to see them, too.
        """
        if self._transport.request("GET", "/api/v2/tasks", query={"limit": "1", **self._owner()}).listed("tasks"):
            return None
        try:
            self.probe()
        except AccessDeniedError as error:
            return AccessDeniedError(
                f"the token may not see tasks: InfluxDB lists none for it, so {self._spec.name!r} may be installed",
                error.hint,
            )
        return None

    def probe(self) -> None:
        """Check the right to create tasks, with an invalid script: InfluxDB checks the right before the script."""
        with suppress(QueryError):
            self._transport.request("POST", "/api/v2/tasks", json_body={"flux": "0", **self._owner()})

    @understood(_TASKS)
    def neighbours(self) -> list[Neighbour]:
        """Tasks of other names whose Flux names the rollup bucket, and the measurement of raw or downsampled data."""
        spec = self._spec
        bucket, names = (
            flux.literal(spec.rollup_bucket),
            (flux.literal(spec.source), flux.literal(spec.measurement)),
        )
        return [
            Neighbour(task["name"], str(task["id"]), origin_of(text), task.get("status") == "active")
            for task in self._listed(self._owner())
            if task["name"] != spec.name
            and bucket in (text := str(task["flux"]))
            and any(name in text for name in names)
        ]

    @understood(_TASKS)
    def create(self) -> Installed:
        """Create the task and enable it."""
        body = {"flux": self.text(), "status": "active", "description": _DESCRIPTION, **self._owner()}
        return _installed(self._transport.request("POST", "/api/v2/tasks", json_body=body).json())

    def _owner(self) -> dict[str, str]:
        return self._transport.org_query

    def update(self, task: Installed, text: str, *, active: bool) -> None:
        """Change the text and status of the task."""
        body = {"flux": text, "status": "active" if active else "inactive", "description": _DESCRIPTION}
        self._transport.request("PATCH", f"/api/v2/tasks/{task.id}", json_body=body)

    def remove(self, task: Installed) -> None:
        """Delete the task."""
        self._transport.request("DELETE", f"/api/v2/tasks/{task.id}")

    @understood(_RUNS)
    def run(self, task: Installed, stop: int) -> None:
        """Force a run and wait until it ends.

        Raises:
            TaskError: the run failed or did not end in time. The error has the server's message.
        """
        path = f"/api/v2/tasks/{task.id}/runs"
        body = {"scheduledFor": format_instant(stop)}
        run = self._transport.request("POST", path, json_body=body).json()
        deadline = time.monotonic() + _PATIENCE
        while run.get("status") not in {"success", "failed", "canceled"}:
            if time.monotonic() > deadline:
                raise TaskError(
                    f"the run of {task.id} did not end within {_PATIENCE:.0f} s",
                    "Check the load and the log of the server.",
                )
            time.sleep(0.1)
            run = self._run(path, run)
        if run["status"] != "success":
            raise failed(self._reason(path, run, seconds=_LOG_SECONDS))

    def run_now(self, task: Installed, now: int) -> list[Span]:
        """Force a run for the last closed windows. Returns their range."""
        stop = self._spec.due(now)
        self.run(task, stop)
        return [(stop - self._spec.reach, stop)]

    @property
    def advice(self) -> str:
        """Empty: InfluxDB runs the task without further setup."""
        return ""

    @understood(_RUNS)
    def runs(self, task: Installed, limit: int) -> list[Run]:
        """The newest recorded runs, newest first."""
        path = f"/api/v2/tasks/{task.id}/runs"
        try:
            # This requests all runs: with a lower limit, a server returns the oldest.
            runs = self._transport.request("GET", path, query={"limit": str(_PAGE)}).listed("runs", required=False)
        except (QueryError, NotInfluxDBError):
            # Kapacitor answers like this if the task has not run since Kapacitor started.
            return []
        runs.sort(key=lambda run: (str(run.get("scheduledFor", "")), str(run.get("startedAt", ""))), reverse=True)
        return [
            Run(
                str(run["id"]),
                str(run.get("scheduledFor", "")),
                str(run.get("status", "")),
                _time(run.get("startedAt")),
                _time(run.get("finishedAt")),
                self._reason(path, run) if run.get("status") == "failed" else "",
            )
            for run in runs[:limit]
        ]

    def logs(self, task: Installed, run: str = "") -> list[str]:
        """Lines of the log, oldest first."""
        path = f"/api/v2/tasks/{task.id}" + (f"/runs/{run}" if run else "")
        try:
            events = self._transport.request("GET", f"{path}/logs").listed("events", required=False)
        except (QueryError, NotInfluxDBError):
            return []
        lines = sorted((str(event.get("time", "")), str(event.get("message", ""))) for event in events)
        return [foreign.said(self.masked(f"{moment} {words}"), _LINE) for moment, words in lines]

    def _run(self, path: str, run: dict[str, Any]) -> dict[str, Any]:
        """The current state of the run. If the server has not recorded it yet, the previous state."""
        try:
            recorded: dict[str, Any] = self._transport.request("GET", f"{path}/{run['id']}").json()
        except (QueryError, NotInfluxDBError):
            return run
        return recorded

    def _reason(self, path: str, run: dict[str, Any], seconds: float = 0.0) -> str:
        """Why a run failed, from its log. A server may write the log after the run ends, so this waits `seconds`."""
        answer = partial(self._transport.request, "GET", f"{path}/{run['id']}/logs")
        lines = run.get("log") or answer().listed("events", required=False)
        deadline = time.monotonic() + seconds
        while True:
            # The log begins with the script, which is long and not a reason.
            said = (str(line.get("message", "")) for line in lines)
            words = [each for each in said if not each.startswith("Started task from script")]
            reason = next((each for each in reversed(words) if "error" in each.lower()), "")
            if reason or time.monotonic() >= deadline:
                return foreign.said(in_words(self.masked(reason or " / ".join(words) or "no reason given")))
            time.sleep(0.2)
            lines = answer().listed("events", required=False)


def _installed(task: dict[str, Any]) -> Installed:
    return Installed(
        id=str(task["id"]),
        text=str(task["flux"]),
        active=task.get("status") == "active",
        last_run=_time(task.get("latestCompleted")),
        last_error=foreign.said(in_words(str(task.get("lastRunError") or ""))),
    )


def _time(text: object) -> str:
    """A time as the server writes it. Empty for the year 1, which is Go's value for no time."""
    return "" if not text or str(text).startswith("0001-") else str(text)
