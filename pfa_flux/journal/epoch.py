"""`sess` and time of hits: no two hits of one page can overwrite each other, and nothing links two of one visitor."""

from __future__ import annotations

import os

from pfa_flux.times import NS


class Epoch:
    """What one writing process stamps its hits with.

    `sess` is 16 random hex digits, made when the process starts. A hit's time is its second, or one nanosecond after
    the last hit, whichever is later: unique within a `sess`, and no more precise than the second. A clock that steps
    back by more than a second starts a new `sess`, so that times can begin again.
    """

    def __init__(self) -> None:
        self.sess = ""
        self._second = self._last = 0
        self._renew(0)

    def stamp(self, now: int, count: int) -> int:
        """Time of the first of `count` hits, each one nanosecond after the one before; `now` in nanoseconds."""
        second = now // NS * NS
        if second < self._second - NS:
            self._renew(second)
        self._second = second
        first = max(second, self._last + 1)
        self._last = first + count - 1
        return first

    def _renew(self, second: int) -> None:
        self.sess = os.urandom(8).hex()
        self._last = second - 1
