"""HTTP to InfluxDB and Kapacitor through influxdb-client, with one place that translates errors."""

from __future__ import annotations

import gzip
import re
import threading
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from itertools import islice
from typing import TypeVar
from urllib.parse import urlsplit

import urllib3
from influxdb_client.client.flux_csv_parser import FluxCsvParserException, FluxQueryException
from influxdb_client.rest import ApiException

from pfa_flux import foreign
from pfa_flux.engines.base import Row
from pfa_flux.engines.influxdb.members import Member, Members, Network
from pfa_flux.engines.influxdb.refusals import BUCKET_HINT, Gate, Refusals, body_of, cause, url_hint
from pfa_flux.engines.influxdb.response import (
    ANSWER_HINT,
    MalformedAnswerError,
    Response,
    relay_of,
    understood,
)
from pfa_flux.engines.patience import patiently
from pfa_flux.errors import (
    BucketNotFoundError,
    BusyError,
    NotInfluxDBError,
    PfaFluxError,
    QueryError,
    TimedOutError,
    UnreachableError,
)
from pfa_flux.settings import Secret, Settings

__all__ = [
    "BUCKET_HINT", "MalformedAnswerError", "Network", "Response", "Transport", "relay_of", "transport_to", "understood",
]  # fmt: skip

T = TypeVar("T")

_BATCH = 5_000
"""How many points one request writes, as InfluxData recommends."""
_WRITTEN = 204
"""The only status with which InfluxDB 1.x, 2.x and Cloud confirm a write: a login page answers 200."""
_NOT_WELL = frozenset({502, 503, 504})
"""Statuses from a node that cannot answer now, or from a proxy in front of it."""
_LINES = "text/plain; charset=utf-8"
_REPEATABLE = frozenset({"/query", "/api/v2/write", "/api/v2/query", "/api/v2/delete"})
"""Paths of idempotent requests. Writes are among them: a point overwrites itself."""
_ORG_ID = re.compile("[0-9a-f]{16}")


