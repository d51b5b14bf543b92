"""Shapes of requests that confuse servers, each with the one right outcome.

The corpus holds what the public test suites of HTTP parsers agree is dangerous (llhttp, h11, gunicorn's invalid
requests, the studies of request smuggling): lengths that contradict each other, codings in disguise, line ends that
are none, headers that one server reads and the next does not.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.socketless import HIT, request


class Shape(NamedTuple):
    """A stream of bytes, the statuses it is to be answered with, and how many hits it is."""

    name: str
    data: bytes
    statuses: list[int]
    hits: int
    ended: bool = True


_CHUNKED_HIT = b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIT), HIT)
_POST = b"POST /count.gif HTTP/1.1"
_N = b"Content-Length: %d" % len(HIT)

_CODINGS = [
    b"Transfer-Encoding: chunked",
    b"transfer-encoding: chunked",
    b"TRANSFER-ENCODING: CHUNKED",
    b"tRANSFER-eNCODING:chunked",
    b"Transfer-Encoding:\tchunked",
    b"Transfer-Encoding: chunked ",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: x",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: identity, chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, chunked",
    b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding: 'chunked'",
    b"Transfer-Encoding: chunked;q=1",
    b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding: chunk\xe9d",
    b"Transfer-Encoding:",
    b"Transfer-Encoding: ",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
]
_BROKEN_FIELDS = {
    "blank before the colon": b"Transfer-Encoding : chunked",
    "tab before the colon": b"Transfer-Encoding\t: chunked",
    "blank before the name": b" Transfer-Encoding: chunked",
    "tab before the name": b"\tTransfer-Encoding: chunked",
    "vertical tab before the value": b"Transfer-Encoding:\x0bchunked",
    "form feed before the value": b"Transfer-Encoding:\x0cchunked",
    "backspace in the name": b"Transfer-Encoding\x08: chunked",
    "NUL before the colon": b"Transfer-Encoding\x00: chunked",
    "NUL in the value": b"Transfer-Encoding: chunked\x00",
    "NUL in another value": b"X: a\x00b",
    "DEL in a value": b"X: a\x7fb",
    "escape in a value": b"X: \x1b[2J",
    "folded value": b"Transfer-Encoding:\r\n chunked",
    "folded by a tab": b"X: a\r\n\tTransfer-Encoding: chunked",
    "folded by a blank line": b"X: a\r\n \r\n b",
    "bare CR in a value": b"X: a\rTransfer-Encoding: chunked",
    "bare CR at its end": b"X: a\r\r\nY: b",
    "bare LF between fields": b"X: a\nTransfer-Encoding: chunked",
    "LF CR between fields": b"X: a\n\rY: b",
    "blank in a name": b"X Y: a",
    "empty name": b": a",
    "no colon": b"X",
    "no colon in a name that is read": b"Content-Length",
    "colon alone": b":",
    "letter beyond ASCII in a name": b"X\xe9: a",
    "no-break space at the end of a name": b"Transfer-Encoding\xa0: chunked",
    "slash in a name": b"X/Y: a",
    "parenthesis in a name": b"X(Y): a",
    "quote in a name": b'"Host": a.example',
    "at in a name": b"X@Y: a",
    "comma in a name": b"X,Y: a",
    "bracket in a name": b"X[0]: a",
    "equals sign in a name": b"X=Y: a",
    "a request in place of a field": b"GET /count.gif HTTP/1.1",
    "second Host": b"Host: a.example",
    "second Host of another name": b"HOST: b.example",
    "second Host with a blank": b"Host : b.example",
    "second Referer": b"Referer: https://b.example/",
    "negative length": b"Content-Length: -1",
    "length with a plus": b"Content-Length: +5",
    "hexadecimal length": b"Content-Length: 0x5",
    "length of hexadecimal digits": b"Content-Length: 1f",
    "empty length": b"Content-Length:",
    "length with a dot": b"Content-Length: 5.0",
    "length with an exponent": b"Content-Length: 1e1",
    "length with an underscore": b"Content-Length: 1_0",
    "length with a blank inside": b"Content-Length: 1 0",
    "length with a tab inside": b"Content-Length: 1\t0",
    "list of equal lengths": b"Content-Length: 5, 5",
    "list of lengths": b"Content-Length: 5, 6",
    "length in quotes": b'Content-Length: "5"',
    "length in full-width digits": "Content-Length: ５".encode(),
    "length in superscript digits": b"Content-Length: \xb2",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6",
    "two lengths in two spellings": b"Content-Length: 5\r\ncontent-length: 0",
    "two lengths that are equal but for a zero": b"Content-Length: 5\r\nContent-Length: 05",
    "length of nineteen digits": b"Content-Length: 9999999999999999999",
    "length beyond 64 bits": b"Content-Length: 18446744073709551616",
}
_BROKEN_LINES = {
    "HTTP/0.9 with headers": b"GET /count.gif",
    "nothing but a method": b"GET",
    "lower-case protocol": b"GET /count.gif http/1.1",
    "two blanks before the target": b"GET  /count.gif HTTP/1.1",
    "two blanks before the protocol": b"GET /count.gif  HTTP/1.1",
    "blank at the end": b"GET /count.gif HTTP/1.1 ",
    "blank at the start": b" GET /count.gif HTTP/1.1",
    "tabs for blanks": b"GET\t/count.gif\tHTTP/1.1",
    "blank in the target": b"GET /count .gif HTTP/1.1",
    "tab in the target": b"GET /count\t.gif HTTP/1.1",
    "NUL in the target": b"GET /count.gif\x00 HTTP/1.1",
    "NUL in the method": b"G\x00ET /count.gif HTTP/1.1",
    "DEL in the target": b"GET /count\x7f.gif HTTP/1.1",
    "byte beyond ASCII in the target": b"GET /count.gif?\xe9 HTTP/1.1",
    "CR in the target": b"GET /count\r.gif HTTP/1.1",
    "LF in the target": b"GET /count\n.gif HTTP/1.1",
    "CR instead of the first line end": b"GET /count.gif HTTP/1.1\rX: y",
    "LF instead of the first line end": b"GET /count.gif HTTP/1.1\nX: y",
    "version without its minor number": b"GET /count.gif HTTP/1",
    "version of two digits": b"GET /count.gif HTTP/1.10",
    "version of a leading zero": b"GET /count.gif HTTP/01.1",
    "version with a blank": b"GET /count.gif HTTP/1. 1",
    "version with a plus": b"GET /count.gif HTTP/+1.1",
    "version of a comma": b"GET /count.gif HTTP/1,1",
    "version of letters": b"GET /count.gif HTTP/a.b",
    "version twice": b"GET /count.gif HTTP/1.1 HTTP/1.1",
    "another protocol": b"GET /count.gif ICAP/1.0",
    "another protocol that ends alike": b"GET /count.gif XHTTP/1.1",
    "blank within the protocol": b"GET /count.gif HTTP /1.1",
    "no slash in front": b"GET count.gif HTTP/1.1",
    "backslash in front": b"GET \\count.gif HTTP/1.1",
    "query alone": b"GET ?x HTTP/1.1",
    "star that is no OPTIONS": b"GET * HTTP/1.1",
    "authority form": b"CONNECT a.example:443 HTTP/1.1",
    "authority form of a GET": b"GET a.example:80 HTTP/1.1",
    "another scheme": b"GET ftp://a.example/count.gif HTTP/1.1",
    "absolute form without host": b"GET http:///count.gif HTTP/1.1",
    "absolute form with a user": b"GET http://u@a.example/count.gif HTTP/1.1",
    "absolute form with a user and password": b"GET http://u:p@a.example/count.gif HTTP/1.1",
    "absolute form with a port of letters": b"GET http://a.example:x/count.gif HTTP/1.1",
    "absolute form with a backslash": b"GET http://a.example\\@b.example/count.gif HTTP/1.1",
    "absolute form with two hosts": b"GET http://a.example,b.example/count.gif HTTP/1.1",
    "absolute form of one slash": b"GET http:/count.gif HTTP/1.1",
    "method with a colon": b"GET: /count.gif HTTP/1.1",
    "method with a parenthesis": b"G(ET /count.gif HTTP/1.1",
    "method beyond ASCII": b"G\xc9T /count.gif HTTP/1.1",
    "method of 33 letters": b"G" * 33 + b" /count.gif HTTP/1.1",
    "a header in its place": b"Host: a.example",
    "a field that looks like a line": b"X-Foo: GET /count.gif HTTP/1.1",
    "chunk size of a request before": b"0",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a mail": b"HELO a.example",
}
_BAD_HOSTS = {
    "blank": b"a.example b.example",
    "slash": b"a.example/x",
    "user": b"u@a.example",
    "question mark": b"a.example?",
    "fragment": b"a.example#x",
    "comma": b"a.example,b.example",
    "backslash": b"a.example\\b",
    "port of letters": b"a.example:http",
    "two ports": b"a.example:80:81",
    "negative port": b"a.example:-1",
    "open bracket": b"[::1",
    "words after a bracket": b"[::1]a.example",
    "zone of an address": b"[fe80::1%eth0]",
    "letters in brackets": b"[a.example]",
}

REFUSED: list[Shape] = [
    *(Shape(f"field: {name}", request(data) + HIT, [400], 0) for name, data in _BROKEN_FIELDS.items()),
    *(Shape(f"line: {name}", request(line=data) + HIT, [400], 0) for name, data in _BROKEN_LINES.items()),
    *(
        Shape(f"host: {name}", request(b"Host: " + data, host=False) + HIT, [400], 0)
        for name, data in _BAD_HOSTS.items()
    ),
    *(
        Shape(f"coding: {coding!r} {line[:4]!r}", request(coding, line=line, body=_CHUNKED_HIT) + HIT, [411], 0)
        for coding in _CODINGS
        for line in (_POST, b"GET /count.gif HTTP/1.1")
    ),
    *(
        Shape(f"coding and length: {fields!r} {line[:4]!r}", request(*fields, line=line, body=_CHUNKED_HIT), [400], 0)
        for coding in _CODINGS
        for fields in ((coding, b"Content-Length: 4"), (b"Content-Length: 0", coding))
        for line in (_POST, b"GET /count.gif HTTP/1.1")
    ),
    *(
        Shape(f"coding of HTTP/1.0: {coding!r} {line[:4]!r}", request(coding, line=line, body=_CHUNKED_HIT), [400], 0)
        for coding in _CODINGS[:3]
        for line in (b"POST /count.gif HTTP/1.0", b"GET /count.gif HTTP/1.0")
    ),
    Shape("no Host", request(host=False) + HIT, [400], 0),
    Shape("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIT, [505], 0),
    Shape("HTTP/2.0", request(line=b"GET /count.gif HTTP/2.0") + HIT, [505], 0),
    Shape("HTTP/3.0", request(line=b"GET /count.gif HTTP/3.0") + HIT, [505], 0),
    Shape("HTTP/0.9, said so", request(line=b"GET /count.gif HTTP/0.9") + HIT, [505], 0),
    Shape("line ends of LF", HIT.replace(b"\r\n", b"\n"), [400], 0),
    Shape("line ends of CR", HIT.replace(b"\r\n", b"\r") + b"\r\n\r\n", [400], 0),
    Shape("line ends of LF CR", HIT.replace(b"\r\n", b"\n\r"), [400], 0),
    Shape("head that ends with LF LF", HIT[:-4] + b"\n\n", [400], 0),
    Shape("head that ends with CR LF LF", HIT[:-4] + b"\r\n\n", [400], 0),
    Shape("head that ends with LF CR LF", HIT[:-4] + b"\n\r\n" + HIT, [400], 0),
    Shape("CR CR LF", HIT[:-4] + b"\r\r\n\r\n" + HIT, [400], 0),
    Shape("CR before the line", b"\r" + HIT, [400], 0),
    Shape("LF before the line", b"\n" + HIT, [400], 0),
    Shape("NUL before the line", b"\x00" + HIT, [400], 0),
    Shape("byte order mark", b"\xef\xbb\xbf" + HIT, [400], 0),
    Shape("body larger than is read", request(b"Content-Length: 65537", line=_POST), [413], 0),
    Shape("body of 18 digits", request(b"Content-Length: " + b"9" * 18, line=_POST), [413], 0),
]
"""Refused: what follows on the same connection is not looked at."""

ANSWERED: list[Shape] = [
    Shape("a hit", HIT, [200], 1, ended=False),
    Shape("two", HIT * 2, [200, 200], 2, ended=False),
    Shape("empty lines before", b"\r\n\r\n" + HIT, [200], 1, ended=False),
    Shape("a hit as the body of a hit", request(_N, body=HIT), [200], 1, ended=False),
    Shape("a hit as the body of a POST", request(_N, line=_POST, body=HIT), [405], 0, ended=False),
    Shape("a hit as a body, then one", request(_N, body=HIT) + HIT, [200, 200], 2, ended=False),
    Shape("the same length twice", request(_N, _N, body=HIT), [200], 1, ended=False),
    Shape("length with zeros before", request(b"Content-Length: 0003", body=b"abc") + HIT, [200] * 2, 2, ended=False),
    Shape("body of the HEAD that some servers skip", request(_N, line=b"HEAD /count.gif HTTP/1.1", body=HIT), [200], 0,
          ended=False),
    Shape("body longer than said", request(b"Content-Length: 3", body=b"abcdef") + HIT, [200, 405], 1, ended=False),
    Shape("body after Connection: close", request(_N, b"Connection: close", body=HIT), [200], 1),
    Shape("a client that may not send its body", request(_N, b"Expect: 100-continue", body=HIT), [200], 1),
    Shape("the same in another spelling", request(_N, b"eXPECT: y 100-continue", body=HIT), [200], 1),
    Shape("names that only look like a length", request(b"Content_Length: 80", b"Content-Length2: 80") + HIT,
          [200, 200], 2, ended=False),
    Shape("names that only look like a coding", request(b"Transfer_Encoding: chunked", b"X-Transfer-Encoding: chunked")
          + HIT, [200, 200], 2, ended=False),
    Shape("length named by Connection", request(_N, b"Connection: content-length, keep-alive", body=HIT), [200], 1,
          ended=False),
    Shape("upgrade to HTTP/2", request(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c") + HIT, [200, 200], 2,
          ended=False),
    Shape("bytes beyond ASCII in a value", request(b"X: \xe9\xff\x80") + HIT, [200, 200], 2, ended=False),
    Shape("value of blanks", request(b"X: \t ") + HIT, [200, 200], 2, ended=False),
    Shape("Host of another spelling", request(b"hOsT:a.example\t", host=False) + HIT, [200, 200], 2, ended=False),
    Shape("empty Host", request(b"Host:", host=False) + HIT, [200, 200], 2, ended=False),
    Shape("absolute form of another host", request(line=b"GET http://b.example/count.gif?x HTTP/1.1") + HIT, [200, 200],
          2, ended=False),
    Shape("absolute form of another path", request(line=b"GET http://a.example/ HTTP/1.1"), [404], 0, ended=False),
    Shape("absolute form whose query is a path", request(line=b"GET http://a.example?/count.gif HTTP/1.1"), [404], 0,
          ended=False),
    Shape("path encoded", request(line=b"GET /count%2Egif HTTP/1.1"), [404], 0, ended=False),
    Shape("path with dots", request(line=b"GET /./count.gif HTTP/1.1"), [404], 0, ended=False),
    Shape("path of two slashes", request(line=b"GET //count.gif HTTP/1.1"), [404], 0, ended=False),
    Shape("path with a parameter", request(line=b"GET /count.gif;x HTTP/1.1"), [404], 0, ended=False),
    Shape("path with a fragment", request(line=b"GET /count.gif#x HTTP/1.1"), [404], 0, ended=False),
    Shape("path in upper case", request(line=b"GET /COUNT.GIF HTTP/1.1"), [404], 0, ended=False),
    Shape("method in lower case", request(line=b"get /count.gif HTTP/1.1"), [405], 0, ended=False),
    Shape("made-up method", request(line=b"GETGET /count.gif HTTP/1.1"), [405], 0, ended=False),
    Shape("method that another header overrides", request(b"X-HTTP-Method-Override: GET", line=_POST), [405], 0,
          ended=False),
    Shape("OPTIONS of the server", request(line=b"OPTIONS * HTTP/1.1"), [404], 0, ended=False),
    Shape("later minor version", request(line=b"GET /count.gif HTTP/1.9"), [200], 1, ended=False),
    Shape("HTTP/1.0", request(line=b"GET /count.gif HTTP/1.0") + HIT, [200], 1),
    Shape("HTTP/1.0 without Host", request(line=b"GET /count.gif HTTP/1.0", host=False) + HIT, [200], 1),
    Shape("HTTP/1.0 that stays", request(b"Connection: Keep-Alive", line=b"GET /count.gif HTTP/1.0") + HIT, [200, 200],
          2, ended=False),
    Shape("close and keep-alive", request(b"Connection: keep-alive", b"Connection: close") + HIT, [200], 1),
    Shape("close among others", request(b"connection: foo ,\tCLOSE") + HIT, [200], 1),
    Shape("a hit in a Referer", request(b"Referer: https://a.example/" + b"GET /count.gif HTTP/1.1", b"Host: a.example",
          host=False).replace(b"Referer: https://a.example/x\r\n", b"", 1), [200], 1, ended=False),
]  # fmt: skip
"""Unusual, and yet of one meaning only."""

UNFINISHED: list[Shape] = [
    Shape("HTTP/0.9", b"GET /count.gif\r\n", [], 0, ended=False),
    Shape("no end of the head", HIT[:-2], [], 0, ended=False),
    Shape("half an end", HIT[:-1], [], 0, ended=False),
    Shape("a hit in a body whose rest is missing", request(b"Content-Length: 1000", line=_POST, body=HIT), [], 0,
          ended=False),
    Shape("empty lines", b"\r\n" * 1000, [], 0, ended=False),
    Shape("nothing", b"", [], 0, ended=False),
]  # fmt: skip
"""More has to come."""

CORPUS: list[Shape] = [*REFUSED, *ANSWERED, *UNFINISHED]
