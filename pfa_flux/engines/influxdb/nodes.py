"""Whether all nodes of a cluster were up.

openGemini does not mark partial answers: only SHOW CLUSTER shows that a node has failed.

Code that compares data reads the number of partial answers before and after. So each read checks the nodes, and the
answers between two reads count as partial if a node was missing at either read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from pfa_flux.engines.base import Row
from pfa_flux.errors import AccessDeniedError, BucketNotFoundError, CapabilityError, NotInfluxDBError, QueryError

SHOW = "SHOW CLUSTER"


class Nodes:
    """The nodes of a server that may be a cluster. Safe to use from several threads."""

    def __init__(self, show: Callable[[], list[Row]]) -> None:
        """Create it; `show` returns the answer to `SHOW`."""
        self._show = show
        self._lock = threading.Lock()
        self._is_cluster = True
        self._was_missing = False
        self._asked = 0
        self._seen = 0
        self._partial = 0

    def asked(self) -> None:
        """Note that the server answered a question."""
        with self._lock:
            self._asked += 1

    def partial_answers(self) -> int:
        """How many times so far answers may lack the rows of a node.

        Raises:
            UnreachableError, BusyError: the server did not list the nodes.
        """
        with self._lock:
            if self._is_cluster and self._asked:
                is_missing = self._is_missing()
                self._partial += self._asked != self._seen and (is_missing or self._was_missing)
                self._was_missing, self._seen = is_missing, self._asked
            return self._partial

    def _is_missing(self) -> bool:
        """Whether a data node is missing."""
        try:
            rows = self._show()
        except (QueryError, CapabilityError, NotInfluxDBError, AccessDeniedError, BucketNotFoundError):
            # The server does not know the statement, or this user may not use it. Only marked answers count then.
            self._is_cluster = False
            return False
        # Rows about moved nodes have no nodeType. A node may be alive and still unavailable.
        data = [row for row in rows if row.get("nodeType") == "data"]
        return any(row.get("status") != "alive" or row.get("availability") == "unavailable" for row in data)
