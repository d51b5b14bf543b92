"""What the shipper has done: a message from the helper to the process that serves."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(slots=True)
class Shipped:
    """What the shipper has done, as it tells the process that serves.

    Attributes:
        upto: rows of the spool up to this one are safe.
        points: points that the store has taken since the start, each once.
        batches: batches written.
        retries: writes that had to be repeated.
        quarantined: hits in quarantine now.
        refused: points refused since the start.
        damaged: hits that could not be read in the spool since the start.
        late: windows noted for repair since the start, by their minutes.
        error: what the last write failed with, empty where it did not.
        refusing: why most points are refused, empty where they are not.
        relay: what takes the writes and is no database, with its version; empty where nothing does.
        unknown: why it is not known if the store keeps what it is sent; empty where it is.
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
        """Check that it is what it says.

        Raises:
            TypeError: a number is none, or a text.
        """
        for each in fields(self):
            value = getattr(self, each.name)
            if type(value) is not type(each.default):
                raise TypeError(each.name)
            if isinstance(value, int) and value < 0:
                raise TypeError(each.name)
