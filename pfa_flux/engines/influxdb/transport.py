"""HTTP to InfluxDB and Kapacitor through influxdb-client, with foreign errors turned into ours in one place."""

from __future__ import annotations

import csv
import gzip
import json
import re
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import urllib3
from influxdb_client import InfluxDBClient
from influxdb_client.client.flux_csv_parser import FluxCsvParserException, FluxQueryException
from influxdb_client.rest import ApiException

from pfa_flux import foreign
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
_TAKEN = 204
"""The one status by which InfluxDB 1.x, 2.x and Cloud say that a write is done: a login page answers 200."""
LONGEST_WAIT = 600.0
"""Seconds that a server may ask to wait, at most."""

_DENIED = re.compile(r"unauthori[sz]ed|not authori[sz]ed|authorization failed|insufficient permissions|forbidden", re.I)
_NO_BUCKET = re.compile(
    r"could not find bucket|bucket .{0,200}not found|database not found|retention policy not found|"
    r"execute state: no database|no dbrp mapping",
    re.I,
)
_ANSWER_HINT = "Check PFA_FLUX_URL, and what stands between here and InfluxDB."

Gate = Callable[[str], str]
"""What a server's words pass before they are in an error, and before anything is concluded from them."""

_FLUX_OFF = re.compile(r"flux query service disabled", re.I)


