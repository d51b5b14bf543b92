"""Flux tasks on a server: InfluxDB 2's tasks API, and Kapacitor's, which is the same but for a few things."""

from __future__ import annotations

import time
from typing import Any

from pfa_flux import flux
from pfa_flux.engines.transport import Transport
from pfa_flux.errors import PfaFluxError, TaskError
from pfa_flux.settings import Secret
from pfa_flux.tasks.backends.base import Installed
from pfa_flux.tasks.spec import TaskSpec
from pfa_flux.times import format_instant

_PATIENCE = 60.0
"""Seconds a forced run may take. One of two windows takes a fraction of a second."""

_DESCRIPTION = "Hits of the pixel in windows of 15 minutes, without sess. Kept by pfa-flux."


class InfluxDBTasks:
    """Tasks of InfluxDB 2."""

    def __init__(self, transport: Transport, spec: TaskSpec) -> None:
        self._transport, self._spec = transport, spec

    def text(self) -> str:
        """What the task is to be."""
        return self._spec.flux()

    def shown(self) -> str:
        """The same: it holds no secret."""
        return self.text()

    def find(self) -> list[Installed]:
        """The tasks of the name in the organisation."""
        query = {"name": self._spec.name, "org": self._transport.org, "limit": "500"}
        answer = self._transport.request("GET", "/api/v2/tasks", query=query).json()
        return [_installed(task) for task in answer["tasks"] if task["name"] == self._spec.name]

    def create(self) -> Installed:
        """Make the task, active."""
        body = {"org": self._transport.org, "flux": self.text(), "status": "active", "description": _DESCRIPTION}
        return _installed(self._transport.request("POST", "/api/v2/tasks", json_body=body).json())

    def update(self, task: Installed, text: str, *, active: bool) -> None:
        """Give the task another text and status."""
        body = {"flux": text, "status": "active" if active else "inactive", "description": _DESCRIPTION}
        self._transport.request("PATCH", f"/api/v2/tasks/{task.id}", json_body=body)

    def remove(self, task: Installed) -> None:
        """Delete the task."""
        self._transport.request("DELETE", f"/api/v2/tasks/{task.id}")

    def run(self, task: Installed, stop: int) -> None:
        """Force a run and wait for its end.

        Raises:
            TaskError: it failed, with the server's words, or did not end in time.
        """
        path = f"/api/v2/tasks/{task.id}/runs"
        body = {"scheduledFor": format_instant(stop)}
        run = self._transport.request("POST", path, json_body=body).json()
        deadline = time.monotonic() + _PATIENCE
        while run.get("status") not in {"success", "failed", "canceled"}:
            if time.monotonic() > deadline:
                raise TaskError(
                    f"the run of {task.id} did not end within {_PATIENCE:.0f} s",
                    "Look at the server's load and log.",
                )
            time.sleep(0.1)
            run = self._run(path, run)
        if run["status"] != "success":
            raise TaskError(
                f"the run failed: {self._log(path, run)}",
                "Mend what the server says, then run install-task again.",
            )

    def _run(self, path: str, run: dict[str, Any]) -> dict[str, Any]:
        """The run as it is now; as it was, where the server has put it aside and not yet recorded it."""
        try:
            found: dict[str, Any] = self._transport.request("GET", f"{path}/{run['id']}").json()
        except PfaFluxError:
            return run
        return found

    def _log(self, path: str, run: dict[str, Any]) -> str:
        lines = run.get("log") or self._transport.request("GET", f"{path}/{run['id']}/logs").json().get("events", ())
        words = [str(line.get("message", "")) for line in lines]
        return next((w for w in reversed(words) if "error" in w.lower()), " / ".join(words) or "no reason given")


class KapacitorTasks(InfluxDBTasks):
    """Flux tasks of Kapacitor, which runs them against the InfluxDB 1.x behind it."""

    def __init__(self, transport: Transport, spec: TaskSpec, url: str, token: Secret, *, cut: bool) -> None:
        super().__init__(transport, spec)
        self._url, self._token, self._cut = url, token, cut

    def text(self) -> str:
        """What the task is to be, with the address and the token that Kapacitor needs in it."""
        return self._with(self._token.reveal())

    def shown(self) -> str:
        """The same without the token."""
        return self._with("***" if self._token else "")

    def _with(self, token: str) -> str:
        origin = f", host: {flux.literal(self._url)}, token: {flux.literal(token)}"
        return self._spec.flux(origin=origin, cut=self._cut)

    def find(self) -> list[Installed]:
        """The tasks of the name; Kapacitor can not search by it."""
        answer = self._transport.request("GET", "/api/v2/tasks", query={"limit": "500"}).json()
        return [_installed(task) for task in answer["tasks"] or () if task["name"] == self._spec.name]

    def create(self) -> Installed:
        """Make the task, active."""
        body = {"flux": self.text(), "status": "active", "description": _DESCRIPTION}
        return _installed(self._transport.request("POST", "/api/v2/tasks", json_body=body).json())


def _installed(task: dict[str, Any]) -> Installed:
    return Installed(
        id=str(task["id"]),
        text=str(task["flux"]),
        active=task.get("status") == "active",
        last_run=str(task.get("latestCompleted") or ""),
        last_error=str(task.get("lastRunError") or ""),
    )
