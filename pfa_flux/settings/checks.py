"""Checks for single values in the settings; each raises a SettingsError that names the setting."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pfa_flux.errors import InvalidValueError, SettingsError
from pfa_flux.settings.problems import Problems, meant
from pfa_flux.times import parse_duration, time_zone


def positive_int(value: object, where: str) -> int:
    """A positive whole number, given as a number or as text."""
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise SettingsError(
            f"{where} is {value!r}, not a positive whole number", f"Write {where.rpartition(' ')[2]} = 30."
        )
    return value


def duration(value: object, where: str) -> int:
    """Seconds of a duration such as `15m`."""
    if not isinstance(value, str):
        raise SettingsError(f"{where} is {value!r}, not a duration", 'Write for example "15m".')
    try:
        return parse_duration(value)
    except InvalidValueError as error:
        raise SettingsError(f"{where}: {error.message}", error.hint) from error


def zone_name(value: object, source: str) -> str:
    """The name of a time zone."""
    try:
        return time_zone(str(value)).key
    except InvalidValueError as error:
        raise SettingsError(f"{source}: tz: {error.message}", error.hint) from error


def strings(value: object, where: str) -> tuple[str, ...]:
    """Non-empty strings, each once."""
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise SettingsError(f"{where} is {value!r}, not a list of non-empty strings", 'Write ["a", "b"].')
    return tuple(dict.fromkeys(value))


def canonical(values: Iterable[str], where: str, form: Callable[[str], str]) -> tuple[str, ...]:
    """Values in canonical form, each once.

    Raises:
        SettingsError: `form` refuses a value.
    """
    try:
        return tuple(dict.fromkeys(map(form, values)))
    except InvalidValueError as error:
        raise SettingsError(f"{where}: {error.message}", error.hint) from error


def boolean(value: object, where: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise SettingsError(f"{where} is {value!r}, not true or false", "Write true or false, without quotes.")
    return value


def choice(value: object, where: str, allowed: tuple[str, ...]) -> str:
    """A value that must be one of `allowed`."""
    if value not in allowed:
        raise SettingsError(f"{where} is {value!r}", f"Use one of: {', '.join(allowed)}.")
    return str(value)


def table(value: object, name: str, source: object, allowed: tuple[str, ...], problems: Problems) -> dict[str, object]:
    """The known keys of a table. Adds a problem for each unknown key, or if the value is not a table."""
    if not isinstance(value, dict):
        with problems.of(name):
            raise SettingsError(
                f"{source}: {name} is not a table", f"Write [{name}], and below it any of: {', '.join(allowed)}."
            )
        return {}
    for key in value:
        if key not in allowed:
            with problems.of(f"{name}.{key}"):
                raise SettingsError(
                    f"{source}: [{name}] has an unknown key {key!r}",
                    f"{meant(key, allowed)}Known keys: {', '.join(allowed)}.",
                )
    return {key: item for key, item in value.items() if key in allowed}