class MalformedAnswerError(NotInfluxDBError):
    """What is asked for is there, and answers something else than InfluxDB would."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer with a status of 2xx."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> dict[str, Any]:
        """The body, parsed.

        Raises:
            NotInfluxDBError: it is no JSON object.
        """
        try:
            found = json.loads(self.text)
        except (ValueError, RecursionError) as error:
            raise MalformedAnswerError("the server's answer is no JSON", _ANSWER_HINT) from error
        if not isinstance(found, dict):
            raise MalformedAnswerError("the server's answer is no JSON object", _ANSWER_HINT)
        return found

    def listed(self, key: str, *, required: bool = True) -> list[dict[str, Any]]:
        """The objects that the body lists under a key, which may be missing where it is not required.

        Raises:
            NotInfluxDBError: there is no such list.
        """
        body = self.json()
        found = body.get(key) or [] if key in body or not required else None
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise MalformedAnswerError(f"the server's answer has no list {key!r}", _ANSWER_HINT)
        return found


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
        names: Collection[str] = (),
    ) -> None:
        """Make it; `names` are those of measurements, fields and buckets, which errors about points may quote."""
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        self.address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._token, self._names = token, frozenset(names)
        options: dict[str, Any] = {"ssl_ca_cert": ca_file} if ca_file else {}
        self._client = InfluxDBClient(
            url=self.url,
            # Headers are written in Latin-1, and InfluxDB reads UTF-8: with these characters its bytes are that.
            token=token.reveal() if basic else token.reveal().encode("utf-8").decode("latin-1"),
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
        gate: Gate = foreign.said,
    ) -> Response:
        """Answer to one request; `gate` as of `translated`.

        Raises:
            PfaFluxError: as `translated` says.
        """
        api = self._client.api_client
        sent = {**api.default_headers, **(headers or {})}
        if form is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        with self.translated(f"{method} {path}", gate):
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
        with self.translated("the Flux query"), understood("the answer to a Flux query"):
            records = self._client.query_api().query_stream(text)
            return [{k: v for k, v in r.values.items() if k not in {"result", "table"}} for r in records]

    def write(self, bucket: str, lines: Iterable[str]) -> int:
        """Write line protocol with nanosecond times, 5,000 points a request. Returns the number of points."""
        query = {"bucket": bucket, "precision": "ns", **({"org": self.org} if self.org else {})}
        headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}
        iterator, written = iter(lines), 0
        while batch := list(islice(iterator, _BATCH)):
            body = gzip.compress("\n".join(batch).encode(), compresslevel=1)
            gate = self._gate(bucket)
            self._taken(self.request("POST", "/api/v2/write", query=query, data=body, headers=headers, gate=gate))
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
            gate = self._gate(bucket)
            answer = self.request("POST", "/api/v2/write", query=query, data=b"# x\n", headers=headers, gate=gate)
        except NotInfluxDBError as error:
            # InfluxDB answers 404 here for a bucket or database it does not have.
            raise BucketNotFoundError(f"the bucket {bucket!r} does not exist", BUCKET_HINT) from error
        self._taken(answer)

    def _taken(self, answer: Response) -> None:
        """Refuse any other answer to a write than that it is done.

        Raises:
            NotInfluxDBError: it is another; names its status and kind.
        """
        if answer.status != _TAKEN:
            kind = re.match(r"[\w.+-]{1,40}/[\w.+-]{1,40}", answer.headers.get("Content-Type", ""))
            raise NotInfluxDBError(
                f"{self.url} answers a write with {answer.status}{f' ({kind[0]})' if kind else ''} where InfluxDB "
                f"answers {_TAKEN}: nothing was written",
                "Something else is there, for example a login page or a proxy. Check PFA_FLUX_URL and "
                "PFA_FLUX_WRITE_URL.",
            )

    def relay(self) -> str:
        """What takes writes here and is no database, with its version; empty where nothing does or none says so."""
        try:
            return relay_of(self.request("GET", "/ping"))
        except PfaFluxError:
            return ""

    def _gate(self, bucket: str) -> Gate:
        """A write is answered with words about points, which may be a visitor's."""
        return partial(foreign.said_of_points, names={*self._names, bucket, *bucket.split("/")})

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @contextmanager
    def translated(self, what: str, gate: Gate = foreign.said) -> Iterator[None]:
        """Raise foreign errors of the block as ours; `what` names what was tried.

        The errors that they are made of hold whole answers, and are not shown with ours.

        Args:
            what: as words of an error.
            gate: what the server's words pass.

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
            raise self._refusal(error, what, gate) from None
        except FluxQueryException as error:
            raise self._by_words(str(error.message), what, gate) from None
        except FluxCsvParserException:
            raise MalformedAnswerError(f"the answer to {what} is not what InfluxDB would give", _ANSWER_HINT) from None
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
            raise MalformedAnswerError(f"{self.url} answers something that InfluxDB would not", _url_hint()) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(f"{self.url} cannot be reached: {_cause(error)}", _url_hint()) from error

    def _tls(self, error: BaseException) -> TLSError:
        return TLSError(
            f"the TLS connection to {self.url} failed: {_cause(error)}",
            "Check the scheme (http or https) and the certificate; name your own authority with PFA_FLUX_CA_FILE.",
        )

    def _refusal(self, error: ApiException, what: str, gate: Gate) -> PfaFluxError:
        if not error.status:
            return self._tls(error)
        said = self._masked(_words(error))
        # A page called /unauthorized is no reason to think so.
        words = gate(said)
        if error.status == 401 or (error.status == 403 and not _FLUX_OFF.search(words)):
            return self._denied(words, what)
        if error.status in {429, 503}:
            return BusyError(
                f"{self.url} is too busy ({error.status}): {words}",
                "Try again later.",
                _retry_after(error),
            )
        if error.status == 404 and not _says_what(error):
            return NotInfluxDBError(f"{self.url} has no {what.rsplit(' ', maxsplit=1)[-1]}", _url_hint())
        return self._by_words(said, what, gate, error.status)

    def _denied(self, words: str, what: str) -> AccessDeniedError:
        return AccessDeniedError(
            f"{self.url} refuses {what}: {words}",
            "Check the token (PFA_FLUX_TOKEN or PFA_FLUX_TOKEN_FILE; user:password on 1.x) and its rights: read on "
            "the raw bucket, read and write on the rollup bucket."
            if self._token
            else "Give a token with PFA_FLUX_TOKEN or PFA_FLUX_TOKEN_FILE (user:password on 1.x).",
        )

    def _by_words(self, said: str, what: str, gate: Gate, status: int = 0) -> PfaFluxError:
        said = self._masked(said)
        words = gate(said)
        if _FLUX_OFF.search(words):
            return CapabilityError("Flux is off on this InfluxDB", "Set [http] flux-enabled = true, or use InfluxQL.")
        if _NO_BUCKET.search(words):
            return BucketNotFoundError(f"a bucket does not exist: {words}", BUCKET_HINT)
        if _DENIED.search(words):
            return self._denied(words, what)
        number = f" ({status})" if status else ""
        return QueryError(
            f"{self.url} refuses {what}{number}: {words}", "See the server's own words above.", status, said
        )

    def _masked(self, words: str) -> str:
        """`words` without the token, which Kapacitor's errors may quote from a task."""
        secret = self._token.reveal()
        return words.replace(secret, "***") if secret else words


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Read an answer within, or in a function that this decorates: one of another shape is told in words.

    Raises:
        NotInfluxDBError: something is missing from it, or is of another type.
    """
    try:
        yield
    except (PfaFluxError, OSError, ApiException, urllib3.exceptions.HTTPError, FluxQueryException):
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, csv.Error) as error:
        raise MalformedAnswerError(f"{what} is not what InfluxDB would give", _ANSWER_HINT) from error


def transport_to(settings: Settings, url: str = "") -> Transport:
    """A transport to the server of the settings, or to another address that takes the same token."""
    return Transport(
        url or settings.url,
        settings.token,
        org=settings.org,
        timeout=settings.timeout,
        ca_file=settings.ca_file,
        names=_names(settings),
    )


def _names(settings: Settings) -> set[str]:
    """Names that are ours, and no visitor's."""
    buckets = {*settings.raw_buckets, settings.rollup_bucket}
    parts = {part for bucket in buckets for part in bucket.split("/")}
    texts = {value for value in asdict(settings.schema).values() if isinstance(value, str)}
    return {*buckets, *parts, *texts, *settings.task.tags, "sess", "type", settings.org}


