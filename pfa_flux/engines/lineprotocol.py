"""Points as InfluxDB's line protocol."""

from __future__ import annotations

from influxdb_client import Point as ClientPoint
from influxdb_client import WritePrecision

from pfa_flux.engines.base import Point
from pfa_flux.errors import InvalidValueError

# InfluxDB's line protocol has no escape for these: a newline ends the point, a trailing backslash escapes the
# separator after it. https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
_UNCARRIED = ("\n", "\r", "\x00")


def line(point: Point) -> str:
    """One line of a point, tags sorted, time in nanoseconds.

    Raises:
        InvalidValueError: a name or value holds a newline or NUL, or ends with a backslash.
    """
    for text in (point.measurement, point.field, *point.tags, *point.tags.values()):
        check_carried(text)
    built = ClientPoint(point.measurement)
    for name in sorted(point.tags):
        built.tag(name, point.tags[name])
    return str(built.field(point.field, point.value).time(point.time, WritePrecision.NS).to_line_protocol())


def check_carried(text: str) -> None:
    """Refuse a name or tag value that line protocol cannot carry.

    Raises:
        InvalidValueError: as said.
    """
    if any(c in text for c in _UNCARRIED) or text.endswith("\\"):
        raise InvalidValueError(
            f"{text!r} cannot be stored: InfluxDB's line protocol carries no newline, NUL or trailing backslash",
            "Remove it from the value.",
        )
