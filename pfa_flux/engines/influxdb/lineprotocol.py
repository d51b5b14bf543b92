"""Points as InfluxDB's line protocol.

Not by influxdb-client's Point: it turns a tab in a tag into a backslash and a t, without a word.
https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

from __future__ import annotations

from pfa_flux.engines.base import Point
from pfa_flux.errors import InvalidValueError

_NAME = str.maketrans({",": r"\,", " ": r"\ "})
_TAG = str.maketrans({",": r"\,", " ": r"\ ", "=": r"\="})
# There is no escape for these: a newline ends the point. A trailing backslash would escape the separator after it.
_UNCARRIED = frozenset("\n\r\x00")


def line(point: Point) -> str:
    """One line of a point: tags sorted, an empty one left out, time in nanoseconds.

    Raises:
        InvalidValueError: a name or a tag holds a newline or NUL, or ends with a backslash.
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
    """What a line of a point with tags starts with, up to the first comma."""
    return f"{_carried(measurement).translate(_NAME)},"


def _carried(text: str) -> str:
    """`text`, if line protocol can carry it."""
    if not text or text[-1] == "\\" or not _UNCARRIED.isdisjoint(text):
        raise InvalidValueError(
            f"{text!r} cannot be stored: InfluxDB's line protocol carries no empty name, newline, NUL or trailing "
            "backslash",
            "Remove it from the value.",
        )
    return text
