"""What the settings are, where each is from, and what is wrong with them: for people and programs to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from pfa_flux.settings import KEYS, Resolution
from pfa_flux.settings.file import Place, state_of
from pfa_flux.settings.network import LISTS, shown
from pfa_flux.settings.problems import Problem
from pfa_flux.times import format_duration

_SECONDS = {"task.every", "task.offset", "pixel.raw_retention"}
HIDDEN = "***"
"""Stands for a token that is there."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A place where the settings file may be.

    Attributes:
        path: the file.
        kind: as of `Place`.
        state: read; wrong: it is there and cannot be used; unread: it is there, and an earlier one is read; absent; or
            closed: this user may not look.
    """

    path: str
    kind: str
    state: Literal["read", "wrong", "unread", "absent", "closed"]


@dataclass(frozen=True, slots=True)
class Key:
    """One setting.

    Attributes:
        key: its name, `pixel.listen` in a table.
        value: what holds, as the file would have it; a token is hidden; None where it is wrong.
        source: flag, environment, file or default.
        name: of the flag or variable, or the file; empty for a default.
    """

    key: str
    value: Any
    source: str
    name: str


@dataclass(frozen=True, slots=True)
class Wrong:
    """Something that is wrong.

    Attributes:
        key: the setting or variable; empty for the file as a whole.
        source: where the setting is from, as its flag, variable or file; empty where it is not known.
        message: what is wrong.
        hint: what to do.
    """

    key: str
    source: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Report:
    """All that there is to say about settings.

    Attributes:
        file: the file that is read; None where there is none.
        places: where it was looked for, in this order.
        keys: all settings; none where the file cannot be used, since nothing is known then.
        warnings: what is worth a word, and wrong for some.
        errors: what is wrong.
    """

    file: str | None
    places: tuple[Looked, ...]
    keys: tuple[Key, ...]
    warnings: tuple[str, ...]
    errors: tuple[Wrong, ...]


def report(made: Resolution) -> Report:
    """What there is to say about settings that were looked at."""
    settings = made.settings
    unusable = any(not problem.key for problem in made.problems)
    warnings = list(settings.warnings)
    if not settings.url and not _exists(settings.data_dir) and not _wrong(made, "data_dir"):
        warnings.append(f"data_dir {settings.data_dir} does not exist yet: pfa-flux init and serve create it")
    return Report(
        str(settings.file) if settings.file else None,
        tuple(_looked(place, made, unusable=unusable) for place in made.places),
        () if unusable else tuple(_key(made, key, value) for key, value in _values(made)),
        tuple(warnings),
        tuple(_told(made, problem) for problem in made.problems),
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # It is there for others.
        return True


def _looked(place: Place, made: Resolution, *, unusable: bool) -> Looked:
    state = state_of(place)
    if place.path == made.settings.file:
        return Looked(str(place.path), place.kind, "wrong" if unusable else "read")
    names: dict[str, Literal["unread", "absent", "closed"]] = {
        "file": "unread", "no file": "absent", "closed": "closed",
    }  # fmt: skip
    return Looked(str(place.path), place.kind, names[state])


def _values(made: Resolution) -> Iterator[tuple[str, Any]]:
    """Every setting by its name."""
    settings = made.settings
    for key in KEYS:
        if key == "token":
            yield key, HIDDEN if settings.token else ""
        elif key == "token_file":
            yield key, str(made.token_file or "")
        elif key in LISTS:
            yield key, shown(getattr(settings, key), getattr(settings, LISTS[key]))
        else:
            yield key, getattr(settings, key)
    for name, domains in settings.sites.items():
        yield f"sites.{name}.domains", domains
    for table, values in (("schema", settings.schema), ("task", settings.task), ("pixel", settings.pixel)):
        for each in fields(values):
            yield f"{table}.{each.name}", getattr(values, each.name)


def _key(made: Resolution, key: str, value: Any) -> Key:
    source = made.sources.get(key)
    if key == "token" and made.token_file is not None:
        source = made.sources.get("token_file")
    if _wrong(made, key):
        value = None
    elif key in _SECONDS:
        value = format_duration(value)
    elif isinstance(value, Path):
        value = str(value)
    elif isinstance(value, tuple):
        value = list(value)
    return Key(key, value, source.kind if source else "default", source.name if source else "")


def _wrong(made: Resolution, key: str) -> bool:
    return any(problem.key == key for problem in made.problems)


def _told(made: Resolution, problem: Problem) -> Wrong:
    source = made.sources.get(problem.key)
    return Wrong(problem.key, source.name if source else "", problem.error.message, problem.error.hint)
