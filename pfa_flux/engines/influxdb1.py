"""InfluxDB 1.x: buckets are `database/retention policy`, tasks are Kapacitor's or nobody's."""

from __future__ import annotations

from pfa_flux.engines.server import Server
from pfa_flux.influxql import identifier


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
        policies = self.statement(f"SHOW RETENTION POLICIES ON {identifier(database)}", {})
        return any(row["name"] == policy for row in policies)

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
        if not self.statement(f"SHOW RETENTION POLICIES ON {identifier(database)}", {}):
            self.statement(f"DROP DATABASE {identifier(database)}", {})
