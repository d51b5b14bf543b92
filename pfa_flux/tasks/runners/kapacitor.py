"""Flux tasks of Kapacitor, whose API is almost InfluxDB 2's tasks API."""

from __future__ import annotations

from pfa_flux.engines.base import Engine
from pfa_flux.engines.influxdb import flux
from pfa_flux.engines.influxdb.detect import kapacitor_transport
from pfa_flux.engines.influxdb.transport import Transport
from pfa_flux.errors import BucketNotFoundError, QueryError
from pfa_flux.settings import Secret, Settings
from pfa_flux.tasks.runners.base import Installed, failed
from pfa_flux.tasks.runners.influxdb import InfluxDBTasks
from pfa_flux.tasks.task_flux import task_flux
from pfa_flux.windows.spec import TaskSpec


def open_backend(engine: Engine, settings: Settings, spec: TaskSpec) -> KapacitorTasks:
    """The tasks of the Kapacitor in front of an InfluxDB 1.x."""
    cut = engine.capabilities.range_takes_stop
    return KapacitorTasks(kapacitor_transport(settings), spec, settings.url, settings.token, cut=cut)


class KapacitorTasks(InfluxDBTasks):
    """Flux tasks that Kapacitor runs on its InfluxDB 1.x."""

    def __init__(self, transport: Transport, spec: TaskSpec, url: str, token: Secret, *, cut: bool) -> None:
        super().__init__(transport, spec)
        self._url, self._token, self._cut = url, token, cut

    @property
    def name(self) -> str:
        """Backend name."""
        return "kapacitor"

    def text(self) -> str:
        """The task's intended text, with the address and token for Kapacitor."""
        origin = f", host: {flux.literal(self._url)}, token: {flux.literal(self._token.reveal())}"
        return task_flux(self._spec, origin=origin, cut=self._cut)

    def run(self, task: Installed, stop: int) -> None:
        """Force a run. Kapacitor answers when it ends.

        Raises:
            TaskError: the run failed. The error has the server's message.
        """
        try:
            super().run(task, stop)
        except (QueryError, BucketNotFoundError) as error:
            words = self.masked(error.message.partition("could not execute task run: ")[2] or error.message)
            raise failed(words) from error

    def find(self) -> list[Installed]:
        """The tasks with the name. Kapacitor cannot search by name, so this reads all tasks."""
        return self._named({})

    def hidden(self) -> None:
        """None: Kapacitor lists all tasks for everybody."""

    def probe(self) -> None:
        """Do nothing: Kapacitor lets everybody create tasks."""

    def _owner(self) -> dict[str, str]:
        return {}
