"""pfa-flux: which share of page views comes without the JavaScript analytics."""

from pfa_flux.analytics import Analytics, connect
from pfa_flux.engines.base import Point
from pfa_flux.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    CapabilityError,
    InvalidValueError,
    NotInfluxDBError,
    PfaFluxError,
    QueryError,
    SettingsError,
    StoreError,
    TaskError,
    TimedOutError,
    TLSError,
    UnreachableError,
)
from pfa_flux.queries.result import BlockedRatio, Caveat, RatioRow
from pfa_flux.settings import Settings
from pfa_flux.tasks.install import Installation, Proof

__version__ = "0.1.0"

__all__ = [
    "AccessDeniedError",
    "Analytics",
    "BlockedRatio",
    "BucketNotFoundError",
    "CapabilityError",
    "Caveat",
    "Installation",
    "InvalidValueError",
    "NotInfluxDBError",
    "PfaFluxError",
    "Point",
    "Proof",
    "QueryError",
    "RatioRow",
    "Settings",
    "SettingsError",
    "StoreError",
    "TLSError",
    "TaskError",
    "TimedOutError",
    "UnreachableError",
    "__version__",
    "connect",
]
