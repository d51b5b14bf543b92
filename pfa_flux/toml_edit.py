"""Changing single keys of a TOML text. All else stays as it was written: other keys, order, comments, blank lines."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pfa_flux.errors import PfaFluxError

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_WIDTH = 100

Value = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What a key is to be.

    Attributes:
        table: the table it is in, empty for the top level.
        key: its name.
        value: a text or a list of texts; None: the key is to go.
    """

    table: tuple[str, ...]
    key: str
    value: Value | None

    def __str__(self) -> str:
        line = f"{self.key} = {_written(self.value)}" if self.value is not None else f"without {self.key}"
        return f"[{_header(self.table)}] {line}" if self.table else line


def edited(text: str, changes: Iterable[Change]) -> str:
    """The text with its changes, proved by parsing it: the changes and nothing else differ.

    Raises:
        PfaFluxError: it cannot be changed without losing something; says what to write by hand.
    """
    wanted, result = tomllib.loads(text), text
    for change in changes:
        before, wanted = wanted, _applied(wanted, change)
        if wanted == before:
            continue
        try:
            result = _changed(result, change)
            right = tomllib.loads(result) == wanted
        except tomllib.TOMLDecodeError:
            right = False
        if not right:
            raise PfaFluxError("the file is written in a way that would not survive a change", f"Write in it: {change}")
    return result


def _applied(document: dict[str, Any], change: Change) -> dict[str, Any]:
    made = copy.deepcopy(document)
    table = made
    for name in change.table:
        table = table.setdefault(name, {})
    if change.value is None:
        table.pop(change.key, None)
    else:
        table[change.key] = change.value if isinstance(change.value, str) else list(change.value)
    return made


@dataclass(frozen=True, slots=True)
class _Statement:
    """A header, a key with its value, or a comment or blank line: `key` is empty but for a plain key."""

    text: str
    table: tuple[str, ...]
    key: str = ""
    header: bool = False


def _statements(text: str) -> Iterator[_Statement]:
    """The statements of a valid text: each is as few lines as are valid by themselves."""
    table: tuple[str, ...] = ()
    chunk = ""
    for line in _LINE.findall(text):
        chunk += line
        try:
            parsed = tomllib.loads(chunk)
        except tomllib.TOMLDecodeError:
            continue
        if chunk.lstrip().startswith("["):
            table = _path(parsed)
            yield _Statement(chunk, table, header=True)
        else:
            key = next((name for name, value in parsed.items() if not isinstance(value, dict)), "")
            yield _Statement(chunk, table, key)
        chunk = ""


def _path(parsed: Any) -> tuple[str, ...]:
    """Names of the table that a header opens; no table of ours where it is one of an array."""
    path = []
    while isinstance(parsed, dict) and parsed:
        ((name, parsed),) = parsed.items()
        path.append(name)
    return (*path, "[]") if isinstance(parsed, list) else tuple(path)


def _changed(text: str, change: Change) -> str:
    parts = list(_statements(text))
    at = next((i for i, part in enumerate(parts) if (part.table, part.key) == (change.table, change.key)), None)
    texts = [part.text for part in parts]
    if at is None:
        return _added(parts, change) if change.value is not None else text
    texts[at] = _replaced(texts[at], change) if change.value is not None else ""
    return "".join(texts)


def _added(parts: list[_Statement], change: Change) -> str:
    assert change.value is not None
    line = f"{change.key} = {_written(change.value)}\n"
    texts = [part.text for part in parts]
    own = [i for i, part in enumerate(parts) if part.table == change.table and (part.key or part.header)]
    first = next((i for i, part in enumerate(parts) if part.header), None)
    if own:
        texts[own[-1]] = texts[own[-1]].removesuffix("\n") + f"\n{line}"
    elif change.table:
        texts.append(f"{_gap(texts)}[{_header(change.table)}]\n{line}")
    elif first is not None:
        # Before the comments that belong to the first table.
        while first and texts[first - 1].startswith("#"):
            first -= 1
        texts.insert(first, f"{line}\n")
    else:
        written = "".join(texts)
        return f"{written}{line}" if written.endswith("\n") or not written else f"{written}\n{line}"
    return "".join(texts)


def _gap(texts: list[str]) -> str:
    """What has to stand before a new table: a blank line, but at the top."""
    written = "".join(texts)
    return "" if not written else "\n" if written.endswith("\n") else "\n\n"


def _replaced(old: str, change: Change) -> str:
    """The statement with another value; its comments stay.

    Raises:
        PfaFluxError: it has comments within that cannot be kept.
    """
    assert change.value is not None
    indent = old[: len(old) - len(old.lstrip())]
    end = "\n" if old.endswith("\n") else ""
    line = f"{indent}{change.key} = {_written(change.value)}"
    if "\n" not in old.rstrip("\n"):
        return f"{line}{_comment(old)}{end}"
    longer = _extended(old, change)
    if longer:
        return longer
    if "#" in old:
        raise PfaFluxError("a list has comments within, which would be lost", f"Write in it: {change}")
    return f"{line}{end}"


def _comment(line: str) -> str:
    """The comment at the end of a statement of one line, with the blanks before it."""
    whole = tomllib.loads(line)
    for mark in re.finditer(r"\s*#", line):
        try:
            if tomllib.loads(line[: mark.start()]) == whole:
                return line[mark.start() :].rstrip("\n")
        except tomllib.TOMLDecodeError:
            continue
    return ""


def _extended(old: str, change: Change) -> str:
    """A list over several lines with more items at its end; empty where that is not what is to be done."""
    before = tuple(tomllib.loads(old)[change.key])
    lines = _LINE.findall(old)
    if isinstance(change.value, str) or change.value is None or change.value[: len(before)] != before:
        return ""
    if not lines[-1].lstrip().startswith("]"):
        return ""
    indent = re.match(r"\s*", lines[-2])
    more = "".join(f"{indent[0] if indent else ''}{_written(item)},\n" for item in change.value[len(before) :])
    made = "".join((*lines[:-1], more, lines[-1]))
    try:
        return made if tuple(tomllib.loads(made)[change.key]) == change.value else ""
    except tomllib.TOMLDecodeError:
        return ""


def _header(table: tuple[str, ...]) -> str:
    return ".".join(name if _BARE.fullmatch(name) else _written(name) for name in table)


def _written(value: Value | None) -> str:
    """A value in TOML, which for texts without control characters is as in JSON."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    items = [_written(item) for item in value or ()]
    short = f"[{', '.join(items)}]"
    return short if len(short) <= _WIDTH else "[\n" + "".join(f"    {item},\n" for item in items) + "]"
