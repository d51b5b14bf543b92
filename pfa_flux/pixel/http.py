"""HTTP/1 request heads: parses bytes into what the pixel needs, and builds the bytes of answers.

Parsing is strict wherever two servers could read one request differently (request smuggling):
https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus

MAX_HEAD = 16 * 1024
"""Maximum bytes of request line and headers."""
MAX_LINE = 8 * 1024
MAX_FIELDS = 100
MAX_BODY = 64 * 1024
"""Maximum bytes of a body, which is read and discarded. A longer body ends the connection."""

# All characters allowed in a head: visible characters, space, tab, and bytes beyond ASCII.
_TEXT = bytes([9, *range(32, 127), *range(128, 256)])
_LINE_ENDS = b"\r\n" * (MAX_FIELDS + 1)
_BLANK = b"\r\n\r\n"

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}) ([!-~]+) HTTP/([0-9])\.([0-9])")
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#@]+)(/[^?#]*)?(?=[?#]|\Z)")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[^\s:/?#@\[\]\\,]*)(?::[0-9]*)?")

(_IGNORED, _HOST_IS, _REFERER, _CONNECTION, _LENGTH, _ENCODING, _PURPOSE, _GPC, _DNT, _FORWARDED_HOST,
 _FORWARDED_PROTO, _EXPECT, _DEST, _SKIP) = range(14)  # fmt: skip
_READ = {
    "host": _HOST_IS,
    "referer": _REFERER,
    "connection": _CONNECTION,
    "content-length": _LENGTH,
    "transfer-encoding": _ENCODING,
    "sec-purpose": _PURPOSE,
    "purpose": _PURPOSE,
    "x-purpose": _PURPOSE,
    "x-moz": _PURPOSE,
    "sec-gpc": _GPC,
    "dnt": _DNT,
    "x-forwarded-host": _FORWARDED_HOST,
    "x-forwarded-proto": _FORWARDED_PROTO,
    "expect": _EXPECT,
    "sec-fetch-dest": _DEST,
    "x-pfa-skip": _SKIP,
}
_FIELDS: dict[bytes, int] = {
    spelling: meaning
    for name, meaning in _READ.items()
    for spelling in (name.encode(), name.title().encode(), name.upper().encode())
}
"""The meaning of a header in its usual spellings. Other spellings are compared without regard to case."""

_EMBEDDED = (b"image", b"empty", b"")
_UNSEEN = (b"prefetch", b"prerender", b"preview")
CHECK = "prefetch;pfa-flux-check"
"""Sec-Purpose of a request that checks the pixel. Older pixels treat the mark as a prefetch."""
_CHECK = CHECK.encode()

_USUAL = rb"""(?x)
    (?:{ignored})*+
    (?: {host} (?:{ignored})*+ (?:{referer})?+ | {referer} (?:{ignored})*+ {host} )
    (?:{ignored})*+
