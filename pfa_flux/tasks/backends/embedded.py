"""The rollup of the embedded engine: registered in the store, run by `pfa-flux task run`."""

from __future__ import annotations

import time

from pfa_flux.engines.embedded import Embedded
from pfa_flux.tasks.backends.base import Installed
from pfa_flux.tasks.rollup import WINDOW, raw_sums, rollup_point, window_end
from pfa_flux.tasks.spec import TaskSpec
from pfa_flux.times import NS, format_instant

_CHUNK = 96 * WINDOW
"""Windows that are summed and written at once: a day of them."""


class EmbeddedRollup:
    """The downsampling of the embedded store."""

    def __init__(self, store: Embedded, spec: TaskSpec) -> None:
        self._store, self._spec = store, spec

    def text(self) -> str:
        """The spec, as the store keeps it."""
        return self._spec.as_json()

    def shown(self) -> str:
        """The same: it holds no secret."""
        return self.text()

    def find(self) -> list[Installed]:
        """The rollup, where it is registered."""
        rows = self._store.select("SELECT name, spec, ran_at FROM task WHERE name = ?", (self._spec.name,))
        return [Installed(name, spec, True, format_instant(ran_at) if ran_at else "") for name, spec, ran_at in rows]

    def create(self) -> Installed:
        """Register it."""
        with self._store.transaction() as connection:
            connection.execute("INSERT INTO task (name, spec) VALUES (?, ?)", (self._spec.name, self.text()))
        return self.find()[0]

    def update(self, task: Installed, text: str, *, active: bool) -> None:
        """Give it another spec; a registered rollup is always active."""
        del active
        with self._store.transaction() as connection:
            connection.execute("UPDATE task SET spec = ? WHERE name = ?", (text, task.id))

    def remove(self, task: Installed) -> None:
        """Forget it; the rolled up rows stay."""
        with self._store.transaction() as connection:
            connection.execute("DELETE FROM task WHERE name = ?", (task.id,))

    def run(self, task: Installed, stop: int) -> None:
        """Sum the last windows up to `stop` (nanoseconds, a window's end), as a run of a task does."""
        del task
        self.roll_up(stop - self._spec.lookback * WINDOW, stop)

    def run_due(self, now: int) -> tuple[int, int]:
        """Sum every window that was closed since the last run, and the lookback before it.

        The first run begins with the oldest hit.

        Returns:
            Start and stop of what was summed, nanoseconds; equal where nothing was due.
        """
        stop = window_end(now - self._spec.offset * NS)
        done = self._store.select("SELECT done_until FROM task WHERE name = ?", (self._spec.name,))
        since = done[0][0] if done and done[0][0] is not None else self._oldest()
        start = min(stop, window_end(since) if since is not None else stop)
        if done and done[0][0] is not None:
            start -= self._spec.lookback * WINDOW
        self.roll_up(start, stop)
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE task SET done_until = max(coalesce(done_until, ?1), ?1), ran_at = ?2 WHERE name = ?3",
                (stop, time.time_ns(), self._spec.name),
            )
        return start, stop

    def roll_up(self, start: int, stop: int) -> None:
        """Sum the windows of a range, edges of windows; replaces what was there for them."""
        schema = self._spec.schema
        table = self._store.table(self._spec.rollup_bucket)
        for low in range(start, stop, _CHUNK):
            high = min(low + _CHUNK, stop)
            points = [
                rollup_point(self._spec, key, n) for key, n in raw_sums(self._store, self._spec, low, high).items()
            ]
            with self._store.transaction() as connection:
                connection.execute(
                    f"DELETE FROM {table} WHERE time > ? AND time <= ? AND series IN "
                    "(SELECT id FROM series WHERE measurement = ? AND field = ?)",
                    (low, high, schema.rollup_hits_measurement, schema.rollup_hits_field),
                )
                self._store.insert(connection, self._spec.rollup_bucket, points)

    def _oldest(self) -> int | None:
        schema = self._spec.schema
        rows = self._store.select(
            f"SELECT min(time) FROM {self._store.table(self._spec.raw_bucket)} JOIN series ON series.id = series "
            "WHERE measurement = ? AND field = ?",
            (schema.hits_measurement, schema.hits_field),
        )
        return rows[0][0] if rows else None
