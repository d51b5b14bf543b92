"""Real servers for the tests: provisioned, started on loopback, stopped by who started them."""

from tests.engines.catalog import ENGINES, EngineFailedError, EngineUnavailableError
from tests.engines.servers import Server, start, start_upgraded
from tests.engines.workspace import Workspace

__all__ = ["ENGINES", "EngineFailedError", "EngineUnavailableError", "Server", "Workspace", "start", "start_upgraded"]
