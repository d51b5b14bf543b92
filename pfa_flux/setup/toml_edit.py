"""Changing single keys of a TOML text. All else stays as it was written: other keys, order, comments, blank lines.

tomlkit changes one section at a time: what is above the first header, or a header with the keys below it. So a new
key goes beside the keys of its table, above the comments of the next one.
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pfa_flux.errors import PfaFluxError

_WIDTH = 100
_TOKEN = re.compile(
    r"""
    \"{3} (?:\\.|[^\\])*? \"{3,5} | '{3} .*? '{3,5} | "(?:\\.|[^"\\\n])*" | '[^'\n]*'
    | (?P<comment> \#[^\r\n]* ) | (?P<open> [\[{] ) | (?P<close> [\]}] ) | (?P<end> \n )
    """,
    re.VERBOSE | re.DOTALL,
)

Value = str | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What a key is to be.

    Attributes:
        table: the table it is in, empty for the top level.
        key: its name.
        value: a text, a truth value or a list of texts; None: the key is to go.
    """

    table: tuple[str, ...]
    key: str
    value: Value | None

    def __str__(self) -> str:
        import tomlkit

        line = f"without {self.key}" if self.value is None else _put("", replace(self, table=())).rstrip("\n")
        return f"[{tomlkit.key(self.table).as_string()}] {line}" if self.table else line


def edited(text: str, changes: Iterable[Change]) -> str:
    """The text with its changes. Parsing it proves that nothing else differs, and that no comment is lost.

    A comment on the line of a key goes with that key. New lines end as the others do.

    Raises:
        PfaFluxError: it cannot be changed without losing something; says what to write by hand.
    """
    windows = "\r\n" in text and not re.search(r"(?<!\r)\n", text)
    result = text.replace("\r\n", "\n") if windows else text
    for change in changes:
        result = _changed(result, change)
    return result.replace("\n", "\r\n") if windows else result


def _changed(text: str, change: Change) -> str:
    before = tomllib.loads(text)
    wanted = _applied(before, change)
    if wanted == before:
        return text
    problem = "the file is written in a way that would not survive a change"
    for made in _ways(_sections(text), change):
        if not _gives(made, wanted, change.table):
            continue
        if Counter(_comments(text)) - Counter(_of_its_own(text, made)) == Counter(_comments(made)):
            return made
        problem = "a list has comments within, which would be lost"
    raise PfaFluxError(problem, f"Write in it: {change}")


def _applied(document: dict[str, Any], change: Change) -> dict[str, Any]:
    """The document with the change.

    Raises:
        PfaFluxError: the table is something else.
    """
    made = copy.deepcopy(document)
    table = made
    for name in change.table:
        if change.value is None and name not in table:
            return made
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise PfaFluxError(f"{name} is not a table", f"Write in it: {change}")
    if change.value is None:
        table.pop(change.key, None)
    else:
        table[change.key] = list(change.value) if isinstance(change.value, tuple) else change.value
    return made


def _gives(text: str, wanted: dict[str, Any], path: Sequence[str]) -> bool:
    """Whether a text is that document; tables of the path that have become empty may be gone."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return found in (wanted, _without_empty(wanted, path))


def _without_empty(document: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    if not path or path[0] not in document:
        return document
    below = _without_empty(document[path[0]], path[1:])
    others = {name: value for name, value in document.items() if name != path[0]}
    return {**others, path[0]: below} if below else others


@dataclass(frozen=True, slots=True)
class _Section:
    """Keys above the first header, or a header with its keys: `body`; and the blank lines and comments below."""

    body: str = ""
    tail: str = ""

    @property
    def text(self) -> str:
        return self.body + self.tail


def _statements(text: str) -> Iterator[str]:
    """The text in pieces: a header, a key with its value, a comment or a blank line, each with the end of its line."""
    start = depth = 0
    for token in _TOKEN.finditer(text):
        depth += (token.lastgroup == "open") - (token.lastgroup == "close")
        if token.lastgroup == "end" and not depth:
            yield text[start : token.end()]
            start = token.end()
    if start < len(text):
        yield text[start:]


def _comments(text: str) -> list[str]:
    return [token[0].rstrip() for token in _TOKEN.finditer(text) if token.lastgroup == "comment"]


def _of_its_own(before: str, after: str) -> list[str]:
    """The comment at the end of a statement that was taken out as a whole, which goes with it."""
    old, new = list(_statements(before)), list(_statements(after))
    gone = [*(Counter(old) - Counter(new))] if len(new) < len(old) else []
    return [
        comment for statement in gone for comment in _comments(statement)[-1:] if statement.rstrip().endswith(comment)
    ]


def _sections(text: str) -> list[_Section]:
    """The text's sections. Comments directly above a header belong to it."""
    found: list[list[str]] = [[]]
    for statement in _statements(text):
        if statement.lstrip().startswith("["):
            above = len(found[-1])
            while above and found[-1][above - 1].lstrip().startswith("#"):
                above -= 1
            found.append(found[-1][above:])
            del found[-2][above:]
        found[-1].append(statement)
    return [_section(statements) for statements in found]


def _section(statements: Sequence[str]) -> _Section:
    end = len(statements)
    while end and statements[end - 1].lstrip()[:1] in {"", "#"}:
        end -= 1
    return _Section("".join(statements[:end]), "".join(statements[end:]))


def _ways(sections: Sequence[_Section], change: Change) -> Iterator[str]:
    """Texts that may be the one wanted, the one that people would write first."""
    tables = [_reached(section.body, change.table) for section in sections]
    # What is above the first header is no table of a name, and a table's own header is below what leads to it.
    whole = [at for at, (deep, _) in enumerate(tables) if deep == len(change.table)][::-1] if change.table else [0]
    there = [at for at in whole if change.key in tables[at][1]]
    for at in there or (() if change.value is None else whole):
        yield from _within(sections, at, change)
    if change.value is None or there or not change.table:
        return
    yield _appended(sections, change)
    # A table that is written in braces takes no header of another below it.
    for at, (deep, _) in enumerate(tables):
        if 0 < deep < len(change.table):
            yield from _within(sections, at, change)


def _reached(body: str, path: Sequence[str]) -> tuple[int, dict[str, Any]]:
    """How many tables of a path a section has, and what is in the last of them."""
    table = tomllib.loads(body)
    for deep, name in enumerate(path):
        if not isinstance(table.get(name), dict):
            return deep, table
        table = table[name]
    return len(path), table


def _within(sections: Sequence[_Section], at: int, change: Change) -> Iterator[str]:
    """The text with its change in one section."""
    from tomlkit.exceptions import TOMLKitError

    before, own, after = list(sections[:at]), sections[at], sections[at + 1 :]
    if not own.body:
        # A new key comes below comments that are alone.
        before.append(_Section(_ended(own.tail)))
        own = _Section("", "\n" if after else "")
    try:
        made = _put(own.body, change)
    except (TOMLKitError, ValueError, LookupError, TypeError, AttributeError):
        # It cannot do that, in whatever words it says so.
        return
    yield "".join(part.text for part in (*before, _Section(made, own.tail), *after))


def _appended(sections: Sequence[_Section], change: Change) -> str:
    """The text with a table of its own at the end for the new key."""
    import tomlkit

    text = _ended("".join(section.text for section in sections))
    gap = "\n" if text else ""
    header = f"[{tomlkit.key(change.table).as_string()}]"
    return f"{text}{gap}{header}\n{_put('', replace(change, table=()))}"


def _put(body: str, change: Change) -> str:
    """A section with its change; tables that it lacks are made in braces."""
    import tomlkit

    document = tomlkit.parse(_ended(body) if change.value is not None else body)
    table: Any = document
    for name in change.table:
        if name not in table:
            table[name] = tomlkit.inline_table()
        table = table[name]
    if change.value is None:
        del table[change.key]
    else:
        _set(table, change.key, change.value)
    return tomlkit.dumps(document)


def _set(table: Any, key: str, value: Value) -> None:
    import tomlkit

    if not isinstance(value, tuple):
        table[key] = value
        return
    old = table.get(key)
    if isinstance(old, tomlkit.items.Array) and "\n" in old.as_string() and value[: len(old)] == tuple(old):
        for item in value[len(old) :]:
            old.append(item)
        return
    made = tomlkit.array()
    made.extend(value)
    table[key] = made.multiline(len(made.as_string()) > _WIDTH)


def _ended(text: str) -> str:
    """The text with an end to its last line."""
    return text if not text or text.endswith("\n") else f"{text}\n"
