"""What a store does with points, looked at before the first hits are shipped to it.

A server may confirm writes and keep something else: microseconds, or a re-sent point twice. So two points of a
measurement of our own are written first and read back (`windows/store_check.py`). A token that may only write, and a
server that cannot be asked, leave that unknown; it is said, and hits are shipped.
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
    """Look at the store that hits are to be shipped to.

    Returns:
        Why nothing is known of it; empty where it does what it should.

    Raises:
        StoreUnfitError: it does not, so that figures would be wrong; says why.
        UnreachableError, BusyError: not now.
    """
    try:
        with closing(registry.open_engine(settings)) as engine:
            _ask_to_read(engine, settings.raw_bucket)
            found = check_store(engine, settings.raw_bucket, remember=False)
            for each in engine.checks(settings).get("hits", list)():
                if each.status != "ok":
                    log.warning("%s: %s. %s", each.name, each.found, each.advice)
    except UnfitServerError as error:
        raise StoreUnfitError(error.message, f"Hits wait in the spool. {error.hint}") from error
    except PfaFluxError as error:
        # What answers and is no InfluxDB counts as unreachable elsewhere; here it will be the same the next time.
        if isinstance(error, UnreachableError | BusyError) and not isinstance(error, NotInfluxDBError):
            raise
        return error.message
    if found.faults:
        words, consequence = found.faults[0]
        raise StoreUnfitError(words, f"{consequence} Hits wait in the spool. Use a store such as InfluxDB 1.8 or 2.x.")
    return ""


def _ask_to_read(engine: Engine, bucket: str) -> None:
    """Ask for the right to read, before anything is written that only a reader could judge.

    Raises:
        AccessDeniedError: it may not.
    """
    try:
        engine.rows(Rows(bucket, MEASUREMENT, "value"), 0, 1)
    except BucketNotFoundError as error:
        # InfluxDB 2 calls a bucket missing that a token may not read.
        raise AccessDeniedError("the token may not read the raw bucket", "") from error
    except QueryError:
        # There are stores to which a measurement without points is an error.
        return
