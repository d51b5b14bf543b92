"""Whether to trust the clock by which the embedded store removes raw rows.

A clock that is briefly wrong must not remove data that should stay. So a clock more than a day away from its last
trusted time or, without one, from the newest raw row, is in doubt, and nothing is removed. It is trusted again

- when it is back within a day of its last trusted time; - when raw rows have arrived by it for a day: it made no other
such step since the doubt began, and the newest raw row is less than a day old and at least a day after that time; -
when `--accept-clock` says so. That works once: the instant is stored, and the option accepts no other until one run
without it. So an option left in a unit accepts no later step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from pfa_flux.tasks.state import State
from pfa_flux.times import NS, format_instant

log = logging.getLogger("pfa_flux")

FAR = 86400 * NS
"""How far a clock may be off before it is in doubt."""
PROOF = 86400 * NS
"""How long raw rows have to come by a clock that is in doubt."""

Newest = Callable[[int, int], int | None]
"""Time of the newest raw row of [start, stop), whatever it counts; None without any."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What is known of the clock, by its own times in nanoseconds.

    Attributes:
        trusted: when it was last believed; 0 where it never was.
        seen: when it was last looked at.
        doubted: since when it is in doubt; None where it is not.
        accepted: when `--accept-clock` had it believed; None where that may be used.
    """

    trusted: int
    seen: int
    doubted: int | None = None
    accepted: int | None = None


def known(state: State) -> Clock | None:
    """What is remembered of the clock; None before it was first looked at."""
    rows = state.select("SELECT trusted, seen, doubted, accepted FROM clock")
    return Clock(*rows[0]) if rows else None


def look(state: State, now: int, newest: Newest) -> Clock:
    """Look at the clock, and remember what was found.

    Args:
        state: where it is remembered.
        now: what it says.
        newest: where the newest raw rows are.
    """
    last = known(state)
    found = _first(now, newest) if last is None else _next(last, now, newest)
    _remember(state, found)
    return found


def _first(now: int, newest: Newest) -> Clock:
    row = newest(0, 2**63 - 1)
    if row is None or abs(now - row) <= FAR:
        return Clock(now, now)
    # A row of the future was written by a clock that was wrong then.
    return Clock(row if row < now else 0, now, now)


def _next(last: Clock, now: int, newest: Newest) -> Clock:
    if abs(now - last.trusted) <= FAR:
        return Clock(now, now, None, last.accepted)
    doubted = last.doubted
    if doubted is None or abs(now - last.seen) > FAR:
        doubted = now
    # To the second in which it was looked at.
    elif newest(max(doubted + PROOF, now - FAR), now + NS) is not None:
        return Clock(now, now, None, last.accepted)
    return Clock(last.trusted, now, doubted, last.accepted)


def accept(state: State, now: int) -> bool:
    """Believe the clock, as `--accept-clock` asks for; false where that was used before, for another time."""
    last = known(state)
    if last is not None and last.accepted is not None:
        if last.doubted is None and abs(now - last.trusted) <= FAR:
            return True
        log.warning("--accept-clock was used at %s. To use it again, first run once without it", _shown(last.accepted))
        return False
    _remember(state, Clock(now, now, None, now))
    return True


def allow_accepting(state: State) -> None:
    """`--accept-clock` is left out: it may be used again."""
    last = known(state)
    if last is not None and last.accepted is not None:
        with state.transaction() as connection:
            connection.execute("UPDATE clock SET accepted = NULL")


def _remember(state: State, clock: Clock) -> None:
    with state.transaction() as connection:
        row = clock.trusted, clock.seen, clock.doubted, clock.accepted
        connection.execute("INSERT OR REPLACE INTO clock VALUES (1, ?, ?, ?, ?)", row)


def doubt(clock: Clock | None) -> str:
    """Why raw rows are kept for the time being, and until when; empty where they are not."""
    if clock is None or clock.doubted is None:
        return ""
    away = clock.doubted - clock.trusted
    where = (
        f"{abs(away) // FAR} days {'ahead of' if away > 0 else 'behind'} {_shown(clock.trusted)}, the last trusted time"
        if clock.trusted
        else "behind the newest raw row"
    )
    return (
        f"raw rows are kept for now, because the clock may be wrong: it shows {_shown(clock.seen)}, {where}. Removal "
        "resumes when rows have arrived by this clock for a day, or with --accept-clock"
    )


def _shown(instant: int) -> str:
    return format_instant(instant // NS * NS)
