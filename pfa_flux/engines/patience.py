"""How long a request waits for a server that is too busy just now, and who is told meanwhile."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from pfa_flux.errors import BusyError

T = TypeVar("T")

_LONGEST = 300.0
"""Seconds in all, where the server says for how long: InfluxDB Cloud counts its limits by five minutes."""
_UNSAID = 10.0
"""Seconds in all, where it does not say: what has ended for good says no more than that."""
_FIRST_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a question waits.

    Attributes:
        seconds: the most that it waits in all.
        tell: called before each pause, with its seconds.
        unsaid: the same as `seconds`, if the server does not say for how long.
        longest_pause: the most that it waits before it asks again, whatever the server says.
    """

    seconds: float = _LONGEST
    tell: Callable[[float], None] = lambda _: None
    unsaid: float = _UNSAID
    longest_pause: float = math.inf


_USUAL = Patience()
_current: ContextVar[Patience] = ContextVar("patience", default=_USUAL)


@contextmanager
def patience(found: Patience) -> Iterator[None]:
    """Within it, and in this thread, questions wait as it says."""
    before = _current.set(found)
    try:
        yield
    finally:
        _current.reset(before)


NONE = Patience(0.0)
"""For those who wait themselves, or whom somebody waits for."""


def patiently(ask: Callable[[], T], own: Patience | None = None) -> T:
    """Ask, and ask again while the server is too busy, with pauses as long as it wants.

    Args:
        ask: asks once.
        own: how long to wait; questions within do not wait themselves. None for what holds in this thread.

    Raises:
        BusyError: it wants to be left alone for longer than anybody waits here.
    """
    found, pause, waited = own or _current.get(), _FIRST_PAUSE, 0.0
    while True:
        try:
            with patience(NONE if own else found):
                return ask()
        except BusyError as error:
            seconds = min(error.retry_after or pause, found.longest_pause)
            if waited + seconds > (found.seconds if error.retry_after else min(found.seconds, found.unsaid)):
                raise
            found.tell(seconds)
            time.sleep(seconds)
            pause, waited = pause * 2, waited + seconds


def in_words(seconds: float) -> str:
    """Seconds as people say them: 37 seconds, 5 minutes."""
    whole = max(1, round(seconds))
    number, unit = (whole // 60, "minute") if whole % 60 == 0 else (whole, "second")
    return f"{number} {unit}{'' if number == 1 else 's'}"
