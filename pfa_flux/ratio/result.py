"""The answer to a question about the blocked ratio: rows with their status, and a total. It has values, not looks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pfa_flux.errors import InvalidValueError
from pfa_flux.ratio import phrasing
from pfa_flux.ratio.answer_warning import AnswerWarning
from pfa_flux.ratio.comparison import ComparisonAnswer, Contrast
from pfa_flux.ratio.rows import CHANGE, FIGURES, RatioRow, Source, display_columns, minus
from pfa_flux.times import format_instant


@dataclass(frozen=True, slots=True)
class Store:
    """The store that figures come from.

    Attributes:
        engine: influxdb2, influxdb1 or embedded.
        version: its version as reported.
        address: URL without user, password or query, or the file's path.
        product: what people call a server of this engine.
    """

    engine: str
    version: str
    address: str
    product: str = field(default="InfluxDB", kw_only=True)

    @property
    def title(self) -> str:
        """Its name for people."""
        if not self.engine.startswith("influxdb"):
            return f"{self.engine} store"
        return f"{self.product} {self.version or f'{self.engine[-1]}.x'}"


@dataclass(frozen=True, slots=True)
class RatioAnswer:
    """The values of a `BlockedRatio`, which documents them."""

    start: int
    stop: int
    by: tuple[str, ...]
    engine: str
    dialect: str
    source: Source
    rows: tuple[RatioRow, ...]
    warnings: tuple[AnswerWarning, ...] = ()
    tz: str = "UTC"
    before: tuple[int, int] | None = None
    total: RatioRow = field(kw_only=True, repr=False)
    subject: str = field(kw_only=True, repr=False)
    covers: tuple[int, int] = field(kw_only=True, repr=False)
    doubts: tuple[str, ...] = field(kw_only=True, repr=False)
    store: Store = field(kw_only=True, repr=False)
    config: Path | None = field(kw_only=True, repr=False)

    def __iter__(self) -> Iterator[RatioRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def has_data(self) -> bool:
        """There is at least one hit or load."""
        return self.total.status != "no_data"

    @property
    def columns(self) -> tuple[str, ...]:
        """Keys and figures, then the previous period and the change if requested, then names for display."""
        before = (*(f"before_{name}" for name in FIGURES), *CHANGE) if self.before else ()
        return (*self.by, *FIGURES, *before, *display_columns(self.by))

    def records(self) -> list[dict[str, Any]]:
        """Rows as dictionaries by column."""
        return [row.as_dict() for row in self.rows]

    def as_dict(self) -> dict[str, Any]:
        """The whole result, as in its JSON. It has `differences` if the rows are networks."""
        more: dict[str, Any] = {}
        if self.before:
            more["before"] = dict(zip(("start", "stop"), map(format_instant, self.before), strict=True))
        if self.by == ("network",):
            more["differences"] = self.differences().records()
        return {
            "start": format_instant(self.start),
            "stop": format_instant(self.stop),
            "engine": self.engine,
            "dialect": self.dialect,
            "source": self.source,
            "store": {name: getattr(self.store, name) for name in ("engine", "version", "address")},
            "config": None if self.config is None else str(self.config),
            "total": self.total.as_dict(),
            "warnings": [warning.as_dict() for warning in self.warnings],
            "rows": self.records(),
            **more,
        }

    def differences(self) -> ComparisonAnswer:
        """Differences between every two rows. The result must have one key other than time.

        Raises:
            InvalidValueError: the rows have several keys, or the key is time.
        """
        if len(self.by) != 1 or self.by == ("time",):
            raise InvalidValueError(
                f"rows by {', '.join(self.by)} cannot be compared with each other",
                "Use one key: network, domain or page.",
            )
        (key,) = self.by
        contrasts = []
        for second, first in itertools.combinations(self.rows, 2):
            less = minus(first, second)
            if less:
                names = first.key[key], second.key[key]
                contrasts.append(Contrast(*names, *less, phrasing.difference(key, *names, *less[1:])))
        return ComparisonAnswer(self.start, self.stop, key, tuple(contrasts), self.warnings)
