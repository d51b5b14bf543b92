"""InfluxDB: 2.x with its tasks, 1.x with Kapacitor or without, Cloud and Enterprise."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pfa_flux.engines.base import Engine
    from pfa_flux.engines.influxdb.writer import Writer
    from pfa_flux.settings import Settings


def open_engine(settings: Settings) -> Engine:
    """The server at `settings.url`, with its capabilities; errors as of `detect`."""
    # Imported here: the HTTP client costs half a second.
    from pfa_flux.engines.influxdb.detect import detect

    return detect(settings)


def open_writer(settings: Settings) -> Writer:
    """Where hits are shipped to; asks nothing of the server."""
    from pfa_flux.engines.influxdb.writer import Writer

    return Writer(settings)
