"""InfluxQL: literals, statements for questions, and readers for their answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from pfa_flux.engines.ask import Ask, Pattern, Rows, Stored, Sums, Where, summed
from pfa_flux.engines.base import Row
from pfa_flux.engines.influxdb.flux import well_formed
from pfa_flux.errors import InvalidValueError


def _escaped(text: str, quote: str) -> str:
    # Measured on 1.8.10 and 2.7: InfluxQL cannot carry a raw carriage return or NUL.
    if "\r" in text or "\x00" in text:
        raise InvalidValueError(
            f"{text!r} contains a carriage return or NUL, which InfluxQL cannot carry", "Remove the character."
        )
    return well_formed(text).replace("\\", "\\\\").replace(quote, f"\\{quote}").replace("\n", "\\n")


def string(text: str) -> str:
    """The InfluxQL literal of a string.

    Raises:
        InvalidValueError: the text contains a carriage return, NUL or a lone surrogate.
    """
    return f"'{_escaped(text, chr(39))}'"


def identifier(text: str) -> str:
    """The quoted InfluxQL identifier of a name.

    Raises:
        InvalidValueError: the text contains a carriage return, NUL or a lone surrogate.
    """
    return f'"{_escaped(text, chr(34))}"'


def database_of(bucket: str) -> tuple[str, str]:
    """Database and retention policy of `database/policy`. Without a slash, the policy is 1.x's `autogen`."""
    database, _, policy = bucket.partition("/")
    return database, policy or "autogen"


def source(database: Sequence[str], measurement: str) -> str:
    """The full name of a measurement in a database and retention policy."""
    return ".".join(map(identifier, (*database, measurement)))


def _conditions(rows: Rows, start: int, stop: int, where: Where) -> str:
    first, after = rows.times(start, stop)
    tests = [f"time >= {first}", f"time < {after}", *counting(rows)]
    tests += [f"({' OR '.join(_is(column, value) for value in values)})" for column, values in where.items() if values]
    return " AND ".join(tests)


def counting(rows: Rows) -> list[str]:
    """The conditions for the rows to count."""
    # InfluxQL compares a missing tag as '', so rows without an action pass.
    return [f"{identifier('action')} != {string(value)}" for value in rows.excluded_actions]


def within(rows: Rows, span: str, start: str, stop: str) -> str:
    """A condition `span` that includes both ends of a range, without the end that is not part of it."""
    return f"{span} AND time > {start}" if rows.shift else f"{span} AND time < {stop}"


def aggregate(rows: Rows) -> str:
    """The aggregate of the rows."""
    return f"{'count' if rows.count else 'sum'}({identifier(rows.field)})"


def in_windows(rows: Rows, every: str) -> str:
    """The windows to group by."""
    # Downsampled rows have the time of the window's end, so their windows begin a nanosecond later, too.
    return f"time({every}, {rows.shift}ns)" if rows.shift else f"time({every})"


def _is(column: str, value: str | Pattern) -> str:
    if isinstance(value, Pattern):
        return f"{identifier(column)} =~ /{value.regex}/"
    return f"{identifier(column)} = {string(value)}"


def tag_values(asked: Rows, tag: str, database: str = "") -> str:
    """The statement for the values of a tag, from the index. `database` overrides the database of the request."""
    on = f"ON {identifier(database)} " if database else ""
    return f"SHOW TAG VALUES {on}FROM {identifier(asked.measurement)} WITH KEY = {identifier(tag)}"


def sums(ask: Ask, database: Sequence[str]) -> str:
    """The statement for one question."""
    groups = [identifier(tag) for tag in ask.tags]
    if ask.every:
        groups.append(in_windows(ask.rows, f"{ask.every}s"))
    grouped = f" GROUP BY {', '.join(groups)}" if groups else ""
    fill = " fill(none)" if ask.every else ""
    return (
        f"SELECT {aggregate(ask.rows)} AS n FROM {source(database, ask.rows.measurement)} "
        f"WHERE {_conditions(ask.rows, ask.start, ask.stop, ask.where)}{grouped}{fill}"
    )


def read_sums(answer: Sequence[Row], ask: Ask) -> Sums:
    """The sums in the answer to a question."""
    return summed(_counted(answer, ask))


def _counted(answer: Sequence[Row], ask: Ask) -> Iterator[tuple[tuple[str, ...], int, int]]:
    tags, windows = ask.tags, ask.every is not None
    for row in answer:
        # InfluxQL gives the start of the window. For downsampled rows, it is a nanosecond later.
        window = ask.window(row["time"]) if windows else ask.start
        yield tuple([row[tag] for tag in tags]), window, int(row["n"])


def rows(asked: Rows, start: int, stop: int, database: Sequence[str]) -> str:
    """The statement for stored rows."""
    return (
        f"SELECT {identifier(asked.field)} AS _value FROM {source(database, asked.measurement)} "
        f"WHERE {_conditions(asked, start, stop, {})} GROUP BY *"
    )


_OWN = {"time", "_value", "measurement"}


def read_rows(answer: Sequence[Row]) -> list[Stored]:
    """The stored rows in an answer."""
    return [
        Stored(int(row["time"]), {k: v for k, v in row.items() if k not in _OWN and v}, row["_value"]) for row in answer
    ]


def series(asked: Rows, start: int, stop: int, database: Sequence[str]) -> str:
    """The statement for the number of rows in each series."""
    return (
        f"SELECT count({identifier(asked.field)}) AS n FROM {source(database, asked.measurement)} "
        f"WHERE {_conditions(asked, start, stop, {})} GROUP BY *"
    )


def has_others(answer: Sequence[Row], tags: Sequence[str], most: int) -> bool:
    """Whether, by the answer to `series`, a series has other tags than these, or more rows than windows (`most`)."""
    own = {"time", "n", "measurement", *tags}
    return any(int(row["n"]) > most or any(value and name not in own for name, value in row.items()) for row in answer)


def whole_numbers(asked: Rows, start: int, stop: int, database: Sequence[str]) -> str:
    """A statement that the server refuses if the field is a float in any shard of [start, stop)."""
    return (
        f"SELECT {identifier(asked.field)} & 1 FROM {source(database, asked.measurement)} "
        f"WHERE {_conditions(asked, start, stop, {})} LIMIT 1"
    )


def is_float(message: str) -> bool:
    """Whether the refusal of `whole_numbers` is because of a float."""
    return "::float & 1" in message


def edge(
    asked: Rows, pick: Literal["first", "last"], start: int, stop: int, where: Where, database: Sequence[str]
) -> str:
    """The statement for the first or last row."""
    return (
        f"SELECT {pick}({identifier(asked.field)}) FROM {source(database, asked.measurement)} "
        f"WHERE {_conditions(asked, start, stop, where)}"
    )


def types(fields: Sequence[Rows]) -> str:
    """The statement for the types of fields."""
    return f"SHOW FIELD KEYS FROM {', '.join(identifier(rows.measurement) for rows in fields)}"


def mixed(answer: Sequence[Row], fields: Sequence[Rows]) -> list[str]:
    """Names of the fields with different types in different shards."""
    wanted = {(rows.measurement, rows.field) for rows in fields}
    types_of: dict[str, set[str]] = {}
    for row in answer:
        if (row["measurement"], row["fieldKey"]) in wanted:
            types_of.setdefault(f"{row['measurement']}.{row['fieldKey']}", set()).add(row["fieldType"])
    return sorted(name for name, kinds in types_of.items() if len(kinds) > 1)