class Transport:
    """A server's addresses, credentials and connections. Safe to use from several threads."""

    def __init__(
        self,
        urls: str | Sequence[str],
        token: Secret,
        *,
        org: str = "",
        network: Network | None = None,
        basic: bool = False,
        names: Collection[str] = (),
    ) -> None:
        """Create it. This sends no request.

        Args:
            urls: address of the server, or several addresses of a cluster in the order to try them.
            token: token for all addresses.
            org: name or id of the organisation.
            network: how to reach the server.
            basic: whether the token is a user and a password.
            names: names of measurements, fields and buckets that errors about points may quote.

        Raises:
            SettingsError: a file in `network` is missing, or the environment's proxy is not an address.
        """
        urls = [each.rstrip("/") for each in ([urls] if isinstance(urls, str) else urls)]
        self.network = network or Network()
        self._token, self._names, self._org = token, frozenset(names), org
        self._members = Members.of(urls, token, org, self.network, basic=basic)
        self._asked = threading.local()
        parts = urlsplit(urls[0])
        self.address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def url(self) -> str:
        """The address of this thread's last request."""
        return self._member.url

    @property
    def _member(self) -> Member:
        member: Member = getattr(self._asked, "member", self._members.each[0])
        return member

    @property
    def org(self) -> str:
        """The organisation for Flux queries. Empty on 1.x."""
        return self._org

    @org.setter
    def org(self, name: str) -> None:
        self._org = name
        self._members.name_org(name)

    @property
    def org_query(self) -> dict[str, str]:
        """The organisation as a parameter of a request: `orgID` for an id, `org` for a name."""
        if not self._org:
            return {}
        return {"orgID" if _ORG_ID.fullmatch(self._org) else "org": self._org}

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
        """The answer to one request.

        Raises:
            PfaFluxError: as in `translated`, which also explains `gate`.
        """
        content: dict[str, object] = {"body": data if data is not None else json_body}
        if form is not None:
            headers = {**(headers or {}), "Content-Type": "application/x-www-form-urlencoded"}
            content["post_params"] = dict(form)

        def send(member: Member) -> Response:
            return _sent(member, method, path, query, headers, **content)

        return self._ask(f"{method} {path}", send, gate, again=method == "GET" or path in _REPEATABLE)

    def probe(self, path: str, query: Mapping[str, str] | None = None) -> Response:
        """The answer to a GET request with any status, to identify a server.

        Raises:
            UnreachableError: no address answers.
        """

        def send(member: Member) -> Response:
            try:
                return _sent(member, "GET", path, query)
            except ApiException as error:
                # A node that cannot answer now does not identify the server, if there are other nodes.
                if not error.status or (error.status in _NOT_WELL and len(self._members.each) > 1):
                    raise
                return Response(error.status, error.headers or {}, body_of(error))

        return self._ask(f"GET {path}", send, foreign.said, again=True)

    def flux(self, text: str) -> list[Row]:
        """The rows of a Flux query, without the columns `result` and `table`."""

        def send(member: Member) -> list[Row]:
            with understood("the answer to a Flux query"):
                records = member.client.query_api().query_stream(text)
                return [{k: v for k, v in r.values.items() if k not in {"result", "table"}} for r in records]

        return self._ask("the Flux query", send, foreign.said, again=True)

    def _ask(self, what: str, send: Callable[[Member], T], gate: Gate, *, again: bool) -> T:
        """Try one address after the other until one answers, and try again while the server is busy.

        Args:
            what: name of the request in errors.
            send: sends the request to an address.
            gate: filter for the server's message.
            again: whether the request may be sent twice.
        """
        ask = partial(self._ask_in_turn, what, send, gate, again=again)
        return patiently(ask) if again else ask()

    def _ask_in_turn(self, what: str, send: Callable[[Member], T], gate: Gate, *, again: bool) -> T:
        members, failures = self._members.in_turn(), list[PfaFluxError]()
        for member in members:
            self._asked.member = member
            try:
                with self.translated(what, gate):
                    return send(member)
            except PfaFluxError as error:
                if len(members) == 1 or not _another_may_do(error, again=again):
                    raise
                self._members.rest(member)
                failures.append(error)
        raise _all_failed(failures)

    def write(self, bucket: str, lines: Iterable[str]) -> int:
        """Write line protocol with nanosecond times, 5,000 points in each request. Returns the number of points."""
        query, headers = self._to(bucket), {"Content-Type": _LINES, "Content-Encoding": "gzip"}
        iterator, written = iter(lines), 0
        while batch := list(islice(iterator, _BATCH)):
            body = gzip.compress("\n".join(batch).encode(), compresslevel=1)
            gate = self._gate(bucket)
            answer = self.request("POST", "/api/v2/write", query=query, data=body, headers=headers, gate=gate)
            self._check_written(answer)
            written += len(batch)
        return written

    def probe_write(self, bucket: str) -> None:
        """Check the right to write to a bucket, without writing a point: a comment is an empty write.

        Raises:
            AccessDeniedError, BucketNotFoundError: the right or the bucket is missing.
        """
        query, headers = self._to(bucket), {"Content-Type": _LINES}
        try:
            gate = self._gate(bucket)
            answer = self.request("POST", "/api/v2/write", query=query, data=b"# x\n", headers=headers, gate=gate)
        except NotInfluxDBError as error:
            # InfluxDB answers 404 if the bucket or database does not exist.
            raise BucketNotFoundError(f"the bucket {bucket!r} does not exist", BUCKET_HINT) from error
        self._check_written(answer)

    def _to(self, bucket: str) -> dict[str, str]:
        """The parameters of a write."""
        level = self.network.consistency
        return {"bucket": bucket, "precision": "ns", **self.org_query, **({"consistency": level} if level else {})}

    def _check_written(self, answer: Response) -> None:
        """Check that an answer confirms a write.

        Raises:
            NotInfluxDBError: it does not. The message has its status and content type.
        """
        if answer.status != _WRITTEN:
            kind = re.match(r"[\w.+-]{1,40}/[\w.+-]{1,40}", answer.headers.get("Content-Type", ""))
            raise NotInfluxDBError(
                f"{self.url} answers a write with {answer.status}{f' ({kind[0]})' if kind else ''}, but InfluxDB "
                f"answers {_WRITTEN}: nothing was written",
                "Another program answers there, for example a login page or a proxy. Check PFA_FLUX_URL and "
                "PFA_FLUX_WRITE_URL.",
            )

    def away(self) -> dict[str, str]:
        """The addresses that do not answer, each with the reason. Empty if there is only one address."""
        unreachable = {}
        for member in self._members.each if len(self._members.each) > 1 else ():
            self._asked.member = member
            try:
                with self.translated("GET /ping"):
                    _sent(member, "GET", "/ping")
            except UnreachableError as error:
                unreachable[member.url] = error.message
            except PfaFluxError:
                # The address answers, with a refusal.
                continue
        return unreachable

    def relay(self) -> str:
        """Name and version of the relay at this address. Empty if a database or an unknown program answers."""
        try:
            return relay_of(self.request("GET", "/ping"))
        except PfaFluxError:
            return ""

    def _gate(self, bucket: str) -> Gate:
        """The filter for answers to a write: they may quote points, and so what visitors sent."""
        return partial(foreign.said_of_points, names={*self._names, bucket, *bucket.split("/")})

    def close(self) -> None:
        """Close the connections."""
        self._members.close()

    @contextmanager
    def translated(self, what: str, gate: Gate = foreign.said) -> Iterator[None]:
        """A context that translates the errors of other libraries into ours.

        An error with a server's answer is not chained to ours, because the answer is unfiltered.

        Args:
            what: name of the request in errors.
            gate: filter for the server's message.

        Raises:
            UnreachableError, TimedOutError, TLSError, NotInfluxDBError: the server gave no usable answer.
            AccessDeniedError, BucketNotFoundError, CapabilityError, BusyError: the server said so.
            QueryError: any other refusal, with the server's message.
        """
        refusals = Refusals(self._member, self._token)
        try:
            yield
        except PfaFluxError:
            raise
        except ApiException as error:
            raise refusals.of_answer(error, what, gate) from None
        except FluxQueryException as error:
            raise refusals.by_words(str(error.message), what, gate) from None
        except FluxCsvParserException:
            raise MalformedAnswerError(f"the answer to {what} is not in InfluxDB's format", ANSWER_HINT) from None
        except urllib3.exceptions.ProxyError as error:
            raise refusals.by_proxy(cause(error)) from error
        except urllib3.exceptions.NewConnectionError as error:  # before TimeoutError, its base class in urllib3
            raise UnreachableError(f"{self.url} cannot be reached: {cause(error)}", url_hint()) from error
        except (urllib3.exceptions.TimeoutError, TimeoutError) as error:
            raise TimedOutError(
                f"{self.url} gave no answer within {self.network.timeout} s ({what})",
                "Check that the server is up, or allow more time with PFA_FLUX_TIMEOUT (seconds).",
            ) from error
        except urllib3.exceptions.SSLError as error:
            raise refusals.tls(error) from error
        except (UnicodeDecodeError, zlib.error, urllib3.exceptions.DecodeError) as error:
            raise MalformedAnswerError(f"the answer of {self.url} is not in InfluxDB's format", url_hint()) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(f"{self.url} cannot be reached: {cause(error)}", url_hint()) from error


