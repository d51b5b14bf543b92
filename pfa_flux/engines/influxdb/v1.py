"""InfluxDB 1.x: a bucket is `database/retention policy`, and only Kapacitor can run tasks."""

from __future__ import annotations

import re
from contextlib import suppress

from pfa_flux.engines.ask import Rows
from pfa_flux.engines.base import Check, Measurement, Row
from pfa_flux.engines.influxdb.languages import influxql
from pfa_flux.engines.influxdb.languages.influxql import identifier, source, tag_values
from pfa_flux.engines.influxdb.server import Server
from pfa_flux.engines.influxdb.transport import BUCKET_HINT, understood
from pfa_flux.errors import AccessDeniedError, BucketNotFoundError, CapabilityError, QueryError
from pfa_flux.settings import Settings
from pfa_flux.times import NS

_MOST_VALUES = 100_000
"""Default of `max-values-per-tag` in InfluxDB 1.x. Only an administrator can read the server's own value."""
_NEARLY_FULL = 0.8
_NAMES = "the answer with databases and retention policies"


class InfluxDB1(Server):
    """An InfluxDB without organisations, buckets API and tasks API."""

    def database_of(self, bucket: str) -> tuple[str, str]:
        """Database and retention policy of `database/policy`. Without a slash, the policy is 1.x's `autogen`."""
        return influxql.database_of(bucket)

    @understood(_NAMES)
    def has_bucket(self, bucket: str) -> bool:
        """Whether the database exists and has the retention policy."""
        database, policy = self.database_of(bucket)
        if all(row["name"] != database for row in self.statement("SHOW DATABASES", {})):
            return False
        return any(row["name"] == policy for row in self._policies(database))

    @understood(_NAMES)
    def buckets(self) -> list[str]:
        """All databases with their retention policies."""
        databases = [row["name"] for row in self.statement("SHOW DATABASES", {})]
        return [f"{database}/{policy['name']}" for database in databases for policy in self._policies(database)]

    @understood(_NAMES)
    def measurements(self, bucket: str) -> list[Measurement]:
        """Measurements of the retention policy that have the tags of page views. One query checks each of them."""
        about = dict(zip(("db", "rp"), self.database_of(bucket), strict=True))
        keys: dict[str, set[str]] = {}
        for row in self.statement("SHOW TAG KEYS", about):
            keys.setdefault(row["measurement"], set()).add(row["tagKey"])
        fields: dict[str, list[str]] = {}
        for row in self.statement("SHOW FIELD KEYS", about):
            fields.setdefault(row["measurement"], []).append(row["fieldKey"])
        likely = sorted(name for name in fields if {"domain", "page"} <= keys.get(name, set()))
        # The index does not tell which retention policy has the rows.
        return [
            Measurement(name, tuple(sorted(set(fields[name]))), "sess" in keys[name])
            for name in likely
            if self.statement(f"SELECT * FROM {source(self.database_of(bucket), name)} LIMIT 1", about)
        ]

    def subscribers(self) -> list[str]:
        """Destinations of subscriptions. Empty if the user may not see them."""
        with suppress(AccessDeniedError, QueryError):
            urls = [str(each) for row in self.statement("SHOW SUBSCRIPTIONS", {}) for each in row["destinations"]]
            return sorted({each for each in urls if each.startswith(("http://", "https://"))})
        return []

    @understood("the answer with the number of values of a tag")
    def check_room(self, settings: Settings) -> list[Check]:
        """`max-values-per-tag` limits the values of a tag in a measurement. Beyond it, InfluxDB refuses points."""
        measurement = identifier(settings.schema.hits_measurement)
        checks = []
        for tag in ("sess", "page"):
            text = f"SHOW TAG VALUES CARDINALITY FROM {measurement} WITH KEY = {identifier(tag)}"
            count = next((int(row["count"]) for row in self.influxql(text, settings.raw_bucket)), 0)
            found = f"{count:,} values of the tag {tag}"
            if count < _NEARLY_FULL * _MOST_VALUES:
                checks.append(Check(f"room for {tag}", "ok", found))
            else:
                advice = f"Set max-values-per-tag to 0; its default is {_MOST_VALUES:,}."
                checks.append(Check(f"room for {tag}", "warning", found, advice))
        return checks

    @understood(_NAMES)
    def retention(self, bucket: str) -> int:
        """How long the retention policy keeps points, nanoseconds. 0 means forever."""
        return _nanoseconds(self._policy(bucket)["duration"])

    @understood(_NAMES)
    def shard_width(self, bucket: str) -> int:
        """Width of a shard of the retention policy, nanoseconds. A field has one type in a shard."""
        return _nanoseconds(self._policy(bucket)["shardGroupDuration"])

    @understood(_NAMES)
    def tag_values(self, rows: Rows, tag: str, start: int, stop: int) -> set[str]:
        """Values of a tag in the measurement, from the index. It covers all times and retention policies."""
        del start, stop
        return {str(row["value"]) for row in self.influxql(tag_values(rows, tag), rows.bucket)}

    @understood(_NAMES)
    def delete(self, rows: Rows, start: int, stop: int) -> None:
        """Remove all rows of the measurement in [start, stop), nanoseconds.

        DELETE in 1.12 can name a retention policy. DELETE in 1.8 cannot: it removes the points from all policies.

        Raises:
            CapabilityError: the server has no DELETE, or DELETE would remove points from another retention policy.
        """
        database, policy = self.database_of(rows.bucket)
        first, after = rows.times(start, stop)
        span = f"time >= {first} AND time < {after}"
        name = identifier(rows.measurement)
        try:
            self.statement(f"DELETE FROM {identifier(policy)}.{name} WHERE {span}", {"db": database})
        except QueryError as error:
            if "unsupported command" in error.said:
                # This is openGemini's message.
                raise CapabilityError(
                    f"rows of {rows.measurement!r} cannot be removed: the server has no DELETE",
                    "Remove them with the server's own tools.",
                ) from error
            if "retention policy not supported" not in error.said:
                raise
            self._refuse_to_reach_others(rows, span)
            self.statement(f"DELETE FROM {name} WHERE {span}", {"db": database})

    def _refuse_to_reach_others(self, rows: Rows, span: str) -> None:
        """Raise CapabilityError if another retention policy also has points of this measurement in the range."""
        database, policy = self.database_of(rows.bucket)
        name = identifier(rows.measurement)
        for other in self._policies(database):
            source = f"{identifier(database)}.{identifier(other['name'])}.{name}"
            text = f"SELECT * FROM {source} WHERE {span} LIMIT 1"
            if other["name"] != policy and self.statement(text, {"db": database}):
                raise CapabilityError(
                    f"rows of {rows.measurement!r} in {rows.bucket!r} cannot be removed: this InfluxDB would remove "
                    f"the rows in {database}/{other['name']} as well",
                    "Move one of them to another database.",
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
        """Create the database and its retention policy, without expiry."""
        (database, policy), copies = self.database_of(bucket), self.transport.network.replication
        if all(row["name"] != database for row in self.statement("SHOW DATABASES", {})):
            # Some clusters require the same number of copies for a policy and its database.
            several = f" WITH REPLICATION {copies}" if copies > 1 else ""
            self.statement(f"CREATE DATABASE {identifier(database)}{several}", {})
        if not self.has_bucket(bucket):
            # INF means the same, but openGemini does not know it.
            self.statement(
                f"CREATE RETENTION POLICY {identifier(policy)} ON {identifier(database)} "
                f"DURATION 0s REPLICATION {copies}",
                {},
            )

    def drop_bucket(self, bucket: str) -> None:
        """Remove the retention policy with all its data. If it was the last, remove the database, too."""
        database, policy = self.database_of(bucket)
        self.statement(f"DROP RETENTION POLICY {identifier(policy)} ON {identifier(database)}", {})
        if not self._policies(database):
            self.statement(f"DROP DATABASE {identifier(database)}", {})


_DURATION = re.compile(r"(?:\d{1,12}[hms]){1,3}")
_UNITS = {"h": 3600, "m": 60, "s": 1}


def _nanoseconds(duration: str) -> int:
    """Nanoseconds of a duration in Go's format: `168h0m0s`."""
    if not _DURATION.fullmatch(duration):
        raise ValueError(duration)
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([hms])", duration)) * NS
