"""A report of the settings for people and programs: each value, its source, and all errors."""

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
"""Shown instead of a token."""


@dataclass(frozen=True, slots=True)
class Searched:
    """A place that was searched for the settings file.

    Attributes:
        path: the file.
        kind: as in `Place`.
        state: `read`; `wrong`: the file cannot be used; `unread`: an earlier file was read instead; `absent`; or
            `closed`: this user may not see whether there is a file.
    """

    path: str
    kind: str
    state: Literal["read", "wrong", "unread", "absent", "closed"]


@dataclass(frozen=True, slots=True)
class Key:
    """One setting.

    Attributes:
        key: name of the setting, such as `pixel.listen`.
        value: the value in effect, in the form of the file. A token is hidden. None if the value is wrong.
        source: flag, environment, file or default.
        name: name of the flag, the variable or the file. Empty for a default.
    """

    key: str
    value: Any
    source: str
    name: str


@dataclass(frozen=True, slots=True)
class Wrong:
    """An error in the settings.

    Attributes:
        key: the setting or variable. Empty for the file as a whole.
        source: the flag, variable or file with the setting. Empty if unknown.
        message: what is wrong.
        hint: what to do.
    """

    key: str
    source: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Report:
    """The settings with their sources, warnings and errors.

    Attributes:
        file: the file that was read, or None.
        places: the places that were searched for the file, in order.
        keys: all settings. Empty if the file cannot be used.
        warnings: warnings about settings that work.
        errors: what is wrong.
    """

    file: str | None
    places: tuple[Searched, ...]
    keys: tuple[Key, ...]
    warnings: tuple[str, ...]
    errors: tuple[Wrong, ...]


def report(made: Resolution) -> Report:
    """The report about settings that `examine` has read."""
    settings = made.settings
    unusable = any(not problem.key for problem in made.problems)
    warnings = list(settings.warnings)
    if not settings.url and not _exists(settings.data_dir) and not _wrong(made, "data_dir"):
        warnings.append(f"data_dir {settings.data_dir} does not exist yet: pfa-flux init and serve create it")
    return Report(
        str(settings.file) if settings.file else None,
        tuple(_searched(place, made, unusable=unusable) for place in made.places),
        () if unusable else tuple(_key(made, key, value) for key, value in _values(made)),
        tuple(warnings),
        tuple(_explained(made, problem) for problem in made.problems),
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # The path exists, but this user may not see it.
        return True


def _searched(place: Place, made: Resolution, *, unusable: bool) -> Searched:
    state = state_of(place)
    if place.path == made.settings.file:
        return Searched(str(place.path), place.kind, "wrong" if unusable else "read")
    names: dict[str, Literal["unread", "absent", "closed"]] = {
        "file": "unread", "no file": "absent", "closed": "closed",
    }  # fmt: skip
    return Searched(str(place.path), place.kind, names[state])


def _values(made: Resolution) -> Iterator[tuple[str, Any]]:
    """Every setting with its name."""
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


def _explained(made: Resolution, problem: Problem) -> Wrong:
    source = made.sources.get(problem.key)
    return Wrong(problem.key, source.name if source else "", problem.error.message, problem.error.hint)
