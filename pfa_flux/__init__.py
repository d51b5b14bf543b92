"""pfa-flux: the share of page views that the JavaScript analytics did not report.

Names are imported when they are first used, so that the command line starts quickly.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pfa_flux.analytics import Analytics, connect
    from pfa_flux.engines.base import Point
    from pfa_flux.errors import (
        AccessDeniedError,
        BucketNotFoundError,
        BusyError,
        CapabilityError,
        InvalidValueError,
        NotInfluxDBError,
        PartialAnswerError,
        PfaFluxError,
        QueryError,
        SettingsError,
        StoreError,
        TaskError,
        TimedOutError,
        TLSError,
        UnfitServerError,
        UnreachableError,
        UntrustedFileError,
    )
    from pfa_flux.present.results import BlockedRatio, Comparison, PageViews
    from pfa_flux.ratio.answer_warning import Caveat
    from pfa_flux.ratio.comparison import Contrast
    from pfa_flux.ratio.holdings import Holdings
    from pfa_flux.ratio.page_views import PageViewRow
    from pfa_flux.ratio.result import Store
    from pfa_flux.ratio.rows import RatioRow
    from pfa_flux.settings import Settings, TaskSettings
    from pfa_flux.tasks.install import Installation, Proof
    from pfa_flux.tasks.plan import Plan
    from pfa_flux.tasks.runners.base import Run
    from pfa_flux.tasks.status import Status
    from pfa_flux.tasks.task import Task
    from pfa_flux.windows.ledger import Ledger
    from pfa_flux.windows.recompute import Progress
    from pfa_flux.windows.rollup import Difference
    from pfa_flux.windows.spec import TaskSpec
    from pfa_flux.windows.store_check import StoreCheck
    from pfa_flux.windows.verify import Verification

__version__ = "0.1.0"

_HOME = {
    "AccessDeniedError": "pfa_flux.errors",
    "Analytics": "pfa_flux.analytics",
    "BlockedRatio": "pfa_flux.present.results",
    "BucketNotFoundError": "pfa_flux.errors",
    "BusyError": "pfa_flux.errors",
    "CapabilityError": "pfa_flux.errors",
    "Caveat": "pfa_flux.ratio.answer_warning",
    "Comparison": "pfa_flux.present.results",
    "Contrast": "pfa_flux.ratio.comparison",
    "Difference": "pfa_flux.windows.rollup",
    "Holdings": "pfa_flux.ratio.holdings",
    "Installation": "pfa_flux.tasks.install",
    "InvalidValueError": "pfa_flux.errors",
    "Ledger": "pfa_flux.windows.ledger",
    "NotInfluxDBError": "pfa_flux.errors",
    "PageViewRow": "pfa_flux.ratio.page_views",
    "PageViews": "pfa_flux.present.results",
    "PartialAnswerError": "pfa_flux.errors",
    "PfaFluxError": "pfa_flux.errors",
    "Plan": "pfa_flux.tasks.plan",
    "Point": "pfa_flux.engines.base",
    "Progress": "pfa_flux.windows.recompute",
    "Proof": "pfa_flux.tasks.install",
    "QueryError": "pfa_flux.errors",
    "RatioRow": "pfa_flux.ratio.rows",
    "Run": "pfa_flux.tasks.runners.base",
    "Settings": "pfa_flux.settings",
    "SettingsError": "pfa_flux.errors",
    "Status": "pfa_flux.tasks.status",
    "Store": "pfa_flux.ratio.result",
    "StoreCheck": "pfa_flux.windows.store_check",
    "StoreError": "pfa_flux.errors",
    "TLSError": "pfa_flux.errors",
    "Task": "pfa_flux.tasks.task",
    "TaskError": "pfa_flux.errors",
    "TaskSettings": "pfa_flux.settings",
    "TaskSpec": "pfa_flux.windows.spec",
    "TimedOutError": "pfa_flux.errors",
    "UnfitServerError": "pfa_flux.errors",
    "UnreachableError": "pfa_flux.errors",
    "UntrustedFileError": "pfa_flux.errors",
    "Verification": "pfa_flux.windows.verify",
    "connect": "pfa_flux.analytics",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "AccessDeniedError",
    "Analytics",
    "BlockedRatio",
    "BucketNotFoundError",
    "BusyError",
    "CapabilityError",
    "Caveat",
    "Comparison",
    "Contrast",
    "Difference",
    "Holdings",
    "Installation",
    "InvalidValueError",
    "Ledger",
    "NotInfluxDBError",
    "PageViewRow",
    "PageViews",
    "PartialAnswerError",
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
    "Store",
    "StoreCheck",
    "StoreError",
    "TLSError",
    "Task",
    "TaskError",
    "TaskSettings",
    "TaskSpec",
    "TimedOutError",
    "UnfitServerError",
    "UnreachableError",
    "UntrustedFileError",
    "Verification",
    "__version__",
    "connect",
]
