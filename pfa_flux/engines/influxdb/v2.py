"""InfluxDB 2.x, OSS, Cloud and Enterprise: organisations, buckets, and its own tasks."""

from __future__ import annotations

import contextlib
import re
from functools import cached_property
from typing import Any

from pfa_flux.engines.ask import Rows
from pfa_flux.engines.base import Measurement, Row
from pfa_flux.engines.influxdb.languages.flux import tag_values, values_where
from pfa_flux.engines.influxdb.rights import READ
from pfa_flux.engines.influxdb.server import Server
from pfa_flux.engines.influxdb.transport import BUCKET_HINT, Transport, understood
from pfa_flux.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    CapabilityError,
    NotInfluxDBError,
    QueryError,
    SettingsError,
)
from pfa_flux.times import NS, format_instant

_NAMES = "the answer with buckets"
_NAMED = re.compile(r'could not find bucket "([^"]+)"')


class InfluxDB2(Server):
    """An InfluxDB with organisations, buckets and a tasks API."""

    def flux(self, text: str) -> list[Row]:
        """The rows of a Flux query.

        Raises:
            AccessDeniedError: the token may not read the bucket. The server itself says that the bucket is missing.
            BucketNotFoundError, QueryError: the server refuses the query. The error has its message.
        """
        try:
            return super().flux(text)
        except BucketNotFoundError as error:
            named = _NAMED.search(error.message)
            if named:
                self._refuse_unreadable(named[1])
            raise

    def tag_values(self, rows: Rows, tag: str, start: int, stop: int) -> set[str]:
        """Values of a tag, from the index of the shards in [start, stop).

        The query is in Flux, because InfluxQL's SHOW TAG VALUES always reads the default bucket of the database.
        """
        text = tag_values(rows, tag, start, stop, self._capabilities)
        return {str(row["_value"] or "") for row in self.flux(text)}

    def measurements(self, bucket: str) -> list[Measurement]:
        """Measurements of the bucket that have the tags of page views."""

        def known(tag: str, **has: str | None) -> set[str]:
            text = values_where(bucket, tag, has, self._capabilities)
            return {str(row["_value"]) for row in self.flux(text)}

        by_writer = known("_measurement", domain=None, page=None, sess=None)
        return [
            Measurement(name, tuple(sorted(known("_field", _measurement=name))), name in by_writer)
            for name in sorted(known("_measurement", domain=None, page=None))
        ]

    def influxql(self, text: str, bucket: str) -> list[Row]:
        """The rows of one InfluxQL statement. It raises the errors of `flux`."""
        try:
            return super().influxql(text, bucket)
        except BucketNotFoundError:
            self._refuse_unreadable(bucket)
            raise

    def _refuse_unreadable(self, bucket: str) -> None:
        """Raise AccessDeniedError if the bucket exists. Only a write tells an unreadable bucket from a missing one."""
        try:
            with contextlib.suppress(AccessDeniedError):
                self.probe_write(bucket)
        except BucketNotFoundError:
            return
        raise AccessDeniedError(f"the token may not read the bucket {bucket!r}", READ.hint())

    @cached_property
    @understood(_NAMES)
    def org_id(self) -> str:
        """Id of the organisation, from any bucket that the token sees: a limited token sees no organisations.

        Raises:
            CapabilityError: the token sees no bucket.
        """
        # The server applies the limit before the token's rights. With a limit of 1, most tokens would see no bucket.
        buckets = self._buckets({"limit": "100"})
        if not buckets:
            raise CapabilityError(
                f"the token sees no bucket in the organisation {self.transport.org!r}",
                "Check PFA_FLUX_ORG, and the rights of the token.",
            )
        return str(buckets[0]["orgID"])

    @understood("the answer with DBRP mappings")
    def database_of(self, bucket: str) -> tuple[str, str]:
        """Database and retention policy of a bucket, from its explicit or virtual DBRP mapping.

        The name does not suffice: an explicit mapping can silently lead `db/rp` to another bucket. The mapping is
        cached, because a figure would otherwise need three times as many requests.

        Raises:
            CapabilityError: the bucket has no mapping.
        """
        if bucket in self._databases:
            return self._databases[bucket]
        bucket_id = self.bucket_id(bucket)
        answer = self.transport.request("GET", "/api/v2/dbrps", query=self.transport.org_query)
        for mapping in answer.listed("content"):
            if mapping["bucketID"] == bucket_id:
                database = str(mapping["database"]), str(mapping["retention_policy"])
                self._databases[bucket] = database
                return database
        raise CapabilityError(
            f"InfluxQL cannot reach the bucket {bucket!r}: it has no DBRP mapping",
            f"Create one: influx v1 dbrp create --bucket-id {bucket_id} --db NAME --rp autogen --default.",
        )

    @cached_property
    def _databases(self) -> dict[str, tuple[str, str]]:
        return {}

    @understood(_NAMES)
    def bucket_id(self, bucket: str) -> str:
        """Id of a bucket.

        Raises:
            AccessDeniedError: the token may not read the bucket.
            BucketNotFoundError: the bucket does not exist.
        """
        return str(self._bucket(bucket)["id"])

    def _bucket(self, bucket: str) -> dict[str, Any]:
        properties = self._find(bucket)
        if properties is None:
            self._refuse_unreadable(bucket)
            raise BucketNotFoundError(
                f"the bucket {bucket!r} does not exist",
                BUCKET_HINT,
            )
        return properties

    def has_bucket(self, bucket: str) -> bool:
        """Whether the bucket exists and the token sees it."""
        return self._find(bucket) is not None

    def buckets(self) -> list[str]:
        """Up to 100 buckets that the token sees."""
        return [str(each["name"]) for each in self._buckets({"limit": "100"})]

    def create_bucket(self, bucket: str) -> None:
        """Create the bucket, without expiry."""
        body = {"orgID": self.org_id, "name": bucket, "retentionRules": []}
        self.transport.request("POST", "/api/v2/buckets", json_body=body)

    def drop_bucket(self, bucket: str) -> None:
        """Remove the bucket with all its data."""
        self.transport.request("DELETE", f"/api/v2/buckets/{self.bucket_id(bucket)}")

    @understood(_NAMES)
    def retention(self, bucket: str) -> int:
        """How long the bucket keeps points, nanoseconds. 0 means forever."""
        return int(self._rule(bucket).get("everySeconds", 0)) * NS

    @understood(_NAMES)
    def shard_width(self, bucket: str) -> int:
        """Width of a shard of the bucket, nanoseconds. A field has one type in a shard."""
        return int(self._rule(bucket).get("shardGroupDurationSeconds", 7 * 86400)) * NS

    def _rule(self, bucket: str) -> dict[str, Any]:
        rules = self._bucket(bucket).get("retentionRules")
        return dict(rules[0]) if rules else {}

    def delete(self, rows: Rows, start: int, stop: int) -> None:
        """Remove all rows of the measurement in [start, stop), nanoseconds.

        Raises:
            CapabilityError: the server cannot remove rows.
        """
        first, after = rows.times(start, stop)
        name = rows.measurement.replace("\\", "\\\\").replace('"', '\\"')
        # The API includes its stop.
        body = {
            "start": format_instant(first),
            "stop": format_instant(after - 1),
            "predicate": f'_measurement="{name}"',
        }
        query = {"bucket": rows.bucket, **self.transport.org_query}
        try:
            self.transport.request("POST", "/api/v2/delete", query=query, json_body=body)
        except (QueryError, NotInfluxDBError) as error:
            if isinstance(error, QueryError) and error.status not in {404, 405, 501}:
                raise
            raise CapabilityError(
                f"rows of {rows.measurement!r} cannot be removed: {error.message}",
                "Remove them with the server's own tools.",
            ) from error

    @understood(_NAMES)
    def _find(self, bucket: str) -> dict[str, Any] | None:
        return next((each for each in self._buckets({"name": bucket}) if each["name"] == bucket), None)

    def _buckets(self, query: dict[str, str]) -> list[dict[str, Any]]:
        try:
            answer = self.transport.request("GET", "/api/v2/buckets", query={**self.transport.org_query, **query})
        except BucketNotFoundError:
            return []
        return answer.listed("buckets")


@understood("the answer with organisations")
def only_org(transport: Transport) -> str:
    """Name of the only organisation that the token sees.

    Raises:
        SettingsError: the token sees no organisation or several, so the settings must name one.
    """
    orgs = transport.request("GET", "/api/v2/orgs", query={"limit": "2"}).listed("orgs")
    if len(orgs) != 1:
        raise SettingsError(
            f"the token sees {'no organisation' if not orgs else 'more than one organisation'}",
            "Set PFA_FLUX_ORG to the organisation.",
        )
    return str(orgs[0]["name"])


def name_org(transport: Transport) -> None:
    """Set the organisation for writes, if it is not set and the server has organisations. Only InfluxDB 2 has them.

    Raises:
        SettingsError: as in `only_org`.
    """
    if transport.org:
        return
    try:
        transport.org = only_org(transport)
    except NotInfluxDBError:
        pass
    except QueryError as error:
        if error.status not in (404, 405):
            raise
