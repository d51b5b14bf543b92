"""pfa-flux: which share of page views comes without the JavaScript analytics."""

from pfa_flux.analytics import Analytics, connect
from pfa_flux.engines.base import Point
from pfa_flux.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    BusyError,
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
from pfa_flux.settings import Settings, TaskSettings
from pfa_flux.tasks.backends.base import Run
from pfa_flux.tasks.install import Installation, Proof
from pfa_flux.tasks.ledger import Ledger
from pfa_flux.tasks.plan import Plan
from pfa_flux.tasks.recompute import Progress
from pfa_flux.tasks.spec import TaskSpec
from pfa_flux.tasks.status import Status
from pfa_flux.tasks.task import Task
from pfa_flux.tasks.verify import Difference, Verification

__version__ = "0.1.0"

__all__ = [
    "AccessDeniedError",
    "Analytics",
    "BlockedRatio",
    "BucketNotFoundError",
    "BusyError",
    "CapabilityError",
    "Caveat",
    "Difference",
    "Installation",
    "InvalidValueError",
    "Ledger",
    "NotInfluxDBError",
    "PfaFluxError",
    "Plan",
    "Point",
    "Progress",
    "Proof",
    "QueryError",
    "RatioRow",
    "Run",
    "Settings",
    "SettingsError",
    "Status",
    "StoreError",
    "TLSError",
    "Task",
    "TaskError",
    "TaskSettings",
    "TaskSpec",
    "TimedOutError",
    "UnreachableError",
    "Verification",
    "__version__",
    "connect",
]
