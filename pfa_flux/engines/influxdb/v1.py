"""InfluxDB 1.x: buckets are `database/retention policy`, tasks are Kapacitor's or nobody's."""

from __future__ import annotations

import re

from pfa_flux.engines.ask import Rows
from pfa_flux.engines.base import Row
from pfa_flux.engines.influxdb.languages.influxql import identifier
from pfa_flux.engines.influxdb.server import Server
from pfa_flux.engines.influxdb.transport import BUCKET_HINT
from pfa_flux.errors import BucketNotFoundError, CapabilityError
from pfa_flux.times import NS


class InfluxDB1(Server):
    """An InfluxDB without organisations, buckets API and tasks API."""

    def database_of(self, bucket: str) -> tuple[str, str]:
        """Database and retention policy of `database/policy`; `autogen`, as 1.x makes it, where there is no slash."""
        database, _, policy = bucket.partition("/")
        return database, policy or "autogen"

    def has_bucket(self, bucket: str) -> bool:
        """The database is there and has the retention policy."""
        database, policy = self.database_of(bucket)
        if all(row["name"] != database for row in self.statement("SHOW DATABASES", {})):
            return False
        return any(row["name"] == policy for row in self._policies(database))

    def retention(self, bucket: str) -> int:
        """How long the retention policy keeps its points, nanoseconds; 0: for ever."""
        return _nanoseconds(self._policy(bucket)["duration"])

    def shard_width(self, bucket: str) -> int:
        """Span of a shard of the retention policy, nanoseconds; within one, a field has one type."""
        return _nanoseconds(self._policy(bucket)["shardGroupDuration"])

    def delete(self, rows: Rows, start: int, stop: int) -> None:
        """Remove all rows of the measurement that belong to [start, stop), nanoseconds.

        Raises:
            CapabilityError: DELETE would reach into another retention policy of the database that has such points:
                it knows no policies.
        """
        database, policy = self.database_of(rows.bucket)
        first, after = rows.times(start, stop)
        span = f"time >= {first} AND time < {after}"
        name = identifier(rows.measurement)
        for other in self._policies(database):
            source = f"{identifier(database)}.{identifier(other['name'])}.{name}"
            text = f"SELECT * FROM {source} WHERE {span} LIMIT 1"
            if other["name"] != policy and self.statement(text, {"db": database}):
                raise CapabilityError(
                    f"rows of {rows.measurement!r} in {rows.bucket!r} cannot be removed: InfluxDB 1.x would remove "
                    f"those of {database}/{other['name']} as well",
                    "Move one of them to a database of its own.",
                )
        self.statement(f"DELETE FROM {name} WHERE {span}", {"db": database})

    def _policy(self, bucket: str) -> Row:
        database, policy = self.database_of(bucket)
        try:
            for row in self._policies(database):
                if row["name"] == policy:
                    return row
        except BucketNotFoundError:
            pass
        raise BucketNotFoundError(f"the bucket {bucket!r} does not exist", BUCKET_HINT)

    def _policies(self, database: str) -> list[Row]:
        return self.statement(f"SHOW RETENTION POLICIES ON {identifier(database)}", {})

    def create_bucket(self, bucket: str) -> None:
        """Make the database and its retention policy, kept for ever."""
        database, policy = self.database_of(bucket)
        self.statement(f"CREATE DATABASE {identifier(database)}", {})
        if not self.has_bucket(bucket):
            self.statement(
                f"CREATE RETENTION POLICY {identifier(policy)} ON {identifier(database)} DURATION INF REPLICATION 1",
                {},
            )

    def drop_bucket(self, bucket: str) -> None:
        """Remove the retention policy and all that is in it, and its database where that was its last."""
        database, policy = self.database_of(bucket)
        self.statement(f"DROP RETENTION POLICY {identifier(policy)} ON {identifier(database)}", {})
        if not self._policies(database):
            self.statement(f"DROP DATABASE {identifier(database)}", {})


_UNITS = {"h": 3600, "m": 60, "s": 1}


def _nanoseconds(duration: str) -> int:
    """Nanoseconds of a duration as Go writes it: `168h0m0s`."""
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([hms])", duration)) * NS
