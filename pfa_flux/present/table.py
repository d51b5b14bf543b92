"""What all results have in common: rows, columns, display, and export."""

from __future__ import annotations

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Self

from pfa_flux import foreign
from pfa_flux.errors import CapabilityError
from pfa_flux.present import html, terminal
from pfa_flux.present.sheet import Sheet

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions
    from rich.table import Table as RichTable


class Table(ABC):
    """A result with rows and columns."""

    __slots__ = ()

    @classmethod
    def of(cls, answer: Any) -> Self:
        """A result with the values of an answer."""
        return cls(**{each.name: getattr(answer, each.name) for each in fields(answer)})

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, keys first."""

    @abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """Rows as dictionaries by column."""

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """The whole result, as in its JSON."""

    @abstractmethod
    def sheet(self) -> Sheet:
        """Rows for display."""

    @property
    def zone_name(self) -> str:
        """Time zone of the column `time`."""
        return getattr(self, "tz", "UTC")

    def __len__(self) -> int:
        return len(self.records())

    def to_json(self) -> str:
        """JSON text. Ratios are unrounded, or null."""
        return foreign.json_text(self.as_dict())

    def to_csv(self) -> str:
        """CSV text with a header. Missing values are empty.

        Texts that a spreadsheet would run as a formula begin with '.
        """
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(map(foreign.cell, record.values()) for record in self.records())
        return out.getvalue()

    def to_pandas(self) -> pd.DataFrame:
        """A DataFrame of the columns. `time` is a time in the result's zone, and missing values are NaN.

        Raises:
            CapabilityError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise CapabilityError("pandas is not installed", "Install it: pip install 'pfa-flux[notebook]'.") from error
        frame = pd.DataFrame(self.records(), columns=list(self.columns))
        for name in self.columns:
            if name == "time":
                frame[name] = pd.to_datetime(frame[name], utc=True).dt.tz_convert(self.zone_name)
            elif "ratio" in name or name.startswith(("change", "difference")):
                frame[name] = pd.to_numeric(frame[name]) if name.rpartition("_")[2] != "status" else frame[name]
        return frame

    def _repr_html_(self) -> str:
        return html.table(self.sheet())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RichTable]:
        yield terminal.table(console, self.sheet(), options.max_width)

    def __str__(self) -> str:
        return terminal.text(self)
