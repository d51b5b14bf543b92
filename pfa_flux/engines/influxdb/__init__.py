"""InfluxDB: 2.x with its tasks, 1.x with or without Kapacitor, Cloud and Enterprise."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pfa_flux.engines.base import Engine
    from pfa_flux.engines.influxdb.writer import Writer
    from pfa_flux.settings import Settings


def open_engine(settings: Settings) -> Engine:
    """The server at `settings.url`, with its capabilities. It raises the errors of `detect`."""
    # Imported here because the HTTP client takes half a second.
    from pfa_flux.engines.influxdb.detect import detect

    return detect(settings)


def open_writer(settings: Settings) -> Writer:
    """The writer that ships hits. It sends no request yet."""
    from pfa_flux.engines.influxdb.writer import Writer

    return Writer(settings)
