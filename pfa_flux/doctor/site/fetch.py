"""HTTP as in a browser, but with limits on time, size and redirects, and with errors as messages."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import urllib3

from pfa_flux.doctor.site.urls import as_sent, host_of, resolve
from pfa_flux.errors import InvalidValueError, PfaFluxError
from pfa_flux.foreign import printable
from pfa_flux.schema import network_of

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

AGENT = "Mozilla/5.0 (compatible; pfa-flux doctor)"
MOST = 4 * 1024 * 1024
"""Maximum bytes to read of a page."""
_SECONDS = 15.0
"""A little longer than the nginx configuration of pfa-flux waits for the pixel."""
_CONNECT_SECONDS = 8.0
_MOST_REDIRECTS = 10
_MOVED = {301, 302, 303, 307, 308}
_PIECE = 64 * 1024


class NoAnswerError(PfaFluxError):
    """An address gives no usable answer. The message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of an address.

    Attributes:
        url: the address that answered, after redirects.
        status: its status.
        headers: its headers; names are case-insensitive.
        body: its body, unpacked; at most `MOST` bytes of it.
        whole: the body is complete.
        passed: redirecting addresses on the way, in order.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    whole: bool = True
    passed: tuple[str, ...] = field(default_factory=tuple)


class Browser:
    """Requests addresses. Requests .onion and .i2p names only through a proxy."""

    def __init__(self, proxy: str = "") -> None:
        """Make it.

        Raises:
            InvalidValueError: the proxy is not an address.
        """
        if proxy and not as_sent(proxy):
            message = f"the proxy {printable(proxy)!r} is not an http or https address"
            raise InvalidValueError(message, "Use an address such as http://127.0.0.1:4444.")
        self._direct = urllib3.PoolManager(retries=False)
        self._proxy = urllib3.ProxyManager(proxy, retries=False) if proxy else None

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in (self._direct, self._proxy):
            if pool is not None:
                pool.clear()

    def reaches(self, host: str) -> bool:
        """The name may be reachable, as far as is known before a request."""
        return self._proxy is not None or not _is_hidden(host)

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to GET, after redirects.

        Raises:
            NoAnswerError: there is no usable answer.
        """
        passed: list[str] = []
        while True:
            answer = self.ask("GET", url, headers or {"Accept": "text/html"})
            target = answer.headers.get("Location", "")
            if answer.status not in _MOVED or not target:
                return Answer(url, answer.status, answer.headers, answer.body, answer.whole, tuple(passed))
            passed.append(url)
            url = resolve(url, target)
            if not url:
                raise NoAnswerError(f"{passed[-1]} redirects to {printable(target)}, which is not a page")
            if len(passed) > _MOST_REDIRECTS or url in passed:
                raise NoAnswerError(f"{passed[0]} redirects without end: {' → '.join([*passed[:3], '…'])}")

    def ask(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        """The answer to one request, whatever its status.

        Raises:
            NoAnswerError: there is no usable answer.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        if not self.reaches(host):
            raise NoAnswerError(f"{host} is not in the DNS", "Name a proxy for it with --proxy.")
        hidden = self._proxy is not None and _is_hidden(host)
        pool: PoolManager = self._proxy if self._proxy is not None and hidden else self._direct
        with _in_words(url):
            answer = pool.request(
                method,
                url,
                headers={"User-Agent": AGENT, **headers},
                timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_SECONDS),
                redirect=False,
                preload_content=False,
            )
            try:
                body, whole = _read(answer)
            finally:
                # The rest of a page that is too large stays unread.
                answer.close()
        if answer.status >= 502 and hidden:
            raise NoAnswerError(f"the proxy does not reach {host} ({answer.status})")
        return Answer(url, answer.status, answer.headers, body, whole)


def _is_hidden(host: str) -> bool:
    # These names must not be sent to DNS resolvers: RFC 7686.
    return network_of(host) != "clearnet"


def _read(answer: BaseHTTPResponse) -> tuple[bytes, bool]:
    """A body, and whether it is complete."""
    deadline, body = time.monotonic() + _SECONDS, b""
    while len(body) <= MOST:
        piece = answer.read(_PIECE, decode_content=True)
        if not piece:
            return body, True
        body += piece
        if time.monotonic() > deadline:
            raise NoAnswerError(f"no complete answer within {_SECONDS:.0f} s")
    return body[:MOST], False


@contextlib.contextmanager
def _in_words(url: str) -> Iterator[None]:
    host = host_of(url)
    try:
        yield
    except urllib3.exceptions.SSLError as error:
        raise NoAnswerError(f"TLS to {host} failed: {_reason(error)}", "Check the certificate of this name.") from error
    except urllib3.exceptions.NameResolutionError as error:
        raise NoAnswerError(f"{host} has no address", "Check its spelling and the DNS.") from error
    except urllib3.exceptions.NewConnectionError as error:
        raise NoAnswerError(
            f"nothing listens at {host}", "Check that the web server is running, and the port."
        ) from error
    except urllib3.exceptions.TimeoutError as error:
        raise NoAnswerError(f"{host} does not answer in time", "Is the web server running?") from error
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise NoAnswerError(f"{host} gives no usable answer ({type(error).__name__})") from error


def _reason(error: BaseException) -> str:
    """OpenSSL's message, without its position in the code."""
    inner = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    message = getattr(inner, "verify_message", "") or getattr(inner, "reason", "") or str(inner)
    return printable(str(message).replace("_", " ").lower())
