"""Domains and pages for readers: decoded if the result cannot be mistaken for another name.

A displayed name is another form of the stored name. As a filter, it finds the same rows.
"""

from __future__ import annotations

import re
import unicodedata

from pfa_flux import names
from pfa_flux.errors import InvalidValueError

DISPLAYED = ("domain", "page")
"""Keys whose displayed values may differ from the stored ones."""

_ESCAPES = re.compile("(?:%[89A-F][0-9A-F])+")
_ASCII_LIKE = frozenset(" !\"#$%&'()*+,./:;<=>?@[\\]^`{|}~")
# Characters that look like a slash, a dot, a colon or a percent sign, but are not compatibility forms of it.
_LOOK_ALIKES = frozenset(
    "\u0337\u0338\u2044\u2215\u2571\u29f8\u27cb\u3033\u2216\u29f5\u29f9\u3002\u06d4\u0589\u05c3\u2236\ua789\u02d0\u066a"
)
# Invisible characters that Python calls printable.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u3164\uffa0\u2800\u17b4\u17b5")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")


def domain(stored: str) -> str:
    """A domain with its A-labels decoded, if it is readable and encodes to the same domain."""
    if "xn--" not in stored:
        return stored
    host, colon, port = stored.partition(":")
    try:
        labels = [_decoded(label) for label in host.split(".")]
        text = ".".join(labels) + colon + port
        return text if names.domain(text) == stored else stored
    except (InvalidValueError, UnicodeError):
        return stored


def _decoded(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    text = label[4:].encode("ascii").decode("punycode")
    return text if all(map(_is_safe, text)) and not _is_mark(text[:1]) else label


def page(stored: str) -> str:
    """A page with decoded escapes, for characters that are not ASCII and are readable."""
    return _ESCAPES.sub(_unescaped, stored)


def _unescaped(found: re.Match[str]) -> str:
    text = bytes.fromhex(found[0].replace("%", "")).decode("utf-8", "surrogateescape")
    # A combining mark at the start would combine with the character before it, such as a slash.
    kept = [char if _is_safe(char) and (place or not _is_mark(char)) else "" for place, char in enumerate(text)]
    return "".join(shown or _percent(char) for shown, char in zip(kept, text, strict=True))


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))


def _is_mark(char: str) -> bool:
    return unicodedata.category(char).startswith("M") if char else False


def _is_safe(char: str) -> bool:
    """Whether a character is visible, does not change others, and does not look like a separator.

    Python calls no control character printable, including those for direction.
    """
    if char.isascii():
        return True
    if not char.isprintable() or char in _LOOK_ALIKES or char in _INVISIBLE or _SELECTORS.match(char):
        return False
    return not _ASCII_LIKE & set(unicodedata.normalize("NFKC", char))


def value(key: str, stored: str) -> str:
    """The value of a key as it is displayed."""
    return domain(stored) if key == "domain" else page(stored) if key == "page" else stored
