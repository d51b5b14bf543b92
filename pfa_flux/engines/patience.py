"""How long a request waits for a busy server, and what it calls before each pause."""

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
"""Total seconds to wait if the server says how long: InfluxDB Cloud limits requests in periods of five minutes."""
_UNSAID = 10.0
"""Total seconds to wait if the server does not say how long: it may be down for good."""
_FIRST_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a request waits for a busy server.

    Attributes:
        seconds: longest total wait in seconds.
        tell: called before each pause with its seconds.
        unsaid: longest total wait if the server does not say how long to wait.
        longest_pause: longest single pause, whatever the server says.
    """

    seconds: float = _LONGEST
    tell: Callable[[float], None] = lambda _: None
    unsaid: float = _UNSAID
    longest_pause: float = math.inf


_USUAL = Patience()
_current: ContextVar[Patience] = ContextVar("patience", default=_USUAL)


@contextmanager
def patience(new: Patience) -> Iterator[None]:
    """A context in which the requests of this thread wait that long."""
    before = _current.set(new)
    try:
        yield
    finally:
        _current.reset(before)


NONE = Patience(0.0)
"""For callers that wait themselves, or that others wait for."""


def patiently(ask: Callable[[], T], own: Patience | None = None) -> T:
    """Send a request, and send it again while the server is busy, with pauses as long as the server asks for.

    Args:
        ask: sends the request once.
        own: how long to wait; requests inside `ask` then do not wait. None means the patience of this thread.

    Raises:
        BusyError: the server asks to wait longer than that.
    """
    limits, pause, waited = own or _current.get(), _FIRST_PAUSE, 0.0
    while True:
        try:
            with patience(NONE if own else limits):
                return ask()
        except BusyError as error:
            seconds = min(error.retry_after or pause, limits.longest_pause)
            if waited + seconds > (limits.seconds if error.retry_after else min(limits.seconds, limits.unsaid)):
                raise
            limits.tell(seconds)
            time.sleep(seconds)
            pause, waited = pause * 2, waited + seconds


def in_words(seconds: float) -> str:
    """Seconds in words: 37 seconds, 5 minutes."""
    whole = max(1, round(seconds))
    number, unit = (whole // 60, "minute") if whole % 60 == 0 else (whole, "second")
    return f"{number} {unit}{'' if number == 1 else 's'}"
