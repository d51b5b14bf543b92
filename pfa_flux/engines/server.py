"""What InfluxDB 1.x and 2.x have in common as engines."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from pfa_flux.engines.base import Capabilities, Point, Row
from pfa_flux.engines.lineprotocol import line
from pfa_flux.engines.transport import BUCKET_HINT, Transport
from pfa_flux.errors import BucketNotFoundError, QueryError
from pfa_flux.flux import Expression, instant, literal
from pfa_flux.times import NS


class Server(ABC):
    """An InfluxDB that answers queries and takes points."""

    def __init__(self, transport: Transport, capabilities: Capabilities) -> None:
        self.transport = transport
        self._capabilities = capabilities

    @property
    def capabilities(self) -> Capabilities:
        """What it said it can do."""
        return self._capabilities

    def flux(self, text: str) -> list[Row]:
        """Rows of a Flux query.

        Raises:
            CapabilityError: Flux is off. QueryError: the server refuses the query, with its words.
        """
        return self.transport.flux(text)

    def v(self, bucket: str, start: int, stop: int) -> dict[str, Expression]:
        """The record `v` for a query file: a bucket, and the range [start, stop), nanoseconds."""
        last = stop - 1 if self._capabilities.range_takes_stop else stop
        return {"bucket": literal(bucket), "timeRangeStart": instant(start), "timeRangeStop": instant(last)}

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
        answer = self.transport.request("POST", "/query", query=query, form={"q": text}).json()
        with self.transport.translated("the InfluxQL query"):
            (result,) = answer.get("results") or [answer]
            return _rows(result)

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

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()


def _rows(result: Any) -> list[Row]:
    """Rows of a result of InfluxQL's JSON.

    Raises:
        BucketNotFoundError, QueryError: the result is an error; it comes with status 200.
    """
    if "error" in result:
        words = str(result["error"])
        if "not found" in words:
            raise BucketNotFoundError(f"InfluxQL finds no such bucket: {words}", BUCKET_HINT)
        raise QueryError(f"the server refuses the InfluxQL query: {words}", "See the server's own words above.")
    return [
        {
            "measurement": series.get("name", ""),
            **series.get("tags", {}),
            **dict(zip(series["columns"], values, strict=True)),
        }
        for series in result.get("series", ())
        for values in series.get("values", ())
    ]
