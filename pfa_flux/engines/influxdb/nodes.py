"""Whether all nodes of a cluster were there: openGemini answers in part without a word, and says in SHOW CLUSTER why.

Who compares data asks for the number of partial answers before and after. So the nodes are asked for at both ends, and
answers in between count as partial if a node was missing at either.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from pfa_flux.engines.base import Row
from pfa_flux.errors import AccessDeniedError, BucketNotFoundError, CapabilityError, NotInfluxDBError, QueryError

SHOW = "SHOW CLUSTER"


class Nodes:
    """The nodes of what may be a cluster. Safe to use from several threads."""

    def __init__(self, show: Callable[[], list[Row]]) -> None:
        """Make it; `show` gives the answer to `SHOW`."""
        self._show = show
        self._lock = threading.Lock()
        self._is_cluster = True
        self._was_missing = False
        self._asked = 0
        self._seen = 0
        self._partial = 0

    def asked(self) -> None:
        """Note that a question was answered."""
        with self._lock:
            self._asked += 1

    def partial_answers(self) -> int:
        """Number of times so far that answers may lack a node's rows.

        Raises:
            UnreachableError, BusyError: the nodes could not be asked for.
        """
        with self._lock:
            if self._is_cluster and self._asked:
                is_missing = self._is_missing()
                self._partial += self._asked != self._seen and (is_missing or self._was_missing)
                self._was_missing, self._seen = is_missing, self._asked
            return self._partial

    def _is_missing(self) -> bool:
        """A node that holds data is not there."""
        try:
            rows = self._show()
        except (QueryError, CapabilityError, NotInfluxDBError, AccessDeniedError, BucketNotFoundError):
            # It has no such statement, or this user may not ask: what answers say of themselves has to do.
            self._is_cluster = False
            return False
        # Of what follows about nodes that are moved, rows have no nodeType. One that is there may not be available.
        data = [row for row in rows if row.get("nodeType") == "data"]
        return any(row.get("status") != "alive" or row.get("availability") == "unavailable" for row in data)
