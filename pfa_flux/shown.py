"""Names for people: decoded if that misleads nobody.

A displayed name is another form of the stored one; as a filter it finds the same rows.
"""

from __future__ import annotations

import re
import unicodedata

from pfa_flux import names
from pfa_flux.errors import InvalidValueError

DISPLAYED = ("domain", "page")
"""Keys whose values are shown otherwise than they are stored."""

_ESCAPES = re.compile("(?:%[89A-F][0-9A-F])+")
_ASCII_LIKE = frozenset(" !\"#$%&'()*+,./:;<=>?@[\\]^`{|}~")
# What looks like a slash, a dot, a colon or a percent sign and is no compatible form of it.
_LOOK_ALIKES = frozenset(
    "\u0337\u0338\u2044\u2215\u2571\u29f8\u27cb\u3033\u2216\u29f5\u29f9\u3002\u06d4\u0589\u05c3\u2236\ua789\u02d0\u066a"
)
# What is not seen.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u3164\uffa0\u2800\u17b4\u17b5")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")


def domain(stored: str) -> str:
    """A domain with its A-labels decoded, where all of it can be read and stands for the same."""
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
    """A page with its escapes of characters decoded that are not ASCII and can be read."""
    return _ESCAPES.sub(_unescaped, stored)


def _unescaped(found: re.Match[str]) -> str:
    text = bytes.fromhex(found[0].replace("%", "")).decode("utf-8", "surrogateescape")
    # A mark at the start would go on top of what is before it: of a slash, for one.
    kept = [char if _is_safe(char) and (place or not _is_mark(char)) else "" for place, char in enumerate(text)]
    return "".join(shown or _percent(char) for shown, char in zip(kept, text, strict=True))


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))


def _is_mark(char: str) -> bool:
    return unicodedata.category(char).startswith("M") if char else False


def _is_safe(char: str) -> bool:
    """A character can be seen, steers no other, and looks like no separator.

    Of the controls none is printable to Python, those of direction among them.
    """
    if char.isascii():
        return True
    if not char.isprintable() or char in _LOOK_ALIKES or char in _INVISIBLE or _SELECTORS.match(char):
        return False
    return not _ASCII_LIKE & set(unicodedata.normalize("NFKC", char))


def value(key: str, stored: str) -> str:
    """The value of a key as it is shown."""
    return domain(stored) if key == "domain" else page(stored) if key == "page" else stored
