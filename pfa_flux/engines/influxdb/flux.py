"""Flux as text: load the `.flux` files, bind values into them, and escape literals.

You can paste a `.flux` file into InfluxDB's editor or a Grafana panel, which provide `v`, and run it. Its other
parameters are declarations at the top, one on each line, between two comments:

    // Parameters
    keys = ["domain"]
    // End of parameters

`bind` replaces these values, and inserts `v` after the last import. It does not use `extern` or the parameters of
InfluxDB's API: InfluxDB 1.8 silently ignores both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from pfa_flux.errors import InvalidValueError
from pfa_flux.times import format_instant

_BEGIN = "// Parameters"
_END = "// End of parameters"
_DECLARATION = re.compile(r"^([A-Za-z][A-Za-z0-9_]*) = (.*)$")
_STRING_OR_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*', re.DOTALL)
_INT64 = 2**63


class Expression(str):
    """A valid piece of Flux, such as a literal or a predicate. Never raw user input."""

    __slots__ = ()


def literal(value: str | int | bool | Sequence[str]) -> Expression:
    r"""The Flux literal of a string, integer, boolean or list of strings.

    Strings contain `"`, `\`, `$` and control characters as `\xHH`: `\"` and `\${` would allow injection on InfluxDB
    1.8, and no server knows `\u`.

    Raises:
        InvalidValueError: Flux cannot carry the value: it has a lone surrogate, or the integer has no literal.
    """
    if isinstance(value, bool):
        return Expression("true" if value else "false")
    if isinstance(value, int):
        if not -_INT64 < value < _INT64:
            raise InvalidValueError(f"{value} is not a 64-bit integer that Flux can write", "Use a smaller number.")
        # A minus is an operator in Flux, so a negative number needs parentheses.
        return Expression(value if value >= 0 else f"({value})")
    if isinstance(value, str):
        return Expression(f'"{_escaped(value)}"')
    return Expression("[" + ", ".join(literal(item) for item in value) + "]")


def well_formed(text: str) -> str:
    """The unchanged text, if a query can carry it.

    Raises:
        InvalidValueError: the text contains a lone surrogate.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidValueError(
            f"{text!r} contains a lone surrogate, which is not a character", "Pass valid Unicode text."
        ) from error
    return text


def _escaped(text: str) -> str:
    return "".join(f"\\x{ord(c):02x}" if c in '"\\$\x7f' or c < " " else c for c in well_formed(text))


def instant(ns: int) -> Expression:
    """The Flux time literal of nanoseconds since the epoch."""
    return Expression(format_instant(ns))


def duration(seconds: int) -> Expression:
    """The Flux duration literal of whole seconds."""
    return Expression(f"{int(seconds)}s")


def any_of(column: str, values: Sequence[str]) -> Expression:
    """The condition `r.column == "a" or …`. It is an or-chain because Flux pushes only that down to storage."""
    return Expression("(" + " or ".join(f'r["{_escaped(column)}"] == {literal(v)}' for v in values) + ")")


def missing(column: str) -> Expression:
    """The condition that a row does not have the tag."""
    return Expression(f'not exists r["{_escaped(column)}"]')


def matching(column: str, regex: str) -> Expression:
    """The condition `r.column =~ /regex/`. The regular expression must be trusted and without slashes.

    Flux pushes a literal regular expression down to storage.
    """
    return Expression(f'r["{_escaped(column)}"] =~ /{regex}/')


def none_of(column: str, values: Sequence[str]) -> Expression:
    """The condition that a tag has none of the values. A row without the tag passes.

    `!=` alone counts rows without the tag if Flux pushes it down to storage, and drops them otherwise.
    """
    name = f'r["{_escaped(column)}"]'
    others = " and ".join(f"{name} != {literal(value)}" for value in values)
    return Expression(f"(not exists {name} or ({others}))" if values else "true")


def predicate(*conditions: Expression) -> Expression:
    """The predicate function for all conditions; `(r) => true` for none."""
    return Expression("(r) => " + (" and ".join(conditions) or "true"))


def record(**members: Expression) -> Expression:
    """A Flux record, for example for `v`."""
    return Expression("{" + ", ".join(f"{name}: {value}" for name, value in members.items()) + "}")


def resource(name: str) -> Traversable:
    """A `.flux` file, such as `queries/blocked_ratio.union.flux`, in an installed package or in the repository."""
    installed = files("pfa_flux") / "_flux"
    root: Traversable = installed if installed.is_dir() else Path(__file__).parents[3] / "flux"
    return root / name


@cache
def load(name: str) -> str:
    """The unchanged text of a `.flux` file."""
    return resource(name).read_text(encoding="utf-8")


def parameters(text: str) -> dict[str, str]:
    """The declared parameters of a Flux text and their defaults, in order.

    Raises:
        InvalidValueError: the block is missing or malformed, or a parameter is declared twice or never used.
    """
    lines = text.splitlines()
    if lines.count(_BEGIN) != 1 or lines.count(_END) != 1:
        raise InvalidValueError(
            "the Flux text has no block of parameters", f"Put them between {_BEGIN!r} and {_END!r}."
        )
    declared: dict[str, str] = {}
    for line in lines[lines.index(_BEGIN) + 1 : lines.index(_END)]:
        if not line.strip() or line.lstrip().startswith("//"):
            continue
        match = _DECLARATION.match(line)
        if match is None or match[1] in declared:
            raise InvalidValueError(f"not a parameter, or declared twice: {line!r}", "Write `name = value`.")
        declared[match[1]] = match[2]
    body = _code("\n".join(lines[lines.index(_END) + 1 :]))
    for name in declared:
        if not re.search(rf"\b{name}\b", body):
            raise InvalidValueError(f"the parameter {name!r} is declared but never used", "Remove or use it.")
    return declared


def _code(text: str) -> str:
    """The text without comments and strings: a name in them does not count as used."""
    return _STRING_OR_COMMENT.sub(lambda match: '""' if match[0].startswith('"') else "", text)


def bind(text: str, values: Mapping[str, Expression], v: Mapping[str, Expression] | None = None) -> str:
    """The text with `values` instead of the defaults of its parameters, and with `v` after its imports.

    Raises:
        InvalidValueError: a value has no parameter, or the members of `v` differ from those that the text reads. For a
            misspelt member, InfluxDB 1.8 would return an empty answer.
    """
    declared = parameters(text)
    unknown = sorted(set(values) - set(declared))
    if unknown:
        raise InvalidValueError(f"the Flux text has no parameter {unknown[0]!r}", f"Parameters: {', '.join(declared)}.")
    read = set(re.findall(r"\bv\.([A-Za-z]+)", _code(text)))
    if v is not None and read != set(v):
        raise InvalidValueError(
            f"the Flux text reads {sorted(read)} of v, but v has {sorted(v)}", "Pass exactly the members it reads."
        )
    head, rest = text.split(f"{_BEGIN}\n", 1)
    block, tail = rest.split(f"{_END}\n", 1)
    bound = "".join(_bound_line(line, values) for line in block.splitlines(keepends=True))
    given = f"v = {record(**v)}\n" if v is not None else ""
    return f"{head}{given}{_BEGIN}\n{bound}{_END}\n{tail}"


def _bound_line(line: str, values: Mapping[str, Expression]) -> str:
    match = _DECLARATION.match(line.rstrip("\n"))
    if match is None or match[1] not in values:
        return line
    return f"{match[1]} = {values[match[1]]}\n"
