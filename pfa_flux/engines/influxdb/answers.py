"""InfluxQL's JSON: the rows in an answer, and whether the server says that rows are missing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from pfa_flux import foreign
from pfa_flux.engines.base import Row
from pfa_flux.engines.influxdb.transport import BUCKET_HINT, understood
from pfa_flux.errors import BucketNotFoundError, QueryError

_INT64 = 2**63
_NO_MEASUREMENT = re.compile(r"measurement not found\.?", re.I)
_SPACE = re.compile(r"\s*")


class Answer(NamedTuple):
    """The answer to a statement.

    Attributes:
        rows: tags and columns of each row.
        partial: whether the server says that rows are missing.
    """

    rows: list[Row]
    partial: bool


def read(text: str) -> Answer:
    """The answer to one statement, as one JSON object or as several chunks.

    Every chunk before the last is marked as partial, because more rows follow. The last chunk is marked only if rows
    are missing: InfluxDB 1.x cuts at max-row-limit and marks the series; clusters mark the result, or put an error into
    a series. A message in a result is only a remark.

    Raises:
        NotInfluxDBError: the text is not InfluxQL's JSON.
        BucketNotFoundError, QueryError: the statement failed. The status is 200 then, too.
    """
    return _read(text)


@understood("the answer to an InfluxQL statement")
def _read(text: str) -> Answer:
    chunks = [_result(each) for each in _objects(text)]
    last = chunks[-1]
    for chunk in chunks:
        # openGemini reports a measurement without points as an error.
        if "error" in chunk and not _NO_MEASUREMENT.fullmatch(str(chunk["error"])):
            raise _refusal(str(chunk["error"]))
    broken = any("error" in series for chunk in chunks for series in _series(chunk))
    marked = bool(last.get("partial")) or any(series.get("partial") for series in _series(last))
    return Answer([row for chunk in chunks for row in _rows(chunk)], broken or marked)


def _objects(text: str) -> Iterator[Any]:
    """Consecutive JSON values."""
    decoder, at, end = json.JSONDecoder(), 0, len(text.rstrip())
    while at < end:
        value, at = decoder.raw_decode(text, at + len(_SPACE.match(text, at)[0]))  # type: ignore[index]
        yield value


def _result(answer: dict[str, Any]) -> dict[str, Any]:
    """The only result in a body. A body without results is an error itself."""
    (result,) = answer["results"] if "results" in answer else [{"error": answer["error"]}]
    return dict(result)


def _refusal(said: str) -> BucketNotFoundError | QueryError:
    message = foreign.said(said)
    if "not found" in message:
        return BucketNotFoundError(f"InfluxQL does not find the bucket: {message}", BUCKET_HINT)
    return QueryError(f"the server refuses the InfluxQL query: {message}", "See the server's message above.", said=said)


def _series(result: dict[str, Any]) -> list[dict[str, Any]]:
    return result.get("series") or []


def _rows(result: dict[str, Any]) -> Iterator[Row]:
    for series in _series(result):
        head = {"measurement": series.get("name", ""), **series.get("tags", {})}
        for values in series.get("values", ()):
            row = {**head, **dict(zip(series["columns"], values, strict=True))}
            if row.get("time") is not None and not -_INT64 <= row["time"] < _INT64:
                raise ValueError("time")
            yield row
