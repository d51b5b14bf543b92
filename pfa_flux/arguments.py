"""Arguments of the library as people give them, and how errors name them.

An error names an argument as code, `by='network'`; the command line makes a flag of it, --by network.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from functools import partial
from urllib.parse import urlsplit

from pfa_flux.errors import InvalidValueError
from pfa_flux.settings.problems import meant
from pfa_flux.settings.rules import DEFAULT_PORTS

Texts = str | Iterable[str]
"""One text, or several."""

_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//[^/]", re.IGNORECASE)
_MOST_LOOKED_AT = 10_000
"""More would take seconds."""
_BACKTICK = r"\x60"


def named(name: str, value: object = None) -> str:
    """An argument as an error names it."""
    if value is None:
        return f"`{name}`"
    # A member of an enumeration is its text.
    shown = str(value) if isinstance(value, str) else value
    return f"`{name}={repr(shown).replace('`', _BACKTICK)}`"


def text(name: str, value: object) -> str:
    """The text of an argument.

    Raises:
        InvalidValueError: it is none.
    """
    if not isinstance(value, str):
        raise InvalidValueError(f"{named(name)} is {value!r}, not a text", f"Write a text as {named(name)}.")
    return value


def texts(name: str, value: Texts, *, commas: bool = True) -> tuple[str, ...]:
    """The texts of an argument. A string is one, or as many as it lists with commas.

    Raises:
        InvalidValueError: it is neither a text nor several.
    """
    several: tuple[object, ...] = (value,)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        several = tuple(value)
    found: list[str] = []
    for each in several:
        if not isinstance(each, str):
            raise InvalidValueError(
                f"{named(name)} has {each!r}, which is not a text", f"Write one text as {named(name)}, or a list."
            )
        found += [part for part in map(str.strip, each.split(",")) if part] if commas and "," in each else [each]
    return tuple(found)


def one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    """A text that is one of those allowed.

    Raises:
        InvalidValueError: it is not; says which one may be meant.
    """
    if value in allowed:
        return value
    near = meant(value, allowed, shown=partial(named, name))
    raise InvalidValueError(f"{named(name, value)} is unknown", f"{near}Use one of {', '.join(allowed)}.")


def close(value: str, there: Iterable[str]) -> list[str]:
    """Up to three of the texts that may be meant, the likeliest first; only the first ten thousand are looked at."""
    return difflib.get_close_matches(value, sorted(there)[:_MOST_LOOKED_AT], n=3)


def host(value: str) -> str:
    """The domain of a text, which may be a URL.

    Raises:
        InvalidValueError: it is the URL of a page, or of nothing.
    """
    if not _URL.match(value):
        # As an address bar shows it.
        bare = value.removesuffix("/")
        return value if "/" in bare or not bare else bare
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise InvalidValueError(
            f"{named('domains', value)} is not a URL: {error}", f"Write {named('domains', 'example.com')}."
        ) from error
    found = parts.netloc.rpartition("@")[2].removesuffix(f":{DEFAULT_PORTS.get(parts.scheme, '')}")
    if parts.path.strip("/"):
        raise InvalidValueError(
            f"{named('domains', value)} is the URL of a page",
            f"Write {named('domains', found)} {named('pages', parts.path)}.",
        )
    return found
