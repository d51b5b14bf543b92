"""What the helper process is told to do."""

from __future__ import annotations

from dataclasses import dataclass

from pfa_flux.settings import Settings


@dataclass(frozen=True, slots=True)
class Order:
    """What the helper is to do.

    Attributes:
        settings: all settings.
        lock: handle of the embedded store's lock; None where there is an InfluxDB.
        newest_series: of the embedded store.
        accept_clock: believe the clock that it starts with.
    """

    settings: Settings
    lock: int | None = None
    newest_series: int = 0
    accept_clock: bool = False
