"""Tests how a store treats points, before the first hits are shipped to it.

A server may confirm writes but keep something else, such as microseconds, or a re-sent point twice. So two points of a
separate measurement are written first and read back (`windows/store_check.py`). With a token that may only write, or a
server that cannot be queried, the result is unknown. Then this is logged, and hits are shipped.
"""

from __future__ import annotations

import logging
from contextlib import closing

from pfa_flux import registry
from pfa_flux.engines.ask import Rows
from pfa_flux.engines.base import Engine
from pfa_flux.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    BusyError,
    NotInfluxDBError,
    PfaFluxError,
    QueryError,
    StoreUnfitError,
    UnfitServerError,
    UnreachableError,
)
from pfa_flux.settings import Settings
from pfa_flux.windows.store_check import MEASUREMENT, check_store

log = logging.getLogger("pfa_flux")


def first_look(settings: Settings) -> str:
    """Test the store that hits are to be shipped to.

    Returns:
        Why the store could not be tested; empty if it passed.

    Raises:
        StoreUnfitError: it failed the test, so figures would be wrong. The message says why.
        UnreachableError, BusyError: try again later.
    """
    try:
        with closing(registry.open_engine(settings)) as engine:
            _ask_to_read(engine, settings.raw_bucket)
            check = check_store(engine, settings.raw_bucket, remember=False)
            _advise(engine, settings)
    except UnfitServerError as error:
        raise StoreUnfitError(error.message, f"Hits wait in the spool. {error.hint}") from error
    except PfaFluxError as error:
        # A server that is not InfluxDB counts as unreachable elsewhere. Here, another try would give the same result.
        if isinstance(error, UnreachableError | BusyError) and not isinstance(error, NotInfluxDBError):
            raise
        return error.message
    if check.faults:
        fault, consequence = check.faults[0]
        raise StoreUnfitError(fault, f"{consequence} Hits wait in the spool. Use a store such as InfluxDB 1.8 or 2.x.")
    return ""


def _advise(engine: Engine, settings: Settings) -> None:
    """Log what the engine advises for hits. Advice delays no hit: if the store does not answer, there is none."""
    try:
        for each in engine.checks(settings).get("hits", list)():
            if each.status != "ok":
                log.warning("%s: %s. %s", each.name, each.found, each.advice)
    except PfaFluxError as error:
        log.warning("a check of the store failed: %s. pfa-flux doctor repeats it.", error.message)


def _ask_to_read(engine: Engine, bucket: str) -> None:
    """Test the right to read before writing points that must be read back.

    Raises:
        AccessDeniedError: the token cannot read the bucket.
    """
    try:
        engine.rows(Rows(bucket, MEASUREMENT, "value"), 0, 1)
    except BucketNotFoundError as error:
        # To a token without the right to read, InfluxDB 2 reports the bucket as missing.
        raise AccessDeniedError("the token cannot read the raw bucket", "") from error
    except QueryError:
        # For some stores, a measurement without points is an error.
        return
