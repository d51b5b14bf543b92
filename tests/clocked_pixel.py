"""A pixel without a server whose clock does what it is told, and its store seen from outside."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from pfa_flux import Analytics, Point, Settings
from pfa_flux.helper.housekeeper import Housekeeper
from pfa_flux.schema import BOTH
from pfa_flux.tasks import clock
from pfa_flux.tasks.state import State
from pfa_flux.times import NS, parse_instant
from pfa_flux.windows.spec import TaskSpec
from tests.data import DAY, HOUR, MINUTE, READY, hit, load
from tests.oracle import totals

BASE = parse_instant("2020-01-06T00:00:00Z", 0)
"""So long ago that clocks which are ahead of it are not ahead of the machine's."""
WINDOW = 15 * MINUTE
EVER = (BASE - 1000 * DAY, BASE + 2000 * DAY)


class Pixel:
    """A pixel without a server, whose clock does what it is told: it counts, keeps house, and is started again."""

    def __init__(self, own: Settings, now: int) -> None:
        self.own, self.now = own, now
        self.counted: list[Point] = []
        self.late: list[Point] = []
        self.start()

    def start(self, *, accept_clock: bool = False) -> None:
        self._housekeeper = Housekeeper(
            self.own, lambda _: True, newest_series=10**9, accept_clock=accept_clock, clock=lambda: self.now
        )

    def library(self) -> Analytics:
        return Analytics(self.own, clock=lambda: self.now)

    def write(self, hits: int = 3, loads: int = 2, ago: int = 0) -> None:
        """Page views of now or some time ago; further rows of their measurements are none."""
        number = len(self.counted) + len(self.late)
        first = (self.now - ago) // NS * NS + 10 * number
        points = [hit(first + n, page=f"/{n % 2}") for n in range(hits)]
        points += [load(first + n, page=f"/{n % 2}") for n in range(loads)]
        with self.library() as made:
            kept = made.engine.kept_since(self.own.raw_bucket, self.now)
            for point in points:
                (self.counted if point.time >= kept else self.late).append(point)
            made.write([*points, load(first + 9, action=READY)])

    def keep_house(self) -> None:
        before = downsampled(self.own)
        self._housekeeper.once()
        after = downsampled(self.own)
        lowered = [cell for cell, value in before.items() if after.get(cell, 0) < value]
        assert lowered == []

    def live(self, span: int, every: int = 6 * HOUR) -> None:
        """Time goes by, with page views and housekeeping."""
        for _ in range(span // every):
            self.now += every
            self.write()
            self.keep_house()

    def check(self) -> None:
        """Every figure is the oracle's, and what is in none is known."""
        with self.library() as made:
            found = made.blocked_ratio(start=EVER[0], stop=EVER[1], by=["page"])
            said = {row.key["page"]: (row.hits, row.js) for row in found if row.hits or row.js}
            right = {str(key[0]): value for key, value in totals(self.counted, *EVER, ["page"]).items()}
            assert said == right
            for side in BOTH:
                spec = TaskSpec.from_settings(self.own, side)
                lost = made.engine.uncounted(spec.raw)
                late = sum(point.measurement == spec.source for point in self.late)
                assert lost.waiting + lost.dropped == late

    @property
    def raw(self) -> int:
        return count(self.own, "raw")

    @property
    def doubted(self) -> bool:
        with closing(State(self.own)) as state:
            return bool(clock.doubt(clock.known(state)))


def count(own: Settings, table: str) -> int:
    return int(select(own, f"SELECT count(*) FROM {table}")[0][0])


def select(own: Settings, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(own.data_dir / "pfa-flux.sqlite3")) as connection:
        return connection.execute(sql).fetchall()


def downsampled(own: Settings) -> dict[tuple[int, int], int]:
    if not (own.data_dir / "pfa-flux.sqlite3").exists():
        return {}
    return {(time, series): value for time, series, value in select(own, "SELECT time, series, value FROM rollup")}


def purged_until(own: Settings) -> int:
    return int((select(own, "SELECT until FROM purged") or [(0,)])[0][0])
