"""Points as InfluxDB's line protocol.

This module replaces influxdb-client's Point, which silently turns a tab in a tag into a backslash and a t.
https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

from __future__ import annotations

from pfa_flux.engines.base import Point
from pfa_flux.errors import InvalidValueError

_NAME = str.maketrans({",": r"\,", " ": r"\ "})
_TAG = str.maketrans({",": r"\,", " ": r"\ ", "=": r"\="})
# These characters have no escape, and a newline ends the point. A trailing backslash would escape the next separator.
_UNCARRIED = frozenset("\n\r\x00")


def line(point: Point) -> str:
    """A point as one line: tags are sorted, empty tags are left out, and the time is in nanoseconds.

    Raises:
        InvalidValueError: a name or a tag contains a newline or NUL, or ends with a backslash.
    """
    tags = "".join(
        f",{_carried(name).translate(_TAG)}={_carried(value).translate(_TAG)}"
        for name, value in sorted(point.tags.items())
        if value
    )
    value = f"{point.value}i" if isinstance(point.value, int) else repr(point.value)
    field = _carried(point.field).translate(_TAG)
    return f"{start_of(point.measurement)[:-1]}{tags} {field}={value} {point.time}"


def start_of(measurement: str) -> str:
    """The start of a line for a point with tags, up to and including the first comma."""
    return f"{_carried(measurement).translate(_NAME)},"


def _carried(text: str) -> str:
    """The text, if line protocol can carry it."""
    if not text or text[-1] == "\\" or not _UNCARRIED.isdisjoint(text):
        raise InvalidValueError(
            f"{text!r} cannot be stored: InfluxDB's line protocol cannot carry an empty name, a newline, NUL or a "
            "trailing backslash",
            "Change the value.",
        )
    return text
