"""HTTP to a server under test, by urllib3 alone: nothing of pfa-flux checks pfa-flux."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from itertools import islice
from typing import Any

import urllib3
from influxdb_client.client.flux_csv_parser import FluxCsvParser, FluxSerializationMode


class ServerError(Exception):
    """The server refused; holds its status and text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status, self.text = status, text


class Client:
    """One server's address and credentials."""

    def __init__(self, url: str, token: str, org: str) -> None:
        self.url, self.token, self.org = url, token, org
        self._pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=5, read=120))

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> urllib3.BaseHTTPResponse:
        """Answer to a request.

        Raises:
            ServerError: its status is not 2xx.
        """
        if self.token:
            headers["Authorization"] = f"Token {self.token}"
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self._pool.request(method, f"{self.url}{path}", body=body, headers=sent)
        if not 200 <= answer.status < 300:
            raise ServerError(answer.status, answer.data.decode(errors="replace"))
        return answer

    def json(self, method: str, path: str, body: object = None) -> Any:
        """JSON answer to a JSON request."""
        data = json.dumps(body).encode() if body is not None else None
        text = self.request(method, path, data, Content_Type="application/json").data
        return json.loads(text) if text else None

    def answers(self, path: str = "/ping") -> bool:
        """It answers at all."""
        try:
            self.request("GET", path)
        except (ServerError, urllib3.exceptions.HTTPError):
            return False
        return True

    def healthy(self) -> bool:
        """InfluxDB 2 says that it is ready."""
        try:
            return bool(self.json("GET", "/health")["status"] == "pass")
        except (ServerError, urllib3.exceptions.HTTPError, ValueError):
            return False

    def version(self) -> str:
        """Version that it names, without a leading v."""
        return self.request("GET", "/ping").headers["X-Influxdb-Version"].removeprefix("v")

    @property
    def is_2(self) -> bool:
        """It has organisations."""
        return bool(self.org)

    def org_id(self) -> str:
        """Id of its organisation."""
        return str(self.json("GET", f"/api/v2/orgs?org={self.org}")["orgs"][0]["id"])

    def bucket_id(self, bucket: str) -> str:
        """Id of a bucket."""
        return str(self.json("GET", f"/api/v2/buckets?org={self.org}&name={bucket}")["buckets"][0]["id"])

    def buckets(self) -> set[str]:
        """Names of its buckets, on 1.x as database/policy."""
        if self.is_2:
            return {b["name"] for b in self.json("GET", f"/api/v2/buckets?org={self.org}&limit=100")["buckets"]}
        found = set()
        for row in self.influxql("SHOW DATABASES"):
            for policy in self.influxql(f'SHOW RETENTION POLICIES ON "{row["name"]}"'):
                found.add(f"{row['name']}/{policy['name']}")
        return found

    def make_bucket(self, bucket: str) -> None:
        """Make a bucket, if there is none of the name; on 1.x a database and its only retention policy."""
        if self.is_2:
            if bucket not in self.buckets():
                body = {"orgID": self.org_id(), "name": bucket, "retentionRules": []}
                self.json("POST", "/api/v2/buckets", body)
            return
        # One that pfa-flux has made may not be its database's default, as it would be here.
        if bucket not in self.buckets():
            database, _, policy = bucket.partition("/")
            self.influxql(f'CREATE DATABASE "{database}" WITH DURATION 0s NAME "{policy}"')

    def drop_bucket(self, bucket: str) -> None:
        """Remove a bucket; on 1.x its database."""
        if self.is_2:
            self.request("DELETE", f"/api/v2/buckets/{self.bucket_id(bucket)}")
        else:
            self.influxql(f'DROP DATABASE "{bucket.partition("/")[0]}"')

    def write(self, bucket: str, lines: Iterable[str]) -> None:
        """Write line protocol with nanosecond times."""
        iterator = iter(lines)
        while batch := list(islice(iterator, 10_000)):
            body = gzip.compress("\n".join(batch).encode(), compresslevel=1)
            path = f"/api/v2/write?org={self.org}&bucket={bucket}&precision=ns"
            self.request("POST", path, body, Content_Encoding="gzip")

    def flux(self, text: str) -> list[dict[str, Any]]:
        """Rows of a Flux query, sent as it stands."""
        dialect = {"header": True, "delimiter": ",", "annotations": ["datatype", "group", "default"]}
        body = json.dumps({"query": text, "type": "flux", "dialect": dialect}).encode()
        path = f"/api/v2/query?org={self.org}"
        answer = self.request("POST", path, body, Content_Type="application/json", Accept="application/csv")
        parser = FluxCsvParser(Body(answer.data), FluxSerializationMode.stream)
        return [record.values for record in parser.generator()]

    def influxql(self, text: str, **query: str) -> list[dict[str, Any]]:
        """Rows of an InfluxQL statement, tags beside columns, times in nanoseconds."""
        parameters = {"q": text, "epoch": "ns", **query}
        headers = {"Authorization": f"Token {self.token}"} if self.token else {}
        answer = self._pool.request(
            "POST", f"{self.url}/query", fields=parameters, encode_multipart=False, headers=headers
        )
        result = json.loads(answer.data)
        first = result["results"][0] if result.get("results") else result
        if answer.status != 200 or "error" in first:
            raise ServerError(answer.status, str(first.get("error", first)))
        return [
            {**series.get("tags", {}), **dict(zip(series["columns"], values, strict=True))}
            for series in first.get("series", ())
            for values in series.get("values", ())
        ]


class Body:
    """What influxdb-client's parser takes for a response: lines of bytes."""

    def __init__(self, data: bytes) -> None:
        self._lines = iter(data.splitlines(keepends=True))

    def __iter__(self) -> Iterable[bytes]:
        return self._lines

    def close(self) -> None:
        pass
