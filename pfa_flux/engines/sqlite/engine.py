"""The embedded engine: answers to questions, in SQL."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Literal

from pfa_flux.engines.ask import Ask, Rows, Stored, Sums, Where, Windows
from pfa_flux.engines.base import Capabilities, Check, Checks, EngineDefaults, Span, Uncounted
from pfa_flux.engines.sqlite import proofs
from pfa_flux.engines.sqlite.days import DayReader
from pfa_flux.engines.sqlite.purge import count_late, note_removed, remove_rows
from pfa_flux.engines.sqlite.schema import FORMAT, PREFETCHES, PROVED_SINCE, PURGED_UNTIL
from pfa_flux.engines.sqlite.store import Store
from pfa_flux.engines.sqlite.targets import Targets, series_condition, tag_column
from pfa_flux.settings import Settings
from pfa_flux.times import NS

_NO_ROWS = "(SELECT 0 AS time, 0 AS series, 0 AS value WHERE 0)"


class Embedded(Store, EngineDefaults):
    """The embedded store as an engine. Its two buckets are tables."""

    @property
    def capabilities(self) -> Capabilities:
        """The version of SQLite, and what the store can do."""
        version = f"SQLite {sqlite3.sqlite_version}"
        return Capabilities("embedded", version, expires_proved=True, in_process=True)

    @property
    def address(self) -> str:
        """Path of the file."""
        return str(self.path)

    @property
    def dialects(self) -> tuple[str, ...]:
        """SQL."""
        return ("sqlite",)

    def aggregate(self, asks: Sequence[Ask], dialect: str = "") -> list[Sums]:
        """Answers to questions, from one state of the file. One pass answers all questions with the same range."""
        del dialect
        answers: list[Sums] = [{} for _ in asks]
        with self.snapshot():
            passes: dict[tuple[str, int, int, int | None, tuple[int, ...]], list[tuple[Ask, Sums]]] = {}
            for ask, sums in zip(asks, answers, strict=True):
                days = tuple(self._days(ask))
                key = (self._source(ask.rows), ask.start, ask.stop, ask.every, days)
                passes.setdefault(key, []).append((ask, sums))
            for (table, _, _, _, days), asked in passes.items():
                self._pass(table, days, asked)
        return [{tags: windows for tags, windows in sums.items() if windows} for sums in answers]

    def _pass(self, table: str, days: Sequence[int], asked: Sequence[tuple[Ask, Sums]]) -> None:
        targets = Targets(self, asked)
        if not targets:
            return
        ask = asked[0][0]
        remaining = [(ask.start, ask.stop)]
        if days:
            reader = DayReader(self, ask, targets)
            remaining = reader.read(days)
        for start, stop in remaining:
            self._scan(table, ask, start, stop, targets)

    def _scan(self, table: str, ask: Ask, start: int, stop: int, targets: Targets) -> None:
        """Sum rows of a table, first by series and then by tags."""
        first, after = ask.rows.times(start, stop)
        width = (ask.every or 0) * NS
        window = f"(time - {ask.rows.shift}) / {width} * {width}" if width else str(ask.start)
        sql = f"SELECT series, {window}, count(*), sum(value) FROM {table} WHERE time >= ? AND time < ?"
        only, parameters = targets.condition()
        grouped = "GROUP BY 1, 2" if width else "GROUP BY 1"
        for series, begin, count, total in self.select(f"{sql}{only} {grouped}", (first, after, *parameters)):
            for windows, counts in targets.of(series):
                windows[begin] += count if counts else int(total)

    def _days(self, ask: Ask) -> Iterator[int]:
        """Days of a question that sums of days can answer. Such a sum does not tell the number of its rows."""
        if not ask.rows.every or ask.rows.count or self.format < PROVED_SINCE:
            return
        sql = (
            "SELECT day FROM proved WHERE measurement = ? AND width = ? AND day >= ? AND day + ? <= ? "
            "AND upto >= day + ? ORDER BY day"
        )
        day, width = proofs.DAY, ask.rows.every * NS
        parameters = (ask.rows.measurement, width, ask.start, day, ask.stop, day)
        if proofs.DAY % width == 0 and DayReader.can(ask):
            yield from (day for (day,) in self.select(sql, parameters))

    def _source(self, rows: Rows) -> str:
        """The table of rows. If the file has an older format without this table, an empty one."""
        table = self.table(rows.bucket, rows.measurement)
        return table if table != PREFETCHES or self.format >= FORMAT else _NO_ROWS

    def rows(self, rows: Rows, start: int, stop: int) -> list[Stored]:
        """The rows of [start, stop) with all their tags."""
        first, after = rows.times(start, stop)
        with self.snapshot():
            series = self.select("SELECT id, tags FROM series WHERE measurement = ? AND field = ?",
                                 (rows.measurement, rows.field))  # fmt: skip
            tags = {number: json.loads(text) for number, text in series}
            sql = f"SELECT time, series, value FROM {self._source(rows)} WHERE time >= ? AND time < ?"
            selected = self.select(sql, (first, after))
        return [Stored(time, tags[number], value) for time, number, value in selected if number in tags]

    def edge(self, rows: Rows, pick: Literal["first", "last"], start: int, stop: int, where: Where) -> int | None:
        """Time of the first or last row, or None."""
        first, after = rows.times(start, stop)
        series, parameters = series_condition(rows, where)
        sql = (
            f"SELECT time FROM {self._source(rows)} WHERE time >= ? AND time < ? "
            f"AND series IN (SELECT id FROM series WHERE {series}) "
            f"ORDER BY time {'DESC' if pick == 'last' else ''} LIMIT 1"
        )
        return next((time for (time,) in self.select(sql, (first, after, *parameters))), None)

    def tag_values(self, rows: Rows, tag: str, start: int, stop: int) -> set[str]:
        """Values of a tag in all series."""
        del start, stop
        sql = f"SELECT DISTINCT {tag_column(tag)} FROM series WHERE measurement = ? AND field = ?"
        return {value for (value,) in self.select(sql, (rows.measurement, rows.field))}

    def delete(self, rows: Rows, start: int, stop: int) -> None:
        """Remove all rows of the measurement in [start, stop), nanoseconds."""
        first, after = rows.times(start, stop)
        table = self.table(rows.bucket, rows.measurement)
        with self.transaction() as connection:
            connection.execute(
                f"DELETE FROM {table} WHERE time >= ? AND time < ? AND series IN "
                "(SELECT id FROM series WHERE measurement = ?)",
                (first, after, rows.measurement),
            )
            proofs.take_back(connection, table, rows.measurement, first, after)

    def has_bucket(self, bucket: str) -> bool:
        """Whether the bucket is one of the store's buckets."""
        return bucket in self._tables

    def create_bucket(self, bucket: str) -> None:
        """Check the name: every bucket of the store exists already."""
        self.table(bucket)

    def drop_bucket(self, bucket: str) -> None:
        """Remove all data in the bucket."""
        table = self.table(bucket)
        with self.transaction() as connection:
            connection.execute(f"DELETE FROM {table}")
            if table == "raw":
                connection.execute(f"DELETE FROM {PREFETCHES}")
            connection.execute("DELETE FROM proved")

    def kept_since(self, bucket: str, now: int) -> int:
        """Instant (nanoseconds) from which the bucket still has all points. 0 if none were ever removed."""
        del now
        if self.format < 3 or self.table(bucket) != "raw":
            return 0
        # A store of an older format may record a later instant than it has removed.
        sql = PURGED_UNTIL if self.format < PROVED_SINCE else "SELECT until FROM purged WHERE bucket = 'raw'"
        rows = self.select(sql)
        return int(rows[0][0]) if rows else 0

    def purge(
        self,
        bucket: str,
        measurements: Sequence[str],
        until: int,
        *,
        proved: Sequence[Windows] = (),
        at_once: int = 2000,
    ) -> int:
        """Remove the points of measurements before `until`, nanoseconds. Returns the number of removed points.

        Each transaction removes only some points, so that other writers do not wait for long.

        Args:
            bucket: bucket of the points.
            measurements: measurements of the points.
            until: first instant to keep.
            proved: windows that must be proved. The removal stops before the first window that is not.
            at_once: number of points in one transaction.
        """
        table, total = self.table(bucket), 0
        while removed := remove_rows(self, table, measurements, until, proved, at_once):
            total += removed
        return total

    def uncounted(self, rows: Rows) -> Uncounted:
        """Rows that arrived after the raw rows of their windows were removed."""
        if self.format < PROVED_SINCE:
            return Uncounted()
        waiting = count_late(self, rows)
        sql = "SELECT n, at FROM dropped WHERE bucket = ? AND measurement = ?"
        dropped = self.select(sql, (self.table(rows.bucket), rows.measurement))
        return Uncounted(waiting, *(dropped[0] if dropped else ()))

    def note_removed(self, bucket: str, until: int) -> None:
        """Remember that the points of a bucket before an instant were removed."""
        with self.transaction() as connection:
            note_removed(connection, self.table(bucket), until)

    def mark(self, rows: Rows, start: int, stop: int) -> object:
        """Number and sum of the raw rows of all series. Counting them is much faster than reading them."""
        first, after = rows.times(start, stop)
        sql = f"SELECT count(*), total(value) FROM {self.table(rows.bucket)} WHERE time >= ? AND time < ?"
        return self.select(sql, (first, after))

    def prove(self, windows: Windows, span: Span, mark: object) -> None:
        """Remember that the windows of a span are right, and store the sums of complete days."""
        if span[0] >= span[1] or not self.exists():
            return
        # Only the holder of the lock writes downsampled rows, and this process holds it.
        whole = span[0] // proofs.DAY * proofs.DAY, span[1] // proofs.DAY * proofs.DAY
        sums = proofs.day_rows(self._rollup_rows(windows, whole), windows)
        with self.transaction() as connection:
            if mark is None or mark == self.mark(windows.raw, *span):
                proofs.prove(connection, windows, span, sums)

    def _rollup_rows(self, windows: Windows, span: Span) -> list[tuple[int, int, int]]:
        first, after = windows.rollup.times(*span)
        sql = (
            f"SELECT series, time, value FROM {self.table(windows.rollup.bucket)} WHERE time >= ? AND time < ? "
            "AND series IN (SELECT id FROM series WHERE measurement = ? AND field = ?)"
        )
        return self.select(sql, (first, after, windows.rollup.measurement, windows.rollup.field))

    def unproved(self, windows: Windows, span: Span) -> list[Span] | None:
        """The parts of a span that are not proved."""
        if self.format < PROVED_SINCE:
            return [span] if span[0] < span[1] else []
        sql = (
            "SELECT day, upto FROM proved WHERE measurement = ? AND windows = ? AND day + ? > ? AND day < ? "
            "ORDER BY day"
        )
        rows = self.select(sql, (windows.rollup.measurement, windows.key, proofs.DAY, *span))
        missing, at, reached = [], span[0] // windows.width * windows.width, None
        for day, upto in rows:
            # A window across midnight is proved only if both days are.
            begin = min(-(-day // windows.width) * windows.width, span[1])
            if day != reached and at < begin:
                missing.append((at, begin))
            reached = upto
            at = max(at, min(upto // windows.width * windows.width, span[1]))
        if at < span[1]:
            missing.append((at, span[1]))
        return missing

    def check_sums(self, windows: Windows, span: Span, *, fix: bool) -> list[Span]:
        """Days whose stored sums do not match the downsampled rows."""
        if self.format < PROVED_SINCE:
            return []
        sql = (
            "SELECT day FROM proved WHERE measurement = ? AND width = ? AND day + ? > ? AND day < ? AND upto >= day + ?"
        )
        parameters = (windows.rollup.measurement, windows.width, proofs.DAY, *span, proofs.DAY)
        wrong: list[Span] = []
        for (day,) in self.select(sql, parameters):
            with self.snapshot():
                right = self._day_rows(windows, day)
                stored = self.select(proofs.DAY_ROWS, (day, windows.rollup.measurement, windows.rollup.field))
            if set(stored) != set(right):
                wrong.append((day, day + proofs.DAY))
                if fix:
                    with self.transaction() as connection:
                        proofs.replace_day(connection, windows, day, right)
        return wrong

    def _day_rows(self, windows: Windows, day: int) -> Sequence[proofs.DayRow]:
        return proofs.day_rows(self._rollup_rows(windows, (day, day + proofs.DAY)), windows).get(day, ())

    def checks(self, settings: Settings) -> Checks:
        """A check that shows the store."""
        del settings
        return {"engine": self._check}

    def _check(self) -> list[Check]:
        found = f"embedded, {self.capabilities.version}, {self.path}"
        if self.exists():
            return [Check("engine", "ok", found)]
        return [Check("engine", "warning", f"{found} (no store yet)", "The first hit creates it.")]
