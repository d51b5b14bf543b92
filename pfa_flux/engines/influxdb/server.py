"""The common part of the engines for InfluxDB 1.x and 2.x."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Literal

from pfa_flux.arguments import named
from pfa_flux.engines.ask import Ask, Rows, Stored, Sums, Where, Windows
from pfa_flux.engines.base import Capabilities, Check, Checks, EngineDefaults, Point, Row, Span
from pfa_flux.engines.influxdb import answers, checks, nodes
from pfa_flux.engines.influxdb.languages import flux, influxql
from pfa_flux.engines.influxdb.lineprotocol import line
from pfa_flux.engines.influxdb.retype import make_integers, shard_start
from pfa_flux.engines.influxdb.transport import Transport, understood
from pfa_flux.errors import AccessDeniedError, BucketNotFoundError, CapabilityError, QueryError
from pfa_flux.settings import Settings
from pfa_flux.times import NS

_IN_DELTA = frozenset({"domain", "page"})
"""Tags that the delta query can group by."""
_MOST_AT_ONCE = 8
"""How many questions run in parallel."""


class Server(EngineDefaults, ABC):
    """An InfluxDB that answers queries and takes points. Methods without a longer docstring are as in `Engine`."""

    def __init__(self, transport: Transport, capabilities: Capabilities) -> None:
        self.transport = transport
        self._capabilities = capabilities
        self._partial, self._counting = 0, threading.Lock()
        self._nodes = nodes.Nodes(lambda: self.statement(nodes.SHOW, {}))

    @property
    def capabilities(self) -> Capabilities:
        """What the server can do."""
        return self._capabilities

    @property
    def address(self) -> str:
        """The server's address, without credentials."""
        return self.transport.address

    @property
    def dialects(self) -> tuple[str, ...]:
        """The query languages, with InfluxQL first.

        Measured on 1.8 and 2.7, InfluxQL by window is 50 and 10 times as fast as Flux; over a range, it is at least
        twice as fast. It also counts correctly if the type of a field has changed.
        """
        can = self._capabilities
        in_flux = (("join", "union") if can.join else ("union",)) if can.flux else ()
        return ("influxql", *in_flux)

    @understood("the answer with the types of fields")
    def admits(self, dialect: str, rows: Sequence[Rows]) -> bool:
        """Whether a dialect is known to count these rows correctly. False for Flux if types cannot be checked.

        If the type of a field differs between shards, Flux silently skips rows, so pfa-flux must not use it.

        Raises:
            CapabilityError: InfluxQL does not reach the rows, or Flux would miscount them.
        """
        if dialect == "influxql":
            for each in rows:
                self.database_of(each.bucket)
            return True
        mixed: list[str] = []
        try:
            for bucket in dict.fromkeys(each.bucket for each in rows):
                fields = [each for each in rows if each.bucket == bucket]
                mixed += influxql.mixed(self.influxql(influxql.types(fields), bucket), fields)
        except (CapabilityError, BucketNotFoundError, QueryError):
            return False
        if mixed:
            raise CapabilityError(
                f"Flux would miscount: {', '.join(mixed)} is an integer in some shards and a float in others",
                f"Use {named('dialect', 'auto')}.",
            )
        return True

    def aggregate(self, asks: Sequence[Ask], dialect: str = "") -> list[Sums]:
        """Answers to questions, which run in parallel."""
        return _in_parallel(list(self._calls(asks, dialect)))

    def _calls(self, asks: Sequence[Ask], dialect: str) -> Iterator[Callable[[], list[Sums]]]:
        """The functions to call. Each returns the answers to one or two of the questions."""
        waiting = list(asks)
        while waiting:
            ask = waiting.pop(0)
            if ask.optional:
                yield partial(self._or_nothing, replace(ask, optional=False), dialect)
                continue
            database = self._database(ask.rows.bucket, dialect)
            if database is not None:
                yield partial(self._in_influxql, ask, database)
            elif dialect in {"join", "union"} and not ask.rows.every and set(ask.tags) <= _IN_DELTA:
                # Hits are summed, and loads are counted. One query answers both if they have the same shape.
                follows = waiting and waiting[0].rows.count and not ask.rows.count and ask.same_shape(waiting[0])
                yield partial(self._delta, ask, waiting.pop(0) if follows else None, dialect)
            else:
                yield partial(self._in_flux, ask)

    def _or_nothing(self, ask: Ask, dialect: str) -> list[Sums]:
        """The answer, or no rows: some servers refuse a measurement without points, and a token may lack a right."""
        try:
            return self.aggregate([ask], dialect)
        except (AccessDeniedError, BucketNotFoundError, CapabilityError, QueryError):
            return [{}]

    @understood("the answer to a question")
    def _in_influxql(self, ask: Ask, database: Sequence[str]) -> list[Sums]:
        return [influxql.read_sums(self.influxql(influxql.sums(ask, database), ask.rows.bucket), ask)]

    @understood("the answer to a question")
    def _in_flux(self, ask: Ask) -> list[Sums]:
        return [flux.read_sums(self.flux(flux.sums(ask, self._capabilities)), ask)]

    @understood("the answer to a question")
    def _delta(self, ask: Ask, pair: Ask | None, dialect: str) -> list[Sums]:
        hits, loads = (None, ask) if ask.rows.count else (ask, pair)
        answer = self.flux(flux.delta(hits, loads, dialect, self._capabilities))
        both = flux.read_delta(answer, hits, loads)
        return [sums for sums, asked in zip(both, (hits, loads), strict=True) if asked]

    def _database(self, bucket: str, dialect: str = "") -> Sequence[str] | None:
        """Database and retention policy of a bucket for InfluxQL. None to use Flux."""
        if dialect in {"join", "union"}:
            return None
        try:
            return self.database_of(bucket)
        except CapabilityError:
            if dialect == "influxql" or not self._capabilities.flux:
                raise
            return None

    @understood("the answer with rows")
    def rows(self, rows: Rows, start: int, stop: int) -> list[Stored]:
        """The rows of [start, stop) with all their tags. The query is in InfluxQL if that reaches the bucket."""
        database = self._database(rows.bucket)
        if database is None:
            return flux.read_rows(self.flux(flux.rows(rows, start, stop, self._capabilities)))
        stored = influxql.read_rows(self.influxql(influxql.rows(rows, start, stop, database), rows.bucket))
        if not stored or not self._has_floats(rows, start, stop, database):
            return stored
        # InfluxQL's JSON writes 2.0 as 2. A shard has one type for a field, so each shard is checked.
        width = self.shard_width(rows.bucket)
        shards = {shard_start(row.time, width) for row in stored}
        floats = {low for low in shards if self._has_floats(rows, low - rows.shift, low - rows.shift + width, database)}
        return [
            row._replace(value=float(row.value)) if shard_start(row.time, width) in floats else row for row in stored
        ]

    @understood("the answer with series")
    def may_hold_others(self, windows: Windows, span: Span) -> bool:
        """As in `Engine`, from a list of the series.

        It does not detect rows with the task's tags and a time that is not the end of a window.
        """
        rows, database = windows.rollup, self._database(windows.rollup.bucket)
        if database is None:
            return True
        series = self.influxql(influxql.series(rows, *span, database), rows.bucket)
        most = (span[1] - span[0]) // windows.width
        return influxql.has_others(series, windows.tags, most) or self._has_floats(rows, *span, database)

    def keeps_floats(self, rows: Rows, start: int, stop: int) -> bool:
        """Whether a shard with rows of [start, stop) has floats."""
        database = self._database(rows.bucket)
        if database is None:
            return False
        width, (first, after) = self.shard_width(rows.bucket), rows.times(start, stop)
        low, high = shard_start(first, width) - rows.shift, shard_start(after - 1, width) + width - rows.shift
        return self._has_floats(rows, low, high, database)

    def make_integers(self, rows: Rows, start: int, stop: int) -> None:
        """Turn all values in the shards of [start, stop) into integers.

        Raises:
            TaskError: a value is not a whole number.
        """
        make_integers(self, rows, start, stop)

    @abstractmethod
    def delete(self, rows: Rows, start: int, stop: int) -> None:
        """Remove all rows of the measurement in [start, stop), nanoseconds."""

    @abstractmethod
    def has_bucket(self, bucket: str) -> bool:
        """Whether the bucket exists."""

    @abstractmethod
    def shard_width(self, bucket: str) -> int:
        """Width of a shard of the bucket, nanoseconds. A field has one type in a shard."""

    def takes_floats(self, rows: Rows, now: int) -> bool:
        """Whether the shard for points of `now` has floats."""
        database = self._database(rows.bucket)
        if database is None:
            return False
        start = shard_start(now, self.shard_width(rows.bucket))
        return self._has_floats(rows, start, now + 1, database)

    def _has_floats(self, rows: Rows, start: int, stop: int, database: Sequence[str]) -> bool:
        """Whether the field is a float in a shard of the range."""
        try:
            self.influxql(influxql.whole_numbers(rows, start, stop, database), rows.bucket)
        except QueryError as error:
            if influxql.is_float(error.said):
                return True
            raise
        return False

    @understood("the answer with the time of a row")
    def edge(self, rows: Rows, pick: Literal["first", "last"], start: int, stop: int, where: Where) -> int | None:
        """Time of the first or last row, or None."""
        database = self._database(rows.bucket)
        if database is None:
            answer = self.flux(flux.edge(rows, pick, start, stop, where, self._capabilities))
            return flux.read_time(answer)
        text = influxql.edge(rows, pick, start, stop, where, database)
        return next((int(row["time"]) for row in self.influxql(text, rows.bucket)), None)

    def flux(self, text: str) -> list[Row]:
        """The rows of a Flux query.

        Raises:
            CapabilityError: Flux is off.
            QueryError: the server refuses the query. The error has its message.
        """
        return self.transport.flux(text)

    def influxql(self, text: str, bucket: str) -> list[Row]:
        """The rows of one InfluxQL statement for a bucket, with tags and columns. Times are in nanoseconds.

        Raises:
            BucketNotFoundError: InfluxQL does not find the bucket.
            QueryError: the server refuses the statement.
        """
        database, policy = self.database_of(bucket)
        return self.statement(text, {"db": database, **({"rp": policy} if policy else {})})

    def statement(self, text: str, query: Mapping[str, str]) -> list[Row]:
        """The rows of one InfluxQL statement, with these query parameters.

        Each request has one statement: if one of several fails, InfluxDB 1.8 reports "not executed" without the reason.
        """
        query = {**query, "epoch": "ns"}
        response = self.transport.request("POST", "/query", query=query, form={"q": text})
        answer = answers.read(response.text)
        if text != nodes.SHOW and response.headers.get("X-Influxdb-Build") != "OSS":
            # A server of the open-source build has no nodes.
            self._nodes.asked()
        if answer.partial:
            with self._counting:
                self._partial += 1
        return answer.rows

    @property
    def partial_answers(self) -> int:
        """How many InfluxQL answers so far were partial, because the server said so or a node was missing.

        Flux does not mark partial answers.
        """
        return self._partial + self._nodes.partial_answers()

    def database_of(self, bucket: str) -> tuple[str, str]:
        """Database and retention policy of a bucket in InfluxQL."""
        database, _, policy = bucket.partition("/")
        return database, policy

    @abstractmethod
    def retention(self, bucket: str) -> int:
        """How long the bucket keeps points, nanoseconds. 0 means forever."""

    def kept_since(self, bucket: str, now: int) -> int:
        """Instant (nanoseconds) from which the bucket still has all points at `now`. 0 if points never expire."""
        keeps = self.retention(bucket)
        return now - keeps if keeps else 0

    def write(self, bucket: str, points: Iterable[Point]) -> int:
        """Write points, 5,000 in each request. Returns the number of points.

        Raises:
            InvalidValueError: line protocol cannot carry a point.
            QueryError: the server refuses some points.
        """
        return self.transport.write(bucket, (line(point) for point in points))

    def probe_write(self, bucket: str) -> None:
        """Check the right to write to a bucket, without writing a point.

        Raises:
            AccessDeniedError, BucketNotFoundError: the right or the bucket is missing.
        """
        self.transport.probe_write(bucket)

    def now(self) -> int:
        """The present by the server's clock, nanoseconds, rounded to the second."""
        date = self.transport.request("GET", "/ping").headers.get("Date", "")
        try:
            return int(parsedate_to_datetime(date).timestamp()) * NS
        except ValueError:
            # A proxy may have removed the header. Then this machine's clock must do.
            return time.time_ns()

    def checks(self, settings: Settings) -> Checks:
        """Checks of the engine, access, Flux, buckets, InfluxQL and the right to write."""
        return checks.of_server(self, settings)

    def check_room(self, settings: Settings) -> list[Check]:
        """Checks of the limits for values of tags. Only 1.x has limits."""
        del settings
        return []

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()


def _in_parallel(calls: Sequence[Callable[[], list[Sums]]]) -> list[Sums]:
    """Answers of calls. A server runs several requests in parallel, but the statements of one request in turn."""
    if len(calls) == 1:
        return calls[0]()
    with ThreadPoolExecutor(min(len(calls), _MOST_AT_ONCE) or 1) as pool:
        # The copied context has the patience of this thread.
        futures = [pool.submit(copy_context().run, call) for call in calls]
        return [sums for future in futures for sums in future.result()]
