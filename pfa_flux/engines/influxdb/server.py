"""What InfluxDB 1.x and 2.x have in common as engines."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import replace
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Literal

from pfa_flux.arguments import named
from pfa_flux.engines.ask import Ask, Rows, Stored, Sums, Where, Windows
from pfa_flux.engines.base import Capabilities, Check, Checks, EngineDefaults, Point, Row, Span
from pfa_flux.engines.influxdb import answers, nodes
from pfa_flux.engines.influxdb.languages import flux, influxql
from pfa_flux.engines.influxdb.lineprotocol import line
from pfa_flux.engines.influxdb.retype import make_integers, shard_start
from pfa_flux.engines.influxdb.transport import Transport, understood
from pfa_flux.errors import AccessDeniedError, BucketNotFoundError, CapabilityError, QueryError
from pfa_flux.schema import Side
from pfa_flux.settings import Settings
from pfa_flux.times import NS

_IN_DELTA = frozenset({"domain", "page"})
"""Tags that the delta query can keep apart."""
_MOST_AT_ONCE = 8
"""Questions that are under way at the same time."""


class Server(EngineDefaults, ABC):
    """An InfluxDB that answers queries and takes points."""

    def __init__(self, transport: Transport, capabilities: Capabilities) -> None:
        self.transport = transport
        self._capabilities = capabilities
        self._partial, self._counting = 0, threading.Lock()
        self._nodes = nodes.Nodes(lambda: self.statement(nodes.SHOW, {}))

    @property
    def capabilities(self) -> Capabilities:
        """What it said it can do."""
        return self._capabilities

    @property
    def address(self) -> str:
        """The server's address, without credentials."""
        return self.transport.address

    @property
    def dialects(self) -> tuple[str, ...]:
        """InfluxQL first.

        Measured on 1.8 and 2.7: by window it is 50 and 10 times as fast as Flux, over a range at least twice; and it
        counts right where the type of a field has changed.
        """
        can = self._capabilities
        in_flux = (("join", "union") if can.join else ("union",)) if can.flux else ()
        return ("influxql", *in_flux)

    @understood("the answer with the types of fields")
    def admits(self, dialect: str, rows: Sequence[Rows]) -> bool:
        """Whether a dialect is known to count these rows right; false: Flux, where types cannot be checked.

        Flux reads a field whose type differs between shards in part only; then it must not be used.

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
        """Answers to questions, side by side."""
        return _side_by_side(list(self._calls(asks, dialect)))

    def _calls(self, asks: Sequence[Ask], dialect: str) -> Iterator[Callable[[], list[Sums]]]:
        """What has to be called; each gives the answers to one or two of the questions."""
        left = list(asks)
        while left:
            ask = left.pop(0)
            if ask.optional:
                yield partial(self._or_nothing, replace(ask, optional=False), dialect)
                continue
            database = self._database(ask.rows.bucket, dialect)
            if database is not None:
                yield partial(self._in_influxql, ask, database)
            elif dialect in {"join", "union"} and not ask.rows.every and set(ask.tags) <= _IN_DELTA:
                # Hits are summed, and loads are counted: two of one shape are one query.
                follows = left and left[0].rows.count and not ask.rows.count and ask.same_shape(left[0])
                yield partial(self._delta, ask, left.pop(0) if follows else None, dialect)
            else:
                yield partial(self._in_flux, ask)

    def _or_nothing(self, ask: Ask, dialect: str) -> list[Sums]:
        """There are stores to which a measurement without points is an error, and tokens that may not read all."""
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
        found = flux.read_delta(answer, hits, loads)
        return [sums for sums, asked in zip(found, (hits, loads), strict=True) if asked]

    def _database(self, bucket: str, dialect: str = "") -> Sequence[str] | None:
        """Database and retention policy of a bucket for InfluxQL; None: it is to be asked, or only reached, in Flux."""
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
        """The rows of [start, stop) with all their tags, in InfluxQL wherever it reaches the bucket."""
        database = self._database(rows.bucket)
        if database is None:
            return flux.read_rows(self.flux(flux.rows(rows, start, stop, self._capabilities)))
        found = influxql.read_rows(self.influxql(influxql.rows(rows, start, stop, database), rows.bucket))
        if not found or not self._has_floats(rows, start, stop, database):
            return found
        # InfluxQL's JSON writes 2.0 as 2. A shard has one type, so that each is asked for its own.
        width = self.shard_width(rows.bucket)
        shards = {shard_start(row.time, width) for row in found}
        floats = {low for low in shards if self._has_floats(rows, low - rows.shift, low - rows.shift + width, database)}
        return [
            row._replace(value=float(row.value)) if shard_start(row.time, width) in floats else row for row in found
        ]

    @understood("the answer with series")
    def may_hold_others(self, windows: Windows, span: Span) -> bool:
        """As of `Engine`, from the series that there are.

        A row beside the edges of windows that has the task's own tags is not seen.
        """
        rows, database = windows.rollup, self._database(windows.rollup.bucket)
        if database is None:
            return True
        found = self.influxql(influxql.series(rows, *span, database), rows.bucket)
        most = (span[1] - span[0]) // windows.width
        return influxql.has_others(found, windows.tags, most) or self._has_floats(rows, *span, database)

    def keeps_floats(self, rows: Rows, start: int, stop: int) -> bool:
        """As of `Engine`: there are floats in a shard that [start, stop) lies in."""
        database = self._database(rows.bucket)
        if database is None:
            return False
        width, (first, after) = self.shard_width(rows.bucket), rows.times(start, stop)
        low, high = shard_start(first, width) - rows.shift, shard_start(after - 1, width) + width - rows.shift
        return self._has_floats(rows, low, high, database)

    def make_integers(self, rows: Rows, start: int, stop: int) -> None:
        """Make integers of the values of all rows in the shards that [start, stop) lies in.

        Raises:
            TaskError: a value is no whole number.
        """
        make_integers(self, rows, start, stop)

    @abstractmethod
    def delete(self, rows: Rows, start: int, stop: int) -> None:
        """Remove all rows of the measurement that belong to [start, stop), nanoseconds."""

    @abstractmethod
    def has_bucket(self, bucket: str) -> bool:
        """The bucket exists."""

    @abstractmethod
    def shard_width(self, bucket: str) -> int:
        """Span of a shard of the bucket, nanoseconds; within one, a field has one type."""

    def takes_floats(self, rows: Rows, now: int) -> bool:
        """Some point of the shard that those of `now` go into is a float."""
        database = self._database(rows.bucket)
        if database is None:
            return False
        start = shard_start(now, self.shard_width(rows.bucket))
        return self._has_floats(rows, start, now + 1, database)

    def _has_floats(self, rows: Rows, start: int, stop: int, database: Sequence[str]) -> bool:
        """The field is a float in some shard of the range."""
        try:
            self.influxql(influxql.whole_numbers(rows, start, stop, database), rows.bucket)
        except QueryError as error:
            if influxql.is_float(error.said):
                return True
            raise
        return False

    @understood("the answer with the time of a row")
    def edge(self, rows: Rows, pick: Literal["first", "last"], start: int, stop: int, where: Where) -> int | None:
        """Time of the first or last row."""
        database = self._database(rows.bucket)
        if database is None:
            answer = self.flux(flux.edge(rows, pick, start, stop, where, self._capabilities))
            return flux.read_time(answer)
        text = influxql.edge(rows, pick, start, stop, where, database)
        return next((int(row["time"]) for row in self.influxql(text, rows.bucket)), None)

    def flux(self, text: str) -> list[Row]:
        """Rows of a Flux query.

        Raises:
            CapabilityError: Flux is off. QueryError: the server refuses the query, with its words.
        """
        return self.transport.flux(text)

    def influxql(self, text: str, bucket: str) -> list[Row]:
        """Rows of one InfluxQL statement against a bucket, tags beside columns, times in nanoseconds.

        Raises:
            BucketNotFoundError: InfluxQL reaches no bucket of the name. QueryError: the statement is refused.
        """
        database, policy = self.database_of(bucket)
        return self.statement(text, {"db": database, **({"rp": policy} if policy else {})})

    def statement(self, text: str, query: Mapping[str, str]) -> list[Row]:
        """Rows of one InfluxQL statement, with the query parameters given.

        One a request: of several, InfluxDB 1.8 reports that which failed as "not executed", without its reason.
        """
        query = {**query, "epoch": "ns"}
        response = self.transport.request("POST", "/query", query=query, form={"q": text})
        answer = answers.read(response.text)
        if text != nodes.SHOW and response.headers.get("X-Influxdb-Build") != "OSS":
            # A single server has no nodes to look at.
            self._nodes.asked()
        if answer.partial:
            with self._counting:
                self._partial += 1
        return answer.rows

    @property
    def partial_answers(self) -> int:
        """Number of InfluxQL answers so far that the server itself called partial, or that lack a node's rows.

        Flux has no word for it.
        """
        return self._partial + self._nodes.partial_answers()

    def database_of(self, bucket: str) -> tuple[str, str]:
        """Database and retention policy under which InfluxQL knows a bucket."""
        database, _, policy = bucket.partition("/")
        return database, policy

    @abstractmethod
    def retention(self, bucket: str) -> int:
        """How long the bucket keeps its points, nanoseconds; 0: for ever."""

    def kept_since(self, bucket: str, now: int) -> int:
        """Instant since which all points of the bucket are kept at `now`, nanoseconds; 0: they are kept for ever."""
        keeps = self.retention(bucket)
        return now - keeps if keeps else 0

    def write(self, bucket: str, points: Iterable[Point]) -> int:
        """Write points, 5,000 a request. Returns their number.

        Raises:
            InvalidValueError: a point cannot be carried. QueryError: the server refuses some of them.
        """
        return self.transport.write(bucket, (line(point) for point in points))

    def probe_write(self, bucket: str) -> None:
        """Ask for the right to write to a bucket, without writing.

        Raises:
            AccessDeniedError, BucketNotFoundError: the right or the bucket is missing.
        """
        self.transport.probe_write(bucket)

    def now(self) -> int:
        """The present by the server's clock, nanoseconds, to the second."""
        date = self.transport.request("GET", "/ping").headers.get("Date", "")
        try:
            return int(parsedate_to_datetime(date).timestamp()) * NS
        except ValueError:
            # A proxy may have taken it away; then ours has to do.
            return time.time_ns()

    def checks(self, settings: Settings) -> Checks:
        """Engine, access, Flux, buckets, InfluxQL and the right to write."""
        return {
            "engine": lambda: self._check_engine(settings),
            "buckets": lambda: self._check_buckets(settings),
            "influxql": lambda: self._check_influxql(settings),
            "hits": lambda: [*self._check_types(settings), *self._check_room(settings)],
            "write rollup": lambda: self._check_write(settings),
        }

    def _check_engine(self, settings: Settings) -> list[Check]:
        can = self._capabilities
        advice = "The others are asked instead. Start it, or take it out of PFA_FLUX_URL."
        checks = [
            Check("engine", "ok", f"{can.title} at {', '.join(settings.urls)}"),
            *(Check("address", "warning", words, advice) for words in self.transport.away().values()),
            Check("access", "ok", "the token is accepted" if settings.token else "no token is asked for"),
        ]
        if can.flux:
            package = "with join" if can.join else "without join: where Flux is used, it is union"
            return [*checks, Check("flux", "ok", f"version {can.flux_version}, {package}")]
        advice = "blocked-ratio uses InfluxQL; for tasks set [http] flux-enabled = true in influxdb.conf."
        return [*checks, Check("flux", "warning", "off or absent", advice)]

    def _check_buckets(self, settings: Settings) -> list[Check]:
        advice = {
            "raw": "Set PFA_FLUX_RAW_BUCKET, or make it.",
            "loads": "Set PFA_FLUX_LOADS_BUCKET to where the analytics writes.",
            "rollup": "pfa-flux install-task makes it.",
        }
        buckets = {"raw": settings.raw_bucket, "loads": settings.loads_bucket, "rollup": settings.rollup_bucket}
        return [self._check_bucket(name, bucket, advice[name]) for name, bucket in buckets.items() if bucket]

    def _check_bucket(self, name: str, bucket: str, advice: str) -> Check:
        """Whether a bucket is there. To a token that may not read it only the refusal of a write says so."""
        with suppress(AccessDeniedError):
            if self.has_bucket(bucket):
                return Check(f"{name} bucket", "ok", bucket)
        try:
            self.probe_write(bucket)
        except AccessDeniedError:
            found = f"{bucket}: it is there, and the token may neither read nor write it"
            return Check(f"{name} bucket", "skipped", found, 'The row "token" says who needs that.')
        except BucketNotFoundError:
            return Check(f"{name} bucket", "failed", f"{bucket}: it does not exist", advice)
        return Check(f"{name} bucket", "ok", f"{bucket}, which the token may write and not read")

    def _check_influxql(self, settings: Settings) -> list[Check]:
        return [self._check_reach(bucket) for bucket in settings.raw_buckets]

    def _check_reach(self, bucket: str) -> Check:
        try:
            database, policy = self.database_of(bucket)
            self.influxql("SHOW FIELD KEYS LIMIT 1", bucket)
        except CapabilityError as error:
            return Check("influxql (DBRP)", "warning", error.message, error.hint)
        return Check("influxql (DBRP)", "ok", f"reaches {bucket} as {database}.{policy}")

    def _check_types(self, settings: Settings) -> list[Check]:
        """Whether hits and page loads can be written in a type that is taken."""
        schema, bucket_of = settings.schema, settings.raw_bucket_of
        return [
            self._check_type("hits", bucket_of(Side.HITS), schema.hits_measurement, schema.hits_field),
            self._check_type("loads", bucket_of(Side.LOADS), schema.loads_measurement, schema.loads_field),
        ]

    @understood("the answer with types of fields")
    def _check_type(self, name: str, bucket: str, measurement: str, field: str) -> Check:
        try:
            found = self.influxql(f"SHOW FIELD KEYS FROM {influxql.identifier(measurement)}", bucket)
        except CapabilityError:
            return Check(f"type of {name}", "skipped", "unknown: InfluxQL does not reach the bucket", "As of influxql.")
        kinds = sorted({str(row["fieldType"]) for row in found if row.get("fieldKey") == field})
        words = f"{field}: {' and '.join(kinds) or 'no point yet'}"
        if set(kinds) <= {"integer", "float"}:
            return Check(f"type of {name}", "ok", words)
        advice = "Shards of that type refuse what pfa-flux writes. Use another measurement or bucket."
        return Check(f"type of {name}", "warning", words, advice)

    def _check_room(self, settings: Settings) -> list[Check]:
        """Room for values of tags, where the server bounds them."""
        del settings
        return []

    def _check_write(self, settings: Settings) -> list[Check]:
        self.probe_write(settings.rollup_bucket)
        return [Check("write rollup", "ok", "allowed")]

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()


def _side_by_side(calls: Sequence[Callable[[], list[Sums]]]) -> list[Sums]:
    """Answers of calls: a server works on the statements of one request in turn, and on several requests at once."""
    if len(calls) == 1:
        return calls[0]()
    with ThreadPoolExecutor(min(len(calls), _MOST_AT_ONCE) or 1) as pool:
        # A question waits as long there as it would here.
        under_way = [pool.submit(copy_context().run, call) for call in calls]
        return [sums for answer in under_way for sums in answer.result()]
