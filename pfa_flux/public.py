"""The public names, each once. `pfa_flux` has them all, and imports them when one is first used.

`as` says that a name is exported, to readers and to type checkers.
"""

from pfa_flux.analytics import Analytics as Analytics
from pfa_flux.analytics import connect as connect
from pfa_flux.engines.base import Point as Point
from pfa_flux.errors import AccessDeniedError as AccessDeniedError
from pfa_flux.errors import BucketNotFoundError as BucketNotFoundError
from pfa_flux.errors import BusyError as BusyError
from pfa_flux.errors import CapabilityError as CapabilityError
from pfa_flux.errors import InvalidValueError as InvalidValueError
from pfa_flux.errors import NotInfluxDBError as NotInfluxDBError
from pfa_flux.errors import PartialAnswerError as PartialAnswerError
from pfa_flux.errors import PfaFluxError as PfaFluxError
from pfa_flux.errors import QueryError as QueryError
from pfa_flux.errors import SettingsError as SettingsError
from pfa_flux.errors import StoreError as StoreError
from pfa_flux.errors import TaskError as TaskError
from pfa_flux.errors import TimedOutError as TimedOutError
from pfa_flux.errors import TLSError as TLSError
from pfa_flux.errors import UnfitServerError as UnfitServerError
from pfa_flux.errors import UnreachableError as UnreachableError
from pfa_flux.errors import UntrustedFileError as UntrustedFileError
from pfa_flux.present.results import BlockedRatio as BlockedRatio
from pfa_flux.present.results import Comparison as Comparison
from pfa_flux.present.results import PageViews as PageViews
from pfa_flux.ratio.answer_warning import AnswerWarning as AnswerWarning
from pfa_flux.ratio.comparison import Contrast as Contrast
from pfa_flux.ratio.holdings import Holdings as Holdings
from pfa_flux.ratio.page_views import PageViewRow as PageViewRow
from pfa_flux.ratio.result import Store as Store
from pfa_flux.ratio.rows import RatioRow as RatioRow
from pfa_flux.settings import Settings as Settings
from pfa_flux.settings import TaskSettings as TaskSettings
from pfa_flux.tasks.install import Installation as Installation
from pfa_flux.tasks.install import Proof as Proof
from pfa_flux.tasks.plan import Plan as Plan
from pfa_flux.tasks.runners.base import Run as Run
from pfa_flux.tasks.status import Status as Status
from pfa_flux.tasks.task import Task as Task
from pfa_flux.windows.ledger import Ledger as Ledger
from pfa_flux.windows.recompute import Progress as Progress
from pfa_flux.windows.rollup import Difference as Difference
from pfa_flux.windows.spec import TaskSpec as TaskSpec
from pfa_flux.windows.store_check import StoreCheck as StoreCheck
from pfa_flux.windows.verify import Verification as Verification
