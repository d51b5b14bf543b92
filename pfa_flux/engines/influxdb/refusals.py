"""Refusals of servers, and of what stands before them, as errors of ours."""

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
    "pfa-flux doctor shows which is missing."
)

LONGEST_WAIT = 600.0
"""Seconds that a server may ask to wait, at most."""

_NO_BUCKET = re.compile(
    r"could not find bucket|bucket .{0,200}not found|database not found|retention policy not found|"
    r"execute state: no database|no dbrp mapping",
    re.I,
)
_QUOTA = re.compile(r"exceed(?:s|ed)? .{0,80}(?:quota|limit)|quota .{0,80}exceeded", re.I)
_QUOTA_HINT = (
    "The organisation's plan allows no more of them. Remove one, raise the limit, or name buckets that exist with "
    "PFA_FLUX_RAW_BUCKET and PFA_FLUX_ROLLUP_BUCKET."
)
_FLUX_OFF = re.compile(r"flux query service disabled", re.I)

Gate = Callable[[str], str]
"""What a server's words pass before they are in an error, and before anything is concluded from them."""


class Refusals:
    """Makes errors of what one address answers to one token."""

    def __init__(self, member: Member, token: Secret) -> None:
        self._member, self._token = member, token

    def by_proxy(self, words: str) -> UnreachableError:
        """A proxy stands between, and does not let it pass, or cannot."""
        proxy = self._member.proxy
        if proxy is None:
            return UnreachableError(f"{self._member.url} cannot be reached: {words}", url_hint())
        return UnreachableError(
            f"{self._member.url} cannot be reached through the proxy {proxy.url}, which {proxy.source} names: {words}",
            f"Check {proxy.source}, or reach the server without it: add its host to NO_PROXY.",
        )

    def tls(self, error: BaseException) -> TLSError:
        """The connection is refused for its certificate or protocol."""
        return TLSError(
            f"the TLS connection to {self._member.url} failed: {cause(error)}",
            "Check the scheme (http or https) and the certificate; name your own authority with PFA_FLUX_CA_FILE.",
        )

    def of_answer(self, error: ApiException, what: str, gate: Gate) -> PfaFluxError:
        """An answer whose status says no; arguments as of `Transport.translated`."""
        if not error.status:
            return self.tls(error)
        said = self._masked(_words(error))
        # A page called /unauthorized is no reason to think so.
        words = gate(said)
        if error.status == 407:
            return self.by_proxy(words)
        if error.status == 403 and _QUOTA.search(words):
            return QueryError(f"{self._member.url} refuses {what}: {words}", _QUOTA_HINT, error.status, said)
        if error.status == 401 or (error.status == 403 and not _FLUX_OFF.search(words)):
            return self._denied(words, what)
        if error.status in {429, 503}:
            asked = _retry_after(error)
            hint = f"Try again in {in_words(asked)}." if asked else "Try again later."
            return BusyError(f"{self._member.url} is too busy ({error.status}): {words}", hint, asked, error.status)
        if error.status == 404 and not _says_what(error):
            return NotInfluxDBError(f"{self._member.url} has no {what.rsplit(' ', maxsplit=1)[-1]}", url_hint())
        return self.by_words(said, what, gate, error.status)

    def _denied(self, words: str, what: str) -> AccessDeniedError:
        secret = self._token.reveal()
        return denied(self._member.url, what, words, token=bool(secret), pair=":" in secret)

    def by_words(self, said: str, what: str, gate: Gate, status: int = 0) -> PfaFluxError:
        """Words that say no, whatever the status."""
        said = self._masked(said)
        words = gate(said)
        if _FLUX_OFF.search(words):
            return CapabilityError("Flux is off on this InfluxDB", "Set [http] flux-enabled = true, or use InfluxQL.")
        if _NO_BUCKET.search(words):
            return BucketNotFoundError(f"a bucket does not exist: {words}", BUCKET_HINT)
        if DENIED.search(words):
            return self._denied(words, what)
        number = f" ({status})" if status else ""
        return QueryError(
            f"{self._member.url} refuses {what}{number}: {words}", "See the server's own words above.", status, said
        )

    def _masked(self, words: str) -> str:
        """`words` without the token, which Kapacitor's errors may quote from a task."""
        secret = self._token.reveal()
        return words.replace(secret, "***") if secret else words


def _retry_after(error: ApiException) -> float:
    """Seconds that the server asks to wait, from either form of the header, 600 at most; 0 where it does not say.

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
    """What the server said, from either generation's JSON, else its text."""
    body = body_of(error)
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return body.strip() or str(error.reason)
    if not isinstance(said, dict):
        return body.strip()
    return str(said.get("message") or said.get("error") or body)


def _says_what(error: ApiException) -> bool:
    """The refusal is InfluxDB's own JSON, not a web server's page."""
    return body_of(error).lstrip().startswith("{")


_WRAPPING = re.compile(
    r"<[^>]*>:?\s*|\bHTTPS?Connection(?:Pool)?\([^)]*\):\s*|Failed to establish a new connection:\s*|\[Errno -?\d+\]\s*"
)


def cause(error: BaseException) -> str:
    """The innermost reason, without urllib3's wrapping and object addresses."""
    reason = getattr(error, "reason", None) or error
    lines = _WRAPPING.sub("", str(reason)).strip().splitlines()
    return foreign.said(lines[-1]) if lines else type(reason).__name__


def url_hint() -> str:
    """What to do where nothing useful answers."""
    return "Check PFA_FLUX_URL (scheme, host and port) and that the server is up."