"""
# Capitalised as browsers do, or in lower case as HAProxy does.
_HOST_LINE = rb"""[Hh]ost:\x20 ([A-Za-z0-9._-]++ (?::[0-9]*+)?+) \r\n"""
_REFERER_LINE = rb"""[Rr]eferer:\x20 ([!-~]++) \r\n"""
# A header that starts with a letter of no relevant header, or one of a browser's headers that do not matter.
_IGNORED_LINE = rb"""(?:
    [ABEFGIJ-OQUVWYZabefgij-oquvwyz][!\#$%&'*+\-.^_`|~0-9A-Za-z]*+
    | [Ss]ec-(?: [Cc][Hh]-[A-Za-z-]++
               | [Ff]etch-(?: [Dd]est(?=:\x20(?:image|empty)\r\n) | (?!(?i:dest):)[A-Za-z-]++ ) )
    | [Cc]onnection(?=:\x20keep-alive\r\n)
    | [Cc](?:ookie|ache-[Cc]ontrol) | [Pp](?:ragma|riority) | TE | te
) : .*+ \n"""


class RefusedError(Exception):
    """A request is refused, and its connection ends. `why` is a short reason."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(f"{status} {why}")
        self.status, self.why = status, why


class Request:
    """The parts of a request that are read. Other headers are ignored.

    Attributes:
        method: as sent.
        path: the target without its query.
        keep_alive: the connection stays open.
        length: bytes of its body.
        referer: Referer; None if absent, like the others.
        host: Host.
        forwarded_host: X-Forwarded-Host.
        forwarded_proto: X-Forwarded-Proto.
        prefetch: Sec-Purpose, Purpose, X-Purpose or X-Moz say that nobody is viewing the page yet.
        gpc: Sec-GPC: 1.
        dnt: DNT: 1.
        embedded: Sec-Fetch-Dest is absent, image, or empty (a script's `fetch`).
        skip: X-Pfa-Skip.
        check: Sec-Purpose or a similar header has the mark of `pfa-flux doctor`, which never counts.
        plain: all headers of the attributes after `host` are absent, except for an ordinary Sec-Fetch-Dest.
    """

    # Defaults of the class, so an absent header costs nothing.
    method = b"GET"
    path = b""
    keep_alive = True
    length = 0
    referer: bytes | None = None
    host: bytes | None = None
    forwarded_host: bytes | None = None
    forwarded_proto: bytes | None = None
    prefetch = False
    gpc = False
    dnt = False
    embedded = True
    skip: bytes | None = None
    check = False
    plain = True


class Parser:
    """Parses heads. `paths` are the most requested paths.

    One pattern parses the usual requests of browsers. Others are parsed line by line, with the same result.
    """

    def __init__(self, paths: tuple[str, ...] = ()) -> None:
        lines = rb"|".join(re.escape(path.encode("latin-1")) for path in paths) or rb"(?!)"
        usual = _USUAL.replace(b"{host}", _HOST_LINE).replace(b"{referer}", _REFERER_LINE)
        usual = usual.replace(b"{ignored}", _IGNORED_LINE).replace(b"(?x)", b"", 1)
        self._usual = re.compile(rb"(?x)GET\x20(" + lines + rb")\x20HTTP/1\.1\r\n" + usual + rb"(?:\r\n)?")

    def whole(self, data: bytes) -> Request | None:
        """The request in `data`, if that is exactly one usual request including its blank line.

        Most reads from a connection contain just that, so they need no search for the end of the head.
        """
        if not data.endswith(_BLANK) or len(data) > MAX_HEAD or not _is_text(data):
            return None
        return self._read_usual(data)

    def head(self, head: bytes) -> Request:
        """The request of a head. All lines of the head have their line ends; the blank line is not included.

        Raises:
            RefusedError: it is malformed, ambiguous or too long, or not HTTP/1.
        """
        if not _is_text(head):
            raise RefusedError(431, "fields") if head.count(b"\n") > MAX_FIELDS + 1 else RefusedError(400, "control")
        return self._read_usual(head) or by_lines(head)

    def _read_usual(self, data: bytes) -> Request | None:
        usual = self._usual.fullmatch(data)
        if usual is None:
            return None
        request = Request()
        request.path, request.host, request.referer, referer, host = usual.groups()
        if host is not None:
            # Browsers send Host first; other clients may not.
            request.host, request.referer = host, referer
        return request


def _is_text(data: bytes) -> bool:
    """The head has only lines of allowed characters with complete line ends, and not too many lines."""
    # Without all allowed characters, only line ends may remain.
    ends = data.translate(None, _TEXT)
    return _LINE_ENDS.startswith(ends) and len(ends) % 2 == 0


def by_lines(head: bytes) -> Request:
    """The request of a head whose characters were checked.

    Raises:
        RefusedError: as in `Parser.head`.
    """
    lines = head.split(b"\r\n")
    lines.pop()
    if len(lines[0]) > MAX_LINE:
        raise RefusedError(414, "line")
    request = Request()
    http10 = _request_line(lines[0], request)
    authority, request.host = request.host, None
    connection = coding = length = None
    expects = False
    del lines[0]
    for line in lines:
        name, colon, value = line.partition(b":")
        meaning = _FIELDS.get(name)
        if meaning is None or not colon:
            meaning = _unusual(name, colon)
        if not meaning:
            continue
        value = value.strip(b" \t")
        if meaning == _REFERER:
            if request.referer is not None:
                raise RefusedError(400, "referer")
            request.referer = value
        elif meaning == _HOST_IS:
            if request.host is not None or not _HOST.fullmatch(value):
                raise RefusedError(400, "host")
            request.host = value
        elif meaning == _CONNECTION:
            connection = _joined(connection, value)
        elif meaning == _LENGTH:
            if not value.isdigit() or len(value) > 18 or (length is not None and length != value):
                raise RefusedError(400, "length")
            length = value
        elif meaning == _ENCODING:
            coding = value
        elif meaning == _EXPECT:
            expects = True
        elif meaning == _DEST:
            if value not in _EMBEDDED:
                request.embedded = request.plain = False
        else:
            _set_optional(request, meaning, value)
    if request.host is None and not http10:
        raise RefusedError(400, "host")
    if authority is not None:
        request.host = authority
    _set_length(request, coding, length, http10=http10)
    if http10 or (connection is not None and connection != b"keep-alive"):
        tokens = {token.strip(b" \t").lower() for token in (connection or b"").split(b",")}
        request.keep_alive = b"close" not in tokens and (not http10 or b"keep-alive" in tokens)
    if expects and request.length:
        # After the answer, the client may send the body or not, so the next bytes would be ambiguous.
        request.keep_alive = False
    return request


def _set_length(request: Request, coding: bytes | None, length: bytes | None, *, http10: bool) -> None:
    """Set the length of the body, or refuse it."""
    if coding is not None:
        # A body of unknown length has no use here.
        raise RefusedError(400 if length is not None or http10 else 411, "coding")
    if length is not None:
        request.length = int(length)
        if request.length > MAX_BODY:
            raise RefusedError(413, "body")


def _request_line(line: bytes, request: Request) -> bool:
    """Parse a request line into `request`, with the host of an absolute target. Returns whether it is HTTP/1.0."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise RefusedError(400, "line")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise RefusedError(505, "version")
    request.method = method
    if target.startswith(b"/"):
        request.path = target.partition(b"?")[0]
    elif absolute := _ABSOLUTE.match(target):
        request.host, request.path = absolute[1], absolute[2] or b"/"
        if not _HOST.fullmatch(absolute[1]):
            raise RefusedError(400, "target")
    elif not (target == b"*" and method == b"OPTIONS"):
        raise RefusedError(400, "target")
    return minor == b"0"


def _unusual(name: bytes, colon: bytes) -> int:
    """The meaning of a header in an unusual spelling."""
    if not colon or not _TOKEN.fullmatch(name):
        # The header has no colon, has a blank before it, or continues the line before.
        raise RefusedError(400, "field")
    return _READ.get(name.decode("ascii").lower(), _IGNORED)


def _set_optional(request: Request, meaning: int, value: bytes) -> None:
    """Set an attribute of a header that ordinary requests lack."""
    request.plain = False
    if meaning == _PURPOSE:
        purpose = value.lower()
        request.check = request.check or purpose == _CHECK
        request.prefetch = request.prefetch or any(word in purpose for word in _UNSEEN)
    elif meaning == _GPC:
        request.gpc = value == b"1"
    elif meaning == _DNT:
        request.dnt = value == b"1"
    elif meaning == _FORWARDED_HOST:
        request.forwarded_host = _joined(request.forwarded_host, value)
    elif meaning == _SKIP:
        request.skip = _joined(request.skip, value)
    else:
        request.forwarded_proto = _joined(request.forwarded_proto, value)


def _joined(before: bytes | None, value: bytes) -> bytes:
    """A list with another line appended (RFC 9110, 5.3)."""
    return value if before is None else before + b"," + value


def answer(
    status: int, body: bytes = b"", headers: Mapping[str, str] | None = None, *, close: bool = False, head: bool = False
) -> bytes:
    """Bytes of an answer. With `head`, without the body."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Date: {formatdate(usegmt=True)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines.append(f"Content-Length: {len(body)}")
    # HTTP/1.0 clients need this header to know that the connection stays open.
    lines.append(f"Connection: {'close' if close else 'keep-alive'}")
    return "\r\n".join((*lines, "", "")).encode("latin-1") + (b"" if head else body)
