"""A warning about an answer, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AnswerWarning:
    """A warning about the figures.

    Attributes:
        code: identifies the kind of warning, for programs.
        found: what was found and what it means, for any reader.
        advice: what the operator of pfa-flux can do, with commands and options; may be empty.
    """

    code: str
    found: str
    advice: str = ""

    @property
    def message(self) -> str:
        """What was found, then the advice."""
        return f"{self.found} {self.advice}" if self.advice else self.found

    def as_dict(self) -> dict[str, str]:
        """As in the JSON of an answer."""
        return {"code": self.code, "message": self.message}
