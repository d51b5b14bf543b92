"""A warning about an answer, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from pfa_flux.times import format_instant


@dataclass(frozen=True, slots=True)
class AnswerWarning:
    """A warning about the figures.

    Attributes:
        code: kind of warning, for programs.
        found: the finding and what it means, for any reader.
        advice: what the operator of pfa-flux can do, with commands and options; empty if nothing.
    """

    code: str
    found: str
    advice: str = ""

    @property
    def message(self) -> str:
        """The finding, then the advice."""
        return f"{self.found} {self.advice}" if self.advice else self.found

    def as_dict(self) -> dict[str, str]:
        """As in the JSON of an answer."""
        return {"code": self.code, "message": self.message}


def expired(kept: int) -> AnswerWarning:
    """Raw data at the start of the range has expired.

    Read downsampled data for that time.
    """
    return AnswerWarning(
        "raw_expired",
        f"Raw data before {format_instant(kept)} has expired and counts as nothing here.",
        "Use --source auto to read downsampled data for that time, if there is any.",
    )
