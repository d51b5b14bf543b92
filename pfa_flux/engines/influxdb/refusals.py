"""Refusals from servers and proxies, translated into this library's errors."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

from influxdb_client.rest import ApiException

from pfa_flux import foreign
from pfa_flux.engines.influxdb.members import Member
from pfa_flux.engines.influxdb.rights import DENIED, denied
from pfa_flux.engines.patience import in_words
from pfa_flux.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    BusyError,
    CapabilityError,
    NotInfluxDBError,
    PfaFluxError,
    QueryError,
    TLSError,
    UnreachableError,
)
from pfa_flux.settings import Secret

BUCKET_HINT = (
    "Check PFA_FLUX_RAW_BUCKET and PFA_FLUX_ROLLUP_BUCKET (database/retention policy on 1.x); "
    "pfa-flux doctor shows which bucket is missing."
)

LONGEST_WAIT = 600.0
"""Longest wait in seconds that a server may ask for."""

_NO_BUCKET = re.compile(
    r"could not find bucket|bucket .{0,200}not found|database not found|retention policy not found|"
    r"execute state: no database|no dbrp mapping",
    re.I,
)
_QUOTA = re.compile(r"exceed(?:s|ed)? .{0,80}(?:quota|limit)|quota .{0,80}exceeded", re.I)
_QUOTA_HINT = (
    "The organisation's plan allows no more. Remove one, raise the limit, or set PFA_FLUX_RAW_BUCKET and "
    "PFA_FLUX_ROLLUP_BUCKET to existing buckets."
)
_FLUX_OFF = re.compile(r"flux query service disabled", re.I)

Gate = Callable[[str], str]
"""A filter for a server's message, before an error shows it and before code interprets it."""


class Refusals:
    """Translates the answers of one address to one token into errors."""

    def __init__(self, member: Member, token: Secret) -> None:
        self._member, self._token = member, token

    def by_proxy(self, message: str) -> UnreachableError:
        """The error for a proxy that refuses the request or cannot forward it."""
        proxy = self._member.proxy
        if proxy is None:
            return UnreachableError(f"{self._member.url} cannot be reached: {message}", url_hint())
        return UnreachableError(
            f"{self._member.url} cannot be reached through the proxy {proxy.url} from {proxy.source}: {message}",
            f"Check {proxy.source}. To reach the server without a proxy, add its host to NO_PROXY.",
        )

    def tls(self, error: BaseException) -> TLSError:
        """The error for a TLS connection that failed."""
        return TLSError(
            f"the TLS connection to {self._member.url} failed: {cause(error)}",
            "Check the scheme (http or https) and the certificate. Set PFA_FLUX_CA_FILE to use your own authority.",
        )

    def of_answer(self, error: ApiException, what: str, gate: Gate) -> PfaFluxError:
        """The error for an answer with an error status. It takes the arguments of `Transport.translated`."""
        if not error.status:
            return self.tls(error)
        said = self._masked(_words(error))
        # Only filtered text decides: a page called /unauthorized must not.
        message = gate(said)
        if error.status == 407:
            return self.by_proxy(message)
        if error.status == 403 and _QUOTA.search(message):
            return QueryError(f"{self._member.url} refuses {what}: {message}", _QUOTA_HINT, error.status, said)
        if error.status == 401 or (error.status == 403 and not _FLUX_OFF.search(message)):
            return self._denied(message, what)
        if error.status in {429, 503}:
            asked = _retry_after(error)
            hint = f"Try again in {in_words(asked)}." if asked else "Try again later."
            return BusyError(f"{self._member.url} is too busy ({error.status}): {message}", hint, asked, error.status)
        if error.status == 404 and not _is_json(error):
            return NotInfluxDBError(f"{self._member.url} has no {what.rsplit(' ', maxsplit=1)[-1]}", url_hint())
        return self.by_words(said, what, gate, error.status)

    def _denied(self, message: str, what: str) -> AccessDeniedError:
        secret = self._token.reveal()
        return denied(self._member.url, what, message, token=bool(secret), pair=":" in secret)

    def by_words(self, said: str, what: str, gate: Gate, status: int = 0) -> PfaFluxError:
        """The error for a message that refuses a request, with any status."""
        said = self._masked(said)
        message = gate(said)
        if _FLUX_OFF.search(message):
            return CapabilityError("Flux is off in this InfluxDB", "Set [http] flux-enabled = true, or use InfluxQL.")
        if _NO_BUCKET.search(message):
            return BucketNotFoundError(f"a bucket does not exist: {message}", BUCKET_HINT)
        if DENIED.search(message):
            return self._denied(message, what)
        number = f" ({status})" if status else ""
        return QueryError(
            f"{self._member.url} refuses {what}{number}: {message}", "See the server's message above.", status, said
        )

    def _masked(self, message: str) -> str:
        """A message without the token. Kapacitor's errors may quote it from a task."""
        secret = self._token.reveal()
        return message.replace(secret, "***") if secret else message


def _retry_after(error: ApiException) -> float:
    """How many seconds the server asks to wait, up to `LONGEST_WAIT`. 0 if it does not say.

    https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
    """
    asked = _header(error, "Retry-After")
    if asked.isdecimal():
        return min(float(asked[:20]), LONGEST_WAIT)
    try:
        return min(max(0.0, parsedate_to_datetime(asked).timestamp() - time.time()), LONGEST_WAIT)
    except (ValueError, OverflowError, TypeError, IndexError, OSError):
        return 0.0


def _header(error: ApiException, name: str) -> str:
    return str(error.headers.get(name, "")) if error.headers else ""


def body_of(error: ApiException) -> str:
    """The body of an answer."""
    return error.body.decode("utf-8", "replace") if isinstance(error.body, bytes) else str(error.body or "")


def _words(error: ApiException) -> str:
    """The server's message, from the JSON of InfluxDB 1.x or 2.x, or from the plain text."""
    body = body_of(error)
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return body.strip() or str(error.reason)
    if not isinstance(said, dict):
        return body.strip()
    return str(said.get("message") or said.get("error") or body)


def _is_json(error: ApiException) -> bool:
    """Whether the refusal is InfluxDB's JSON, and not a web server's page."""
    return body_of(error).lstrip().startswith("{")


_WRAPPING = re.compile(
    r"<[^>]*>:?\s*|\bHTTPS?Connection(?:Pool)?\([^)]*\):\s*|Failed to establish a new connection:\s*|\[Errno -?\d+\]\s*"
)


def cause(error: BaseException) -> str:
    """The innermost reason of an error, without urllib3's wrapping and object addresses."""
    reason = getattr(error, "reason", None) or error
    lines = _WRAPPING.sub("", str(reason)).strip().splitlines()
    return foreign.said(lines[-1]) if lines else type(reason).__name__


def url_hint() -> str:
    """The hint for an address without a useful answer."""
    return "Check PFA_FLUX_URL (scheme, host and port) and that the server is up."
