"""HTTP to InfluxDB and Kapacitor through influxdb-client, with foreign errors turned into ours in one place."""

from __future__ import annotations

import gzip
import json
import re
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Any

import urllib3
from influxdb_client import InfluxDBClient
from influxdb_client.client.flux_csv_parser import FluxCsvParserException, FluxQueryException
from influxdb_client.rest import ApiException

from pfa_flux.engines.base import Row
from pfa_flux.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    BusyError,
    CapabilityError,
    NotInfluxDBError,
    PfaFluxError,
    QueryError,
    TimedOutError,
    TLSError,
    UnreachableError,
)
from pfa_flux.settings import Secret, Settings

BUCKET_HINT = (
    "Check PFA_FLUX_RAW_BUCKET and PFA_FLUX_ROLLUP_BUCKET (database/retention policy on 1.x); "
    "pfa-flux doctor shows which is missing."
)

_BATCH = 5_000
"""Points in one write: the size InfluxData recommends."""

_DENIED = re.compile(r"unauthori[sz]ed|not authori[sz]ed|authorization failed|insufficient permissions|forbidden", re.I)
_NO_BUCKET = re.compile(
    r"could not find bucket|bucket .{0,200}not found|database not found|retention policy not found|"
    r"execute state: no database|no dbrp mapping",
    re.I,
)
_FLUX_OFF = re.compile(r"flux query service disabled", re.I)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer with a status of 2xx."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> Any:
        """The body, parsed.

        Raises:
            NotInfluxDBError: it is no JSON.
        """
        try:
            return json.loads(self.text)
        except ValueError as error:
            raise NotInfluxDBError("the server's answer is no JSON", "Check PFA_FLUX_URL.") from error


class Transport:
    """One server's address, credentials and connections. Safe to use from several threads."""

    def __init__(
        self,
        url: str,
        token: Secret,
        *,
        org: str = "",
        timeout: int = 30,
        ca_file: str = "",
        basic: bool = False,
    ) -> None:
        self.url = url.rstrip("/")
        self._token = token
        options: dict[str, Any] = {"ssl_ca_cert": ca_file} if ca_file else {}
        self._client = InfluxDBClient(
            url=self.url,
            token=token.reveal(),
            org=org,
            timeout=timeout * 1000,
            enable_gzip=True,
            auth_basic=basic,
            **options,
        )
        self._timeout = timeout

    @property
    def org(self) -> str:
        """Organisation that Flux queries name, empty on 1.x."""
        return str(self._client.org or "")

    @org.setter
    def org(self, name: str) -> None:
        self._client.org = name

    @property
    def client(self) -> InfluxDBClient:
        """The client, for its own APIs; use it under `translated`."""
        return self._client

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        json_body: object = None,
        form: Mapping[str, str] | None = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Answer to one request.

        Raises:
            PfaFluxError: as `translated` says.
        """
        api = self._client.api_client
        sent = {**api.default_headers, **(headers or {})}
        if form is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        with self.translated(f"{method} {path}"):
            answer = api.request(
                method,
                f"{self.url}{path}",
                query_params=list((query or {}).items()),
                headers=sent,
                body=data if data is not None else json_body,
                post_params=dict(form) if form is not None else None,
            )
        return Response(answer.status, answer.getheaders(), answer.data)

    def flux(self, text: str) -> list[Row]:
        """Rows of a Flux query, without the columns `result` and `table`."""
        with self.translated("the Flux query"):
            records = self._client.query_api().query_stream(text)
            return [{k: v for k, v in r.values.items() if k not in {"result", "table"}} for r in records]

    def write(self, bucket: str, lines: Iterable[str]) -> int:
        """Write line protocol with nanosecond times, 5,000 points a request. Returns the number of points."""
        query = {"bucket": bucket, "precision": "ns", **({"org": self.org} if self.org else {})}
        headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}
        iterator, written = iter(lines), 0
        while batch := list(islice(iterator, _BATCH)):
            body = gzip.compress("\n".join(batch).encode(), compresslevel=1)
            self.request("POST", "/api/v2/write", query=query, data=body, headers=headers)
            written += len(batch)
        return written

    def probe_write(self, bucket: str) -> None:
        """Ask for the right to write a bucket without writing a point: a comment is an empty write.

        Raises:
            AccessDeniedError, BucketNotFoundError: the right or the bucket is missing.
        """
        query = {"bucket": bucket, "precision": "ns", **({"org": self.org} if self.org else {})}
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        try:
            self.request("POST", "/api/v2/write", query=query, data=b"# x\n", headers=headers)
        except NotInfluxDBError as error:
            # InfluxDB answers 404 here for a bucket or database it does not have.
            raise BucketNotFoundError(f"the bucket {bucket!r} does not exist", BUCKET_HINT) from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @contextmanager
    def translated(self, what: str) -> Iterator[None]:
        """Raise foreign errors of the block as ours; `what` names what was tried.

        Raises:
            UnreachableError: connection refused, name unknown; TimedOutError, TLSError, NotInfluxDBError.
            AccessDeniedError, BucketNotFoundError, CapabilityError: the server said so.
            QueryError: any other refusal, with the server's words.
        """
        try:
            yield
        except PfaFluxError:
            raise
        except ApiException as error:
            raise self._refusal(error, what) from error
        except (FluxQueryException, FluxCsvParserException) as error:
            raise self._by_words(getattr(error, "message", str(error)), what) from error
        except urllib3.exceptions.NewConnectionError as error:  # refused or unknown, though a kind of time-out there
            raise UnreachableError(f"{self.url} cannot be reached: {_cause(error)}", _url_hint()) from error
        except (urllib3.exceptions.TimeoutError, TimeoutError) as error:
            raise TimedOutError(
                f"{self.url} gave no answer within {self._timeout} s ({what})",
                "Check that the server is up, or allow more time with PFA_FLUX_TIMEOUT (seconds).",
            ) from error
        except urllib3.exceptions.SSLError as error:
            raise self._tls(error) from error
        except (UnicodeDecodeError, zlib.error, urllib3.exceptions.DecodeError) as error:
            raise NotInfluxDBError(f"{self.url} answers something that InfluxDB would not", _url_hint()) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(f"{self.url} cannot be reached: {_cause(error)}", _url_hint()) from error

    def _tls(self, error: BaseException) -> TLSError:
        return TLSError(
            f"the TLS connection to {self.url} failed: {_cause(error)}",
            "Check the scheme (http or https) and the certificate; name your own authority with PFA_FLUX_CA_FILE.",
        )

    def _refusal(self, error: ApiException, what: str) -> PfaFluxError:
        if not error.status:
            return self._tls(error)
        words = _words(error)
        if error.status == 401 or (error.status == 403 and not _FLUX_OFF.search(words)):
            return self._denied(words, what)
        if error.status in {429, 503}:
            return BusyError(
                f"{self.url} is too busy ({error.status}): {self._masked(words)}",
                "Try again later.",
                _retry_after(error),
            )
        if error.status == 404 and not _says_what(error):
            return NotInfluxDBError(f"{self.url} has no {what.rsplit(' ', maxsplit=1)[-1]}", _url_hint())
        return self._by_words(words, what, error.status)

    def _denied(self, words: str, what: str) -> AccessDeniedError:
        return AccessDeniedError(
            f"{self.url} refuses {what}: {self._masked(words)}",
            "Check the token (PFA_FLUX_TOKEN or PFA_FLUX_TOKEN_FILE; user:password on 1.x) and its rights: read on "
            "the raw bucket, read and write on the rollup bucket."
            if self._token
            else "Give a token with PFA_FLUX_TOKEN or PFA_FLUX_TOKEN_FILE (user:password on 1.x).",
        )

    def _by_words(self, words: str, what: str, status: int | None = None) -> PfaFluxError:
        if _FLUX_OFF.search(words):
            return CapabilityError("Flux is off on this InfluxDB", "Set [http] flux-enabled = true, or use InfluxQL.")
        if _NO_BUCKET.search(words):
            return BucketNotFoundError(f"a bucket does not exist: {self._masked(words)}", BUCKET_HINT)
        if _DENIED.search(words):
            return self._denied(words, what)
        said = f" ({status})" if status else ""
        return QueryError(
            f"{self.url} refuses {what}{said}: {self._masked(words)}", "See the server's own words above.", status or 0
        )

    def _masked(self, words: str) -> str:
        """`words` without the token, which Kapacitor's errors may quote from a task."""
        secret = self._token.reveal()
        return words.replace(secret, "***") if secret else words


