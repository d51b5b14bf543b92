"""A warning of an answer, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caveat:
    """Something that the reader of the figures has to know.

    Attributes:
        code: to act on.
        found: what was found and what it means, in words for any reader.
        advice: what those who run pfa-flux can do, with commands and options; may be empty.
    """

    code: str
    found: str
    advice: str = ""

    @property
    def message(self) -> str:
        """All of it."""
        return f"{self.found} {self.advice}" if self.advice else self.found
