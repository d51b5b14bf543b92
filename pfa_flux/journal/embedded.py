"""The embedded store as a journal. Hits become raw rows at once, so `blocked-ratio` can read them at any time."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from pfa_flux.engines.sqlite import Embedded
from pfa_flux.engines.sqlite.proofs import BACK_FOR_HITS
from pfa_flux.engines.sqlite.schema import PREFETCHES
from pfa_flux.journal.base import JournalFile
from pfa_flux.journal.order import Order
from pfa_flux.journal.points import point_of
from pfa_flux.pixel.hit import HIT
from pfa_flux.pixel.pages import Page
from pfa_flux.pixel.prefetches import number_of
from pfa_flux.settings import Settings


class StoreJournal(JournalFile):
    """The journal of a pixel without InfluxDB."""

    known_by_sess = True

    def __init__(self, settings: Settings, *, patience: float = 0.0) -> None:
        self._store = Embedded(settings, patience=patience)
        self._schema = settings.schema
        self._table = self._store.table(settings.raw_bucket)
        super().__init__(self._store.path, settings.pixel.synchronous)

    def order(self, settings: Settings) -> Order:
        """Work for the helper process, which uses the same store."""
        return Order(settings, self.lock, self.newest_series)

    @property
    def lock(self) -> int:
        """Handle of the store's lock, for sharing with the helper."""
        return self._store.lock

    @property
    def newest_series(self) -> int:
        """Id of the newest series in the store. Series of this process come after it."""
        return int(self._connection.execute("SELECT coalesce(max(id), 0) FROM series").fetchone()[0])

    def _open(self) -> sqlite3.Connection:
        self._store.release_connections()
        return self._store.open_writer()

    def _write(self, connection: sqlite3.Connection, pages: Sequence[Page], sess: str, first: int) -> None:
        for page in pages:
            if page.file is not self._file:
                page.id = self._store.series_id(connection, point_of(page.view, self._schema, sess, 0))
                page.file = self._file
        if pages[0].view.kind == "prefetch":
            rows = [(first + n, page.id, number_of(page.view)) for n, page in enumerate(pages)]
            connection.executemany(f"INSERT INTO {PREFETCHES} VALUES (?, ?, ?)", rows)
            return
        # One statement for all. Loads have negative ids, because their value differs.
        ids = [page.id if page.view.kind == HIT else -page.id for page in pages]
        connection.execute(
            f"INSERT INTO {self._table} "
            "SELECT ?1 + key, abs(value), CASE WHEN value > 0 THEN 1 ELSE 0.0 END FROM json_each(?2)",
            (first, str(ids)),
        )
        # Rows are late if the clock was set back, or if the commit took long.
        connection.execute(BACK_FOR_HITS, (first,))

    def _forget(self) -> None:
        super()._forget()
        self._store.forget_series()

    def close(self) -> None:
        """Close the file and release the lock."""
        self._store.close()
