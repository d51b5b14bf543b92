"""The shipper's report: a message from the helper to the serving process."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(slots=True)
class Shipped:
    """The shipper's report to the serving process.

    Attributes:
        upto: rows of the spool up to this one are safe, in InfluxDB or in quarantine.
        points: points that the store has accepted since the start, each counted once.
        batches: batches written since the start.
        retries: writes that were repeated since the start.
        quarantined: points in quarantine now.
        refused: points that the store has refused since the start.
        damaged: hits in the spool that could not be read, since the start.
        late: minutes noted for repair since the start.
        error: error of the last write; empty if it succeeded.
        refusing: why the store refuses most points; empty if it does not.
        relay: name and version of the relay that accepts the writes; empty if a database accepts them.
        unknown: why the store could not be tested; empty if it has passed the test.
    """

    upto: int = 0
    points: int = 0
    batches: int = 0
    retries: int = 0
    quarantined: int = 0
    refused: int = 0
    damaged: int = 0
    late: int = 0
    error: str = ""
    refusing: str = ""
    relay: str = ""
    unknown: str = ""

    def __post_init__(self) -> None:
        """Check the types of all values.

        Raises:
            TypeError: a value has the wrong type, or a number is negative.
        """
        for each in fields(self):
            value = getattr(self, each.name)
            if type(value) is not type(each.default):
                raise TypeError(each.name)
            if isinstance(value, int) and value < 0:
                raise TypeError(each.name)
