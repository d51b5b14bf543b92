"""The helper process's work."""

from __future__ import annotations

from dataclasses import dataclass

from pfa_flux.settings import Settings


@dataclass(frozen=True, slots=True)
class Order:
    """Work for the helper process.

    Attributes:
        settings: all settings.
        lock: handle of the embedded store's lock; None with InfluxDB.
        newest_series: id of the newest series in the embedded store.
        accept_clock: trust the clock at the start, even if it looks wrong.
    """

    settings: Settings
    lock: int | None = None
    newest_series: int = 0
    accept_clock: bool = False
