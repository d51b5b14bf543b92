"""Changes single keys of a TOML text. Everything else stays: other keys, order, comments, blank lines.

tomlkit changes one section at a time: the part above the first header, or a header with its keys. So a new key goes
next to the keys of its table, above the comments of the next table.
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
    """A change of one key.

    Attributes:
        table: the path of its table; empty for the top level.
        key: its name.
        value: the new text, boolean or list of texts; None to remove the key.
    """

    table: tuple[str, ...]
    key: str
    value: Value | None

    def __str__(self) -> str:
        import tomlkit

        line = f"without {self.key}" if self.value is None else _put("", replace(self, table=())).rstrip("\n")
        return f"[{tomlkit.key(self.table).as_string()}] {line}" if self.table else line


def edited(text: str, changes: Iterable[Change]) -> str:
    """The changed text. Parsing it proves that nothing else differs and no comment is lost.

    A comment on the line of a removed key is removed, too. New lines end as the others do.

    Raises:
        PfaFluxError: a change would lose something. The hint says what to write by hand.
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
    problem = "pfa-flux cannot change this file without changing more of it"
    for made in _ways(_sections(text), change):
        if not _gives(made, wanted, change.table):
            continue
        if Counter(_comments(text)) - Counter(_of_its_own(text, made)) == Counter(_comments(made)):
            return made
        problem = "a list contains comments, which would be lost"
    raise PfaFluxError(problem, f"Write this into it: {change}")


def _applied(document: dict[str, Any], change: Change) -> dict[str, Any]:
    """The document with the change.

    Raises:
        PfaFluxError: the name of the table has another value.
    """
    made = copy.deepcopy(document)
    table = made
    for name in change.table:
        if change.value is None and name not in table:
            return made
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise PfaFluxError(f"{name} is not a table", f"Write this into it: {change}")
    if change.value is None:
        table.pop(change.key, None)
    else:
        table[change.key] = list(change.value) if isinstance(change.value, tuple) else change.value
    return made


def _gives(text: str, wanted: dict[str, Any], path: Sequence[str]) -> bool:
    """Whether a text parses to the wanted document. Tables of the path that became empty may be missing."""
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return parsed in (wanted, _without_empty(wanted, path))


def _without_empty(document: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    if not path or path[0] not in document:
        return document
    below = _without_empty(document[path[0]], path[1:])
    others = {name: value for name, value in document.items() if name != path[0]}
    return {**others, path[0]: below} if below else others


@dataclass(frozen=True, slots=True)
class _Section:
    """A section: `body` has a header and its keys, or the keys above the first header; `tail` has what follows them."""

    body: str = ""
    tail: str = ""

    @property
    def text(self) -> str:
        return self.body + self.tail


def _statements(text: str) -> Iterator[str]:
    """The pieces of a text, each with its line end: a header, a key with its value, a comment, or a blank line."""
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
    """The comments at the ends of removed statements. They are removed with them."""
    old, new = list(_statements(before)), list(_statements(after))
    gone = [*(Counter(old) - Counter(new))] if len(new) < len(old) else []
    return [
        comment for statement in gone for comment in _comments(statement)[-1:] if statement.rstrip().endswith(comment)
    ]


def _sections(text: str) -> list[_Section]:
    """The sections of a text. Comments directly above a header belong to it."""
    pieces: list[list[str]] = [[]]
    for statement in _statements(text):
        if statement.lstrip().startswith("["):
            above = len(pieces[-1])
            while above and pieces[-1][above - 1].lstrip().startswith("#"):
                above -= 1
            pieces.append(pieces[-1][above:])
            del pieces[-2][above:]
        pieces[-1].append(statement)
    return [_section(statements) for statements in pieces]


def _section(statements: Sequence[str]) -> _Section:
    end = len(statements)
    while end and statements[end - 1].lstrip()[:1] in {"", "#"}:
        end -= 1
    return _Section("".join(statements[:end]), "".join(statements[end:]))


def _ways(sections: Sequence[_Section], change: Change) -> Iterator[str]:
    """Candidates for the changed text. The most natural one comes first."""
    tables = [_reached(section.body, change.table) for section in sections]
    # The part above the first header is in no table. Of several matching sections, the last has the table's header.
    whole = [at for at, (deep, _) in enumerate(tables) if deep == len(change.table)][::-1] if change.table else [0]
    there = [at for at in whole if change.key in tables[at][1]]
    for at in there or (() if change.value is None else whole):
        yield from _within(sections, at, change)
    if change.value is None or there or not change.table:
        return
    yield _appended(sections, change)
    # A table written in braces cannot have a header below it.
    for at, (deep, _) in enumerate(tables):
        if 0 < deep < len(change.table):
            yield from _within(sections, at, change)


def _reached(body: str, path: Sequence[str]) -> tuple[int, dict[str, Any]]:
    """How many tables of a path a section has, and the content of the last of them."""
    table = tomllib.loads(body)
    for deep, name in enumerate(path):
        if not isinstance(table.get(name), dict):
            return deep, table
        table = table[name]
    return len(path), table


def _within(sections: Sequence[_Section], at: int, change: Change) -> Iterator[str]:
    """The text with the change made in one section."""
    from tomlkit.exceptions import TOMLKitError

    before, own, after = list(sections[:at]), sections[at], sections[at + 1 :]
    if not own.body:
        # A new key goes below comments that stand alone.
        before.append(_Section(_ended(own.tail)))
        own = _Section("", "\n" if after else "")
    try:
        made = _put(own.body, change)
    except (TOMLKitError, ValueError, LookupError, TypeError, AttributeError):
        # tomlkit cannot make this change.
        return
    yield "".join(part.text for part in (*before, _Section(made, own.tail), *after))


def _appended(sections: Sequence[_Section], change: Change) -> str:
    """The text with a new table at its end for the new key."""
    import tomlkit

    text = _ended("".join(section.text for section in sections))
    gap = "\n" if text else ""
    header = f"[{tomlkit.key(change.table).as_string()}]"
    return f"{text}{gap}{header}\n{_put('', replace(change, table=()))}"


def _put(body: str, change: Change) -> str:
    """A section with the change. Missing tables are written in braces."""
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
    """The text with a line end after its last line."""
    return text if not text or text.endswith("\n") else f"{text}\n"
