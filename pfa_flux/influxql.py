"""InfluxQL as text: escaping identifiers and strings."""

from __future__ import annotations

from collections.abc import Sequence

from pfa_flux.errors import InvalidValueError


def _escaped(text: str, quote: str) -> str:
    # Measured on 1.8.10 and 2.7: a raw carriage return or NUL does not come through.
    if "\r" in text or "\x00" in text:
        raise InvalidValueError(f"{text!r} holds a carriage return or NUL, which InfluxQL cannot carry", "Remove it.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidValueError(
            f"{text!r} holds a lone surrogate, which is not a character", "Pass valid Unicode text."
        ) from error
    return text.replace("\\", "\\\\").replace(quote, f"\\{quote}").replace("\n", "\\n")


def string(text: str) -> str:
    """InfluxQL string literal.

    Raises:
        InvalidValueError: the text holds a carriage return, NUL or lone surrogate.
    """
    return f"'{_escaped(text, chr(39))}'"


def identifier(text: str) -> str:
    """InfluxQL quoted identifier.

    Raises:
        InvalidValueError: the text holds a carriage return, NUL or lone surrogate.
    """
    return f'"{_escaped(text, chr(34))}"'


def none_of(column: str, values: Sequence[str]) -> list[str]:
    """Conditions that a tag is none of the values; InfluxQL compares a missing tag as '', so such rows pass."""
    return [f"{identifier(column)} != {string(value)}" for value in values]


def any_of(column: str, values: Sequence[str]) -> str:
    """Condition that a tag is one of the values; an empty value means the tag is missing."""
    return "(" + " OR ".join(f"{identifier(column)} = {string(value)}" for value in values) + ")"
