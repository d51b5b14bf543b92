"""Checks for the library's arguments, and the names of arguments in errors.

An error shows an argument as code, `by='network'`. The command line turns that into a flag, --by network.
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
"""One string, or several."""

_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//[^/]", re.IGNORECASE)
_MOST_COMPARED = 10_000
"""A comparison with more names would take seconds."""
_BACKTICK = r"\x60"


def named(name: str, value: object = None) -> str:
    """An argument as errors show it."""
    if value is None:
        return f"`{name}`"
    # A member of an enumeration shows as its string.
    shown = str(value) if isinstance(value, str) else value
    return f"`{name}={repr(shown).replace('`', _BACKTICK)}`"


def text(name: str, value: object) -> str:
    """An argument that must be a string.

    Raises:
        InvalidValueError: the value is not a string.
    """
    if not isinstance(value, str):
        raise InvalidValueError(f"{named(name)} is {value!r}, not a string", f"Pass a string as {named(name)}.")
    return value


def texts(name: str, value: Texts, *, commas: bool = True) -> tuple[str, ...]:
    """An argument that may have several strings. One string may list several, separated by commas.

    Raises:
        InvalidValueError: a value is not a string.
    """
    several: tuple[object, ...] = (value,)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        several = tuple(value)
    made: list[str] = []
    for each in several:
        if not isinstance(each, str):
            raise InvalidValueError(
                f"{named(name)} has {each!r}, which is not a string", f"Pass a string or a list as {named(name)}."
            )
        made += [part for part in map(str.strip, each.split(",")) if part] if commas and "," in each else [each]
    return tuple(made)


def one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    """An argument that must be one of `allowed`.

    Raises:
        InvalidValueError: the value is not allowed. The hint suggests a similar one.
    """
    if value in allowed:
        return value
    near = meant(value, allowed, shown=partial(named, name))
    raise InvalidValueError(f"{named(name, value)} is unknown", f"{near}Use one of {', '.join(allowed)}.")


def close(value: str, there: Iterable[str]) -> list[str]:
    """Up to three similar texts, the most similar first. It compares only the first ten thousand."""
    return difflib.get_close_matches(value, sorted(there)[:_MOST_COMPARED], n=3)


def host(value: str) -> str:
    """The domain in a text, which may be a URL.

    Raises:
        InvalidValueError: the text is the URL of a page, or a malformed URL.
    """
    if not _URL.match(value):
        # Browsers show a domain with a slash at the end.
        bare = value.removesuffix("/")
        return value if "/" in bare or not bare else bare
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise InvalidValueError(
            f"{named('domains', value)} is not a URL: {error}", f"Write {named('domains', 'example.com')}."
        ) from error
    domain = parts.netloc.rpartition("@")[2].removesuffix(f":{DEFAULT_PORTS.get(parts.scheme, '')}")
    if parts.path.strip("/"):
        raise InvalidValueError(
            f"{named('domains', value)} is the URL of a page",
            f"Write {named('domains', domain)} {named('pages', parts.path)}.",
        )
    return domain
