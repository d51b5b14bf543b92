"""Flux as text: loading the `.flux` files, binding values into them, escaping literals.

A `.flux` file runs as it stands when pasted into InfluxDB's editor or a Grafana panel, where `v` is given. Its
other parameters are declarations at its top, one a line, between two comments:

    // Parameters
    keys = ["domain"]
    // End of parameters

`bind` puts its own values in their place, and `v` after the last import. It uses neither `extern` nor the
parameters of InfluxDB's API: InfluxDB 1.8 ignores both without a word.
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
    """A piece of Flux, already valid: what literals and predicates are made into. Never raw user input."""

    __slots__ = ()


def literal(value: str | int | bool | Sequence[str]) -> Expression:
    r"""Flux literal of a string, integer, boolean or list of strings.

    In strings `"`, `\`, `$` and control characters are written as `\xHH`: InfluxDB 1.8 can be injected into
    through `\"` and `\${`, and no server knows `\u`.

    Raises:
        InvalidValueError: the value cannot be carried: a lone surrogate, or an integer that is not a literal.
    """
    if isinstance(value, bool):
        return Expression("true" if value else "false")
    if isinstance(value, int):
        if not -_INT64 < value < _INT64:
            raise InvalidValueError(f"{value} is not a 64-bit integer that Flux can write", "Use a smaller one.")
        # A minus is an operator in Flux, so a negative number is put in parentheses.
        return Expression(value if value >= 0 else f"({value})")
    if isinstance(value, str):
        return Expression(f'"{_escaped(value)}"')
    return Expression("[" + ", ".join(literal(item) for item in value) + "]")


def well_formed(text: str) -> str:
    """The text as it is, where a query can carry it.

    Raises:
        InvalidValueError: it holds a lone surrogate.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidValueError(
            f"{text!r} holds a lone surrogate, which is not a character", "Pass valid Unicode text."
        ) from error
    return text


def _escaped(text: str) -> str:
    return "".join(f"\\x{ord(c):02x}" if c in '"\\$\x7f' or c < " " else c for c in well_formed(text))


def instant(ns: int) -> Expression:
    """Flux time literal of nanoseconds since the epoch."""
    return Expression(format_instant(ns))


def duration(seconds: int) -> Expression:
    """Flux duration literal of whole seconds."""
    return Expression(f"{int(seconds)}s")


def any_of(column: str, values: Sequence[str]) -> Expression:
    """Condition `r.column == "a" or …`, an or-chain because only that is pushed down to storage."""
    return Expression("(" + " or ".join(f'r["{_escaped(column)}"] == {literal(v)}' for v in values) + ")")


def missing(column: str) -> Expression:
    """Condition that a row has not the tag."""
    return Expression(f'not exists r["{_escaped(column)}"]')


def matching(column: str, regex: str) -> Expression:
    """Condition `r.column =~ /regex/` of a regular expression of our own, without slashes: a literal is pushed down."""
    return Expression(f'r["{_escaped(column)}"] =~ /{regex}/')


def none_of(column: str, values: Sequence[str]) -> Expression:
    """Condition that a tag is none of the values; a row without the tag passes.

    `!=` alone counts rows without the tag where it is pushed down to storage and drops them where it is not.
    """
    name = f'r["{_escaped(column)}"]'
    others = " and ".join(f"{name} != {literal(value)}" for value in values)
    return Expression(f"(not exists {name} or ({others}))" if values else "true")


def predicate(*conditions: Expression) -> Expression:
    """Predicate function of all conditions, `(r) => true` without any."""
    return Expression("(r) => " + (" and ".join(conditions) or "true"))


def record(**members: Expression) -> Expression:
    """Flux record, for example for `v`."""
    return Expression("{" + ", ".join(f"{name}: {value}" for name, value in members.items()) + "}")


def resource(name: str) -> Traversable:
    """The `.flux` file `name`, such as `queries/blocked_ratio.union.flux`, wherever the package is installed."""
    installed = files("pfa_flux") / "_flux"
    root: Traversable = installed if installed.is_dir() else Path(__file__).parents[3] / "flux"
    return root / name


@cache
def load(name: str) -> str:
    """Text of the `.flux` file `name`, as it stands."""
    return resource(name).read_text(encoding="utf-8")


def parameters(text: str) -> dict[str, str]:
    """Declared parameters of a Flux text and their defaults, in order.

    Raises:
        InvalidValueError: the block is missing or malformed, or a parameter is declared twice or never used.
    """
    lines = text.splitlines()
    if lines.count(_BEGIN) != 1 or lines.count(_END) != 1:
        raise InvalidValueError(
            "the Flux text has no block of parameters", f"Put them between {_BEGIN!r} and {_END!r}."
        )
    found: dict[str, str] = {}
    for line in lines[lines.index(_BEGIN) + 1 : lines.index(_END)]:
        if not line.strip() or line.lstrip().startswith("//"):
            continue
        match = _DECLARATION.match(line)
        if match is None or match[1] in found:
            raise InvalidValueError(f"not a parameter, or a second one of its name: {line!r}", "Write `name = value`.")
        found[match[1]] = match[2]
    body = _code("\n".join(lines[lines.index(_END) + 1 :]))
    for name in found:
        if not re.search(rf"\b{name}\b", body):
            raise InvalidValueError(f"the parameter {name!r} is declared and never used", "Remove or use it.")
    return found


def _code(text: str) -> str:
    """`text` without comments and strings, in which a name would not be a use of it."""
    return _STRING_OR_COMMENT.sub(lambda match: '""' if match[0].startswith('"') else "", text)


def bind(text: str, values: Mapping[str, Expression], v: Mapping[str, Expression] | None = None) -> str:
    """`text` with `values` in place of its parameters' defaults, and `v` put after its imports.

    Raises:
        InvalidValueError: a value has no parameter, or `v` has a member that the text does not read or lacks one
            that it reads (InfluxDB 1.8 would answer a misspelt member with nothing).
    """
    declared = parameters(text)
    unknown = sorted(set(values) - set(declared))
    if unknown:
        raise InvalidValueError(f"the Flux text has no parameter {unknown[0]!r}", f"It has {', '.join(declared)}.")
    read = set(re.findall(r"\bv\.([A-Za-z]+)", _code(text)))
    if v is not None and read != set(v):
        raise InvalidValueError(f"the Flux text reads {sorted(read)} of v, given is {sorted(v)}", "Give just these.")
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
