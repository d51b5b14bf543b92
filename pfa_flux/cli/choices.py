"""Values that options take: each list is made from the one that the library goes by."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pfa_flux import registry
from pfa_flux.ratio.grid import EVERY
from pfa_flux.schema import NETWORKS, SOURCES
from pfa_flux.settings.pixel import CHOICES

TABLE, JSON, CSV = "table", "json", "csv"


def _one_of(name: str, values: Iterable[str]) -> Any:
    return enum.StrEnum(name, {value.upper(): value for value in values})


if TYPE_CHECKING:
    Dialect = str
    Every = str
    Format = str
    Loads = str
    Network = str
    Runs = str
    Source = str
    Stored = str
    TableOrJson = str
else:
    Dialect = _one_of("Dialect", registry.choices(registry.dialects()))
    Every = _one_of("Every", EVERY)
    Format = _one_of("Format", (TABLE, JSON, CSV))
    Loads = _one_of("Loads", CHOICES["loads"])
    Network = _one_of("Network", NETWORKS)
    Runs = _one_of("Runs", registry.choices(registry.backends()))
    Source = _one_of("Source", registry.choices(SOURCES))
    Stored = _one_of("Stored", SOURCES)
    TableOrJson = _one_of("TableOrJson", (TABLE, JSON))

Form = Annotated[TableOrJson, typer.Option("--format", help="Output format.")]
Networks = Annotated[
    list[Network] | None,
    typer.Option(help="Only this network; repeatable.", show_default=False, case_sensitive=False),
]
From = Annotated[Source, typer.Option(help="Read raw data, downsampled data, or choose automatically.")]
