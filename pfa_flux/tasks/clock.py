"""Whether to trust the clock by which the embedded store removes raw rows.

A clock that is briefly wrong must not remove data that should stay. So a clock more than a day away from its last
trusted time or, without one, from the newest raw row, is in doubt, and pfa-flux removes nothing. It trusts the clock
again in three cases:

- The clock is back within a day of its last trusted time.
- Raw rows have arrived by this clock for a day: it made no other such step since the doubt began, and the newest raw
  row is less than a day old and at least a day after the start of the doubt.
- The user runs with `--accept-clock`. That works once: the instant is stored, and the option accepts no other instant
  until a run without it. So an option that stays in a unit accepts no later step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from pfa_flux.tasks.state import State
from pfa_flux.times import NS, format_instant

log = logging.getLogger("pfa_flux")

FAR = 86400 * NS
"""How far a clock may step before it is in doubt."""
PROOF = 86400 * NS
"""How long raw rows must arrive by a clock in doubt before it is trusted."""

Newest = Callable[[int, int], int | None]
"""Time of the newest raw row of either side in [start, stop), or None."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The record about the clock, by its own times in nanoseconds.

    Attributes:
        trusted: when it was last trusted; 0 if it never was.
        seen: when it was last checked.
        doubted: when the doubt began; None if there is no doubt.
        accepted: when `--accept-clock` accepted it; None if the option may be used.
    """

    trusted: int
    seen: int
    doubted: int | None = None
    accepted: int | None = None


def known(state: State) -> Clock | None:
    """The record about the clock. None before the first check."""
    rows = state.select("SELECT trusted, seen, doubted, accepted FROM clock")
    return Clock(*rows[0]) if rows else None


def check(state: State, now: int, newest: Newest) -> Clock:
    """Check the clock, and store the result.

    Args:
        state: where to store the result.
        now: the present by this clock.
        newest: returns the time of the newest raw row in a range.
    """
    last = known(state)
    clock = _first(now, newest) if last is None else _next(last, now, newest)
    _remember(state, clock)
    return clock


def _first(now: int, newest: Newest) -> Clock:
    row = newest(0, 2**63 - 1)
    if row is None or abs(now - row) <= FAR:
        return Clock(now, now)
    # If the row is in the future, the clock was wrong when the row was written.
    return Clock(row if row < now else 0, now, now)


def _next(last: Clock, now: int, newest: Newest) -> Clock:
    if abs(now - last.trusted) <= FAR:
        return Clock(now, now, None, last.accepted)
    doubted = last.doubted
    if doubted is None or abs(now - last.seen) > FAR:
        doubted = now
    # Rows of the second of this check count, too.
    elif newest(max(doubted + PROOF, now - FAR), now + NS) is not None:
        return Clock(now, now, None, last.accepted)
    return Clock(last.trusted, now, doubted, last.accepted)


def accept(state: State, now: int) -> bool:
    """Trust the clock, for `--accept-clock`. False if the option was already used for another time."""
    last = known(state)
    if last is not None and last.accepted is not None:
        if last.doubted is None and abs(now - last.trusted) <= FAR:
            return True
        log.warning("--accept-clock was used at %s. To use it again, first run once without it", _shown(last.accepted))
        return False
    _remember(state, Clock(now, now, None, now))
    return True


def allow_accepting(state: State) -> None:
    """Allow another use of `--accept-clock`, after a run without it."""
    last = known(state)
    if last is not None and last.accepted is not None:
        with state.transaction() as connection:
            connection.execute("UPDATE clock SET accepted = NULL")


def _remember(state: State, clock: Clock) -> None:
    with state.transaction() as connection:
        row = clock.trusted, clock.seen, clock.doubted, clock.accepted
        connection.execute("INSERT OR REPLACE INTO clock VALUES (1, ?, ?, ?, ?)", row)


def doubt(clock: Clock | None) -> str:
    """Why the store keeps raw rows for now, and until when. Empty if it removes them as usual."""
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