def relay_of(ping: Response) -> str:
    """What an answer to `/ping` says to be no database but to pass writes on, with its version; else empty."""
    if ping.headers.get("X-Influxdb-Build", "").lower() != "telegraf":
        return ""
    version = re.match(r"(?:Telegraf )?v?(\d[\w.+-]{0,40})", ping.headers.get("X-Influxdb-Version", ""))
    return f"Telegraf {version[1]}" if version else "Telegraf"


def _retry_after(error: ApiException) -> float:
    """Seconds that the server asks to wait, from either form of the header, 600 at most; 0 where it does not say.

    https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
    """
    asked = str(error.headers.get("Retry-After", "")) if error.headers else ""
    if asked.isdecimal():
        return min(float(asked[:20]), LONGEST_WAIT)
    try:
        return min(max(0.0, parsedate_to_datetime(asked).timestamp() - time.time()), LONGEST_WAIT)
    except (ValueError, OverflowError, TypeError, IndexError, OSError):
        return 0.0


def _words(error: ApiException) -> str:
    """What the server said, from either generation's JSON, else its text."""
    body = error.body.decode("utf-8", "replace") if isinstance(error.body, bytes) else str(error.body or "")
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return body.strip() or str(error.reason)
    if not isinstance(said, dict):
        return body.strip()
    return str(said.get("message") or said.get("error") or body)


def _says_what(error: ApiException) -> bool:
    """The refusal is InfluxDB's own JSON, not a web server's page."""
    body = error.body.decode("utf-8", "replace") if isinstance(error.body, bytes) else str(error.body or "")
    return body.lstrip().startswith("{")


_WRAPPING = re.compile(
    r"<[^>]*>:?\s*|\bHTTPS?Connection(?:Pool)?\([^)]*\):\s*|Failed to establish a new connection:\s*|\[Errno -?\d+\]\s*"
)


def _cause(error: BaseException) -> str:
    """The innermost reason, without urllib3's wrapping and object addresses."""
    reason = getattr(error, "reason", None) or error
    lines = _WRAPPING.sub("", str(reason)).strip().splitlines()
    return foreign.said(lines[-1]) if lines else type(reason).__name__


def _url_hint() -> str:
    return "Check PFA_FLUX_URL (scheme, host and port) and that the server is up."
