"""The canonical form of domains and pages, for the pixel, settings, sites, filters and page loads.

A domain is what browsers send: lower case, with A-labels by UTS #46 (https://url.spec.whatwg.org/#idna), but without
the final dot. A page is the path that browsers send (https://url.spec.whatwg.org/#path-state), normalised by RFC 3986,
section 6.2.2: escapes are in upper case, and only characters that need an escape have one. Both are ASCII.
"""

from __future__ import annotations

import re
import unicodedata
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NoReturn

from pfa_flux.errors import InvalidValueError
from pfa_flux.schema import without_port

LONGEST_DOMAIN = 253

_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_PORT = re.compile(r"(?::([0-9]{0,5}))?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
_HINT = 'Write domains as "example.com" or "*.example.com".'


def domain_and_port(text: str, default: str = "") -> str | None:
    """Canonical form of ASCII `host:port`, without a final dot and the default port. None if the text is not a domain.

    A domain has only letters, digits, `-`, `_` and `.`, and labels of up to 63 characters: a resolver knows no others.
    """
    text = text.lower()
    host, bracket, rest = text.partition("]") if text.startswith("[") else (text.partition(":")[0], "", "")
    port = _PORT.fullmatch(rest if bracket else text[len(host) :])
    name = _ipv6(host) if bracket else _host(host)
    if port is None or name is None:
        return None
    number = (port[1] or "").lstrip("0") or ("0" if port[1] else "")
    if number and int(number) > 65535:
        return None
    return name if number in ("", default) else f"{name}:{number}"


def _host(host: str) -> str | None:
    host = host.removesuffix(".")
    labels = host.split(".")
    if len(host) > LONGEST_DOMAIN or not all(map(_LABEL.fullmatch, labels)):
        return None
    return _ipv4(labels) if _NUMBER.fullmatch(labels[-1]) else host


def _ipv4(labels: list[str]) -> str | None:
    """https://url.spec.whatwg.org/#concept-ipv4-parser."""
    try:
        numbers = [_number(label) for label in labels]
    except ValueError:
        return None
    *first, last = numbers
    if len(first) > 3 or any(number > 255 for number in first) or last >= 256 ** (4 - len(first)):
        return None
    return str(IPv4Address(last + sum(number << 8 * (3 - place) for place, number in enumerate(first))))


def _number(label: str) -> int:
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    return int(label, 8 if label.startswith("0") else 10)


def _ipv6(host: str) -> str | None:
    # A zone may be any text, and has a meaning only on the visitor's machine.
    if "%" in host:
        return None
    try:
        return f"[{IPv6Address(host[1:]).compressed}]"
    except (AddressValueError, ValueError):
        return None


def domain(text: str, default: str = "") -> str:
    """Canonical form of a domain as people write it, in any script, with or without a port.

    Args:
        text: the domain.
        default: port to leave out.

    Raises:
        InvalidValueError: no browser sends this domain, or no resolver knows it. The message says why.
    """
    given = text
    if not text.isascii():
        host, colon, port = text.partition(":")
        text = _to_ascii(host, given) + colon + port
    canonical = domain_and_port(text, default) if text.isascii() else None
    if canonical is None:
        _refuse(given, "it is neither a name of letters, digits, -, _ and dots, nor an address")
    return canonical


def pattern(text: str) -> str:
    """Canonical form of a domain, or of `*.` and a domain, which means all domains below it.

    Raises:
        InvalidValueError: as in `domain`.
    """
    return f"*.{domain(text[2:])}" if text.startswith("*.") else domain(text)


def wanted(text: str) -> str:
    """Canonical form of a domain, or of `*.` and a domain, in a filter.

    Other ASCII text stays unchanged: rows of other writers may have it.

    Raises:
        InvalidValueError: the text is not ASCII, and no browser sends it. The message says why.
    """
    try:
        return pattern(text)
    except InvalidValueError:
        if text.isascii():
            return text
        raise


def below(text: str) -> str | None:
    """The domain in a canonical `*.` pattern. None if the text is not such a pattern."""
    name = text.removeprefix("*.")
    return name if name != text and domain_and_port(name) == name else None


def is_below(domain: str, name: str) -> bool:
    """Whether a canonical domain is below another. If the other has no port, any port is right."""
    return domain.endswith(f".{name}") or without_port(domain).endswith(f".{name}")


def _to_ascii(host: str, given: str) -> str:
    """https://url.spec.whatwg.org/#concept-domain-to-ascii, by https://www.unicode.org/reports/tr46/#ToASCII."""
    import idna

    # Punycode takes quadratic time in the length of a label.
    if len(host) > LONGEST_DOMAIN + 1:
        _refuse(given, f"it is longer than {LONGEST_DOMAIN} characters")
    try:
        labels = [_decoded(label) for label in idna.uts46_remap(host, std3_rules=False, transitional=False).split(".")]
        is_bidi = any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for label in labels for char in label)
        for label in labels:
            if label:
                _check(label, is_bidi)
        return ".".join(label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels)
    except (UnicodeError, ValueError) as error:
        _refuse(given, str(error))