def _sent(
    member: Member,
    method: str,
    path: str,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    **content: object,
) -> Response:
    """One request to one address, and its answer. Raises foreign errors."""
    api = member.client.api_client
    sent = {**api.default_headers, **(headers or {})}
    answer = api.request(
        method, f"{member.url}{path}", query_params=list((query or {}).items()), headers=sent, **content
    )
    return Response(answer.status, answer.getheaders(), answer.data)


def transport_to(settings: Settings, urls: Sequence[str] = ()) -> Transport:
    """A transport to the server in the settings, or to other addresses with the same token."""
    return Transport(
        urls or settings.urls,
        settings.token,
        org=settings.org,
        network=Network.of(settings),
        names=_names(settings),
    )


def _names(settings: Settings) -> set[str]:
    """Names from the settings, which are not from visitors."""
    buckets = {*settings.raw_buckets, settings.rollup_bucket}
    parts = {part for bucket in buckets for part in bucket.split("/")}
    texts = {value for value in asdict(settings.schema).values() if isinstance(value, str)}
    return {*buckets, *parts, *texts, *settings.task.tags, "sess", "type", settings.org}


def _another_may_do(error: PfaFluxError, *, again: bool) -> bool:
    """Whether another address of the same cluster may answer the request.

    Args:
        error: the error from this address.
        again: whether the request may be sent twice. If not, this address must not have received it.
    """
    if isinstance(error, BusyError):
        return error.status == 503
    if isinstance(error, QueryError):
        return again and error.status in _NOT_WELL
    unsent = isinstance(error.__cause__, urllib3.exceptions.ConnectTimeoutError | urllib3.exceptions.NewConnectionError)
    return isinstance(error, UnreachableError) and not isinstance(error, NotInfluxDBError) and (again or unsent)


def _all_failed(failures: Sequence[PfaFluxError]) -> PfaFluxError:
    """One error for the errors of all addresses: BusyError if any server is busy, otherwise the type of the last."""
    busy = [each for each in failures if isinstance(each, BusyError)]
    if busy:
        return min(busy, key=lambda each: each.retry_after)
    reasons = "; ".join(each.message for each in failures)
    return type(failures[-1])(f"none of {len(failures)} addresses answers: {reasons}", failures[-1].hint)
