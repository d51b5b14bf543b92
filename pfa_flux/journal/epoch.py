"""`sess` and time of hits. They prevent hits from overwriting each other, and do not link hits of a visitor."""

from __future__ import annotations

import os

from pfa_flux.times import NS


class Epoch:
    """The `sess` and times of one writing process.

    `sess` is 16 random hexadecimal digits, created when the process starts. A hit's time is its second, or one
    nanosecond after the last hit, whichever is later. So it is unique within a `sess`, and no more precise than a
    second. If the clock steps back by more than a second, a new `sess` begins.
    """

    def __init__(self) -> None:
        self.sess = ""
        self._second = self._last = 0
        self._renew(0)

    def stamp(self, now: int, count: int) -> int:
        """Time of the first of `count` hits. Each further hit is one nanosecond later. `now` is in nanoseconds."""
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
