"""Differences between the shares of networks, domains or pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pfa_flux.ratio.answer_warning import AnswerWarning
from pfa_flux.times import format_instant


@dataclass(frozen=True, slots=True)
class Contrast:
    """The difference between two shares.

    Attributes:
        first: a value of the key.
        second: another value of the key.
        difference: ratio of the first minus ratio of the second, from -1 to 1.
        difference_low: lower end of its 95% interval.
        difference_high: upper end.
        sentence: the difference as a sentence.
    """

    first: str
    second: str
    difference: float
    difference_low: float
    difference_high: float
    sentence: str


@dataclass(frozen=True, slots=True)
class ComparisonAnswer:
    """The values of a `Comparison`, which documents them."""

    start: int
    stop: int
    key: str
    rows: tuple[Contrast, ...]
    warnings: tuple[AnswerWarning, ...] = ()

    def __iter__(self) -> Iterator[Contrast]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """Both values, the difference with its interval, and the sentence."""
        return ("first", "second", "difference", "difference_low", "difference_high", "sentence")

    def records(self) -> list[dict[str, Any]]:
        """Rows as dictionaries by column."""
        return [{name: getattr(row, name) for name in self.columns} for row in self.rows]

    def as_dict(self) -> dict[str, Any]:
        """The whole result, as in its JSON."""
        return {
            "start": format_instant(self.start),
            "stop": format_instant(self.stop),
            "key": self.key,
            "warnings": [warning.as_dict() for warning in self.warnings],
            "rows": self.records(),
        }
