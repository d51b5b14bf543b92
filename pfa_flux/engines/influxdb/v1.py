"""InfluxDB 1.x: buckets are `database/retention policy`, tasks are Kapacitor's or nobody's."""

from __future__ import annotations

import re
from contextlib import suppress

from pfa_flux.engines.ask import Rows
from pfa_flux.engines.base import Check, Measurement, Row
from pfa_flux.engines.influxdb.languages import influxql
from pfa_flux.engines.influxdb.languages.influxql import identifier, source, values
from pfa_flux.engines.influxdb.server import Server
from pfa_flux.engines.influxdb.transport import BUCKET_HINT, understood
from pfa_flux.errors import AccessDeniedError, BucketNotFoundError, CapabilityError, QueryError
from pfa_flux.settings import Settings
from pfa_flux.times import NS

_MOST_VALUES = 100_000
"""`max-values-per-tag` as InfluxDB 1.x is shipped. Only an administrator may ask a server for its own."""
_NEARLY_FULL = 0.8
_NAMES = "the answer with databases and retention policies"


class InfluxDB1(Server):
    """An InfluxDB without organisations, buckets API and tasks API."""

    def database_of(self, bucket: str) -> tuple[str, str]:
        """Database and retention policy of `database/policy`; `autogen`, as 1.x makes it, where there is no slash."""
        return influxql.database_of(bucket)

    @understood(_NAMES)
    def has_bucket(self, bucket: str) -> bool:
        """The database is there and has the retention policy."""
        database, policy = self.database_of(bucket)
        if all(row["name"] != database for row in self.statement("SHOW DATABASES", {})):
            return False
        return any(row["name"] == policy for row in self._policies(database))

    @understood(_NAMES)
    def buckets(self) -> list[str]:
        """Databases and their retention policies."""
        databases = [row["name"] for row in self.statement("SHOW DATABASES", {})]
        return [f"{database}/{policy['name']}" for database in databases for policy in self._policies(database)]

    @understood(_NAMES)
    def measurements(self, bucket: str) -> list[Measurement]:
        """Measurements of the retention policy that have the tags of page views: few, so that each is looked at."""
        about = dict(zip(("db", "rp"), self.database_of(bucket), strict=True))
        keys: dict[str, set[str]] = {}
        for row in self.statement("SHOW TAG KEYS", about):
            keys.setdefault(row["measurement"], set()).add(row["tagKey"])
        fields: dict[str, list[str]] = {}
        for row in self.statement("SHOW FIELD KEYS", about):
            fields.setdefault(row["measurement"], []).append(row["fieldKey"])
        likely = sorted(name for name in fields if {"domain", "page"} <= keys.get(name, set()))
        # The index knows no retention policies.
        return [
            Measurement(name, tuple(sorted(set(fields[name]))), "sess" in keys[name])
            for name in likely
            if self.statement(f"SELECT * FROM {source(self.database_of(bucket), name)} LIMIT 1", about)
        ]

    def subscribers(self) -> list[str]:
        """Destinations of subscriptions; none where the user may not see them."""
        with suppress(AccessDeniedError, QueryError):
            found = [str(each) for row in self.statement("SHOW SUBSCRIPTIONS", {}) for each in row["destinations"]]
            return sorted({each for each in found if each.startswith(("http://", "https://"))})
        return []

    @understood("the answer with the number of values of a tag")
    def _check_room(self, settings: Settings) -> list[Check]:
        """`max-values-per-tag` bounds the values of a tag in a measurement; beyond it points are refused."""
        measurement = identifier(settings.schema.hits_measurement)
        found = []
        for tag in ("sess", "page"):
            text = f"SHOW TAG VALUES CARDINALITY FROM {measurement} WITH KEY = {identifier(tag)}"
            count = next((int(row["count"]) for row in self.influxql(text, settings.raw_bucket)), 0)
            words = f"{count:,} values of the tag {tag}"
            if count < _NEARLY_FULL * _MOST_VALUES:
                found.append(Check(f"room for {tag}", "ok", words))
            else:
                advice = f"Set max-values-per-tag, which is {_MOST_VALUES:,} as shipped, to 0."
                found.append(Check(f"room for {tag}", "warning", words, advice))
        return found

    @understood(_NAMES)
    def retention(self, bucket: str) -> int:
        """How long the retention policy keeps its points, nanoseconds; 0: for ever."""
        return _nanoseconds(self._policy(bucket)["duration"])

    @understood(_NAMES)
    def shard_width(self, bucket: str) -> int:
        """Span of a shard of the retention policy, nanoseconds; within one, a field has one type."""
        return _nanoseconds(self._policy(bucket)["shardGroupDuration"])

    @understood(_NAMES)
    def values(self, rows: Rows, tag: str, start: int, stop: int) -> set[str]:
        """Values of a tag in the measurement, from the index, which knows neither times nor retention policies."""
        del start, stop
        return {str(row["value"]) for row in self.influxql(values(rows, tag), rows.bucket)}

    @understood(_NAMES)
    def delete(self, rows: Rows, start: int, stop: int) -> None:
        """Remove all rows of the measurement that belong to [start, stop), nanoseconds.

        Raises:
            CapabilityError: there is no DELETE; or it would reach into another retention policy of the database that
                has such points: that of 1.8 knows no policies, that of 1.12 does.
        """
        database, policy = self.database_of(rows.bucket)
        first, after = rows.times(start, stop)
        span = f"time >= {first} AND time < {after}"
        name = identifier(rows.measurement)
        try:
            self.statement(f"DELETE FROM {identifier(policy)}.{name} WHERE {span}", {"db": database})
        except QueryError as error:
            if "unsupported command" in error.said:
                # So openGemini says it.
                raise CapabilityError(
                    f"rows of {rows.measurement!r} cannot be removed: the server has no DELETE",
                    "Remove them by the server's own means.",
                ) from error
            if "retention policy not supported" not in error.said:
                raise
            self._refuse_to_reach_others(rows, span)
            self.statement(f"DELETE FROM {name} WHERE {span}", {"db": database})

    def _refuse_to_reach_others(self, rows: Rows, span: str) -> None:
        """Raise CapabilityError if a retention policy beside that of the rows holds such points as well."""
        database, policy = self.database_of(rows.bucket)
        name = identifier(rows.measurement)
        for other in self._policies(database):
            source = f"{identifier(database)}.{identifier(other['name'])}.{name}"
            text = f"SELECT * FROM {source} WHERE {span} LIMIT 1"
            if other["name"] != policy and self.statement(text, {"db": database}):
                raise CapabilityError(
                    f"rows of {rows.measurement!r} in {rows.bucket!r} cannot be removed: this InfluxDB would remove "
                    f"those of {database}/{other['name']} as well",
                    "Move one of them to a database of its own.",
                )

    @understood(_NAMES)
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

    @understood(_NAMES)
    def create_bucket(self, bucket: str) -> None:
        """Make the database and its retention policy, kept for ever."""
        (database, policy), copies = self.database_of(bucket), self.transport.network.replication
        if all(row["name"] != database for row in self.statement("SHOW DATABASES", {})):
            # A policy may not have other copies than its database, on some clusters.
            several = f" WITH REPLICATION {copies}" if copies > 1 else ""
            self.statement(f"CREATE DATABASE {identifier(database)}{several}", {})
        if not self.has_bucket(bucket):
            # Not INF, which means the same: openGemini does not know it.
            self.statement(
                f"CREATE RETENTION POLICY {identifier(policy)} ON {identifier(database)} "
                f"DURATION 0s REPLICATION {copies}",
                {},
            )

    def drop_bucket(self, bucket: str) -> None:
        """Remove the retention policy and all that is in it, and its database where that was its last."""
        database, policy = self.database_of(bucket)
        self.statement(f"DROP RETENTION POLICY {identifier(policy)} ON {identifier(database)}", {})
        if not self._policies(database):
            self.statement(f"DROP DATABASE {identifier(database)}", {})


_DURATION = re.compile(r"(?:\d{1,12}[hms]){1,3}")
_UNITS = {"h": 3600, "m": 60, "s": 1}


def _nanoseconds(duration: str) -> int:
    """Nanoseconds of a duration as Go writes it: `168h0m0s`."""
    if not _DURATION.fullmatch(duration):
        raise ValueError(duration)
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([hms])", duration)) * NS