def transport_to(settings: Settings) -> Transport:
    """A transport to the server of the settings."""
    return Transport(
        settings.url,
        settings.token,
        org=settings.org,
        timeout=settings.timeout,
        ca_file=settings.ca_file,
    )


def _retry_after(error: ApiException) -> float:
    """Seconds that the server asks to wait, from either form of the header; 0 where it does not say.

    https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
    """
    asked = str(error.headers.get("Retry-After", "")) if error.headers else ""
    if asked.isdecimal():
        return float(asked)
    try:
        return max(0.0, parsedate_to_datetime(asked).timestamp() - time.time())
    except ValueError:
        return 0.0


def _words(error: ApiException) -> str:
    """What the server said, from either generation's JSON, else the start of its text."""
    body = error.body.decode("utf-8", "replace") if isinstance(error.body, bytes) else str(error.body or "")
    try:
        said = json.loads(body)
    except ValueError:
        return body.strip()[:300] or str(error.reason)
    if not isinstance(said, dict):
        return body.strip()[:300]
    return str(said.get("message") or said.get("error") or body)


def _says_what(error: ApiException) -> bool:
    """The refusal is InfluxDB's own JSON, not a web server's page."""
    body = error.body.decode("utf-8", "replace") if isinstance(error.body, bytes) else str(error.body or "")
    return body.lstrip().startswith("{")


def _cause(error: BaseException) -> str:
    """The innermost reason, without urllib3's wrapping and object addresses."""
    reason = getattr(error, "reason", None) or error
    return re.sub(r"<[^>]*>:?\s*", "", str(reason)).splitlines()[-1].strip() or type(reason).__name__


def _url_hint() -> str:
    return "Check PFA_FLUX_URL (scheme, host and port) and that the server is up."
