"""The embedded engine: everything is in one SQLite file, without a server."""

from __future__ import annotations

from pfa_flux.engines.sqlite.engine import Embedded
from pfa_flux.engines.sqlite.store import STORE_NAME
from pfa_flux.settings import Settings

__all__ = ["STORE_NAME", "Embedded", "open_engine"]


def open_engine(settings: Settings) -> Embedded:
    """The store in the data directory. The file need not exist yet."""
    return Embedded(settings)