def _decoded(label: str) -> str:
    """A label, decoded if it is an A-label.

    Raises:
        ValueError: the A-label is not the encoding of a name.
    """
    import idna

    if not label.startswith("xn--"):
        return label
    if not label.isascii():
        raise ValueError(f"{label!r} is not an A-label")
    text = label[4:].encode().decode("punycode")
    if text.isascii() or idna.uts46_remap(text, std3_rules=False) != text:
        raise ValueError(f"the A-label {label!r} does not decode to a name")
    return text


def _check(label: str, is_bidi: bool) -> None:
    """https://www.unicode.org/reports/tr46/#Validity_Criteria, without the criteria for hyphens, as in browsers."""
    import idna

    if label.startswith("xn--"):
        raise ValueError(f"{label!r} starts like an A-label but decodes to itself")
    idna.check_initial_combiner(label)
    for place, char in enumerate(label):
        if char in "\u200c\u200d" and not idna.valid_contextj(label, place):
            raise ValueError(f"{label!r} has a misplaced joiner")
    if is_bidi:
        idna.check_bidi(label, check_ltr=True)


def _refuse(text: str, why: str) -> NoReturn:
    raise InvalidValueError(f"{text!r} is not a domain: {why}", _HINT)


# Pages

_PLAIN = r"[!$&-.0-;=@-Z\[\]_a-z~]"
"""A character that needs no escape in a path, except the slash: it is not in the path percent-encode set.

Chromium escapes the same characters, and also the bar, `|`.
"""
_ESCAPE = r"%(?!2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])[0-9A-F]{2}"
"""An escape in upper case for a character that needs one: not a letter or digit, nor `-`, `.`, `_`, `~`."""
_CANONICAL = re.compile(rf"(?:/(?!\.\.?(?:/|\Z)){_PLAIN}*+(?:{_ESCAPE}{_PLAIN}*+)*+)++")
_CHANGES = re.compile(r"%([0-9A-Fa-f]{2})|[^/!$&-.0-;=@-Z\[\]_a-z~]")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")


def is_page(path: str) -> bool:
    """Whether a path is in canonical form."""
    return _CANONICAL.fullmatch(path) is not None


def page(path: str) -> str:
    """Canonical form of a path. Bytes that are not UTF-8 must be surrogates, as `surrogateescape` makes them.

    Raises:
        UnicodeEncodeError: the path has other lone surrogates.
    """
    if is_page(path):
        return path
    return _without_dots(_CHANGES.sub(_escaped, path.replace("\\", "/")))


def _escaped(found: re.Match[str]) -> str:
    if found[1]:
        char = chr(int(found[1], 16))
        return char if _UNRESERVED.fullmatch(char) else found[0].upper()
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogateescape"))


def _without_dots(path: str) -> str:
    kept: list[str] = []
    segments = path.removeprefix("/").split("/")
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)
