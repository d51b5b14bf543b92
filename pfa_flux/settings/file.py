"""The TOML file with the settings: where to find it, how to read it, and when not to trust it."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pfa_flux.errors import SettingsError, UntrustedFileError
from pfa_flux.files import read_found, read_system
from pfa_flux.settings.network import RECIPIENTS

if TYPE_CHECKING:
    from pfa_flux.settings.sources import Level

FILE_NAME = "pfa-flux.toml"
SYSTEM_FILE = Path("/etc/pfa-flux") / FILE_NAME
"""The machine's settings. They are read if no other file is found."""
SYSTEM_VARIABLE = "PFA_FLUX_SYSTEM_CONFIG"
"""Variable with the path of the machine's settings, for systems that keep such files elsewhere."""


class ClosedError(SettingsError):
    """This user may not read the machine's settings, or may not see whether they exist."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place where the settings file may be.

    Attributes:
        path: the file.
        kind: `named` by the caller, `here` in the working directory, the `user`'s, or the `system`'s.
    """

    path: Path
    kind: Literal["named", "here", "user", "system"]


def places(config: str | Path | None, environ: Mapping[str, str], directory: Path) -> tuple[Place, ...]:
    """The places to search, in order. If the caller or the environment names a file, that is the only place.

    Raises:
        SettingsError: a path begins with ~, but there is no home directory.
    """
    named = config or environ.get("PFA_FLUX_CONFIG")
    if named:
        return (Place(directory / expanded(named, "the configuration file", environ), "named"),)
    users = users_file(environ)
    system = environ.get(SYSTEM_VARIABLE)
    return (
        Place(directory / FILE_NAME, "here"),
        *([Place(users, "user")] if users is not None else []),
        Place(expanded(system, SYSTEM_VARIABLE, environ) if system else SYSTEM_FILE, "system"),
    )


def users_file(environ: Mapping[str, str]) -> Path | None:
    """The file in the user's configuration directory. None if there is no home directory."""
    try:
        return config_home(environ) / "pfa-flux" / FILE_NAME
    except RuntimeError:
        return None


def config_home(environ: Mapping[str, str]) -> Path:
    """The user's configuration directory.

    Raises:
        RuntimeError: there is no home directory.
    """
    base = environ.get("XDG_CONFIG_HOME")
    return Path(base) if base else home(environ) / ".config"


def home(environ: Mapping[str, str]) -> Path:
    """The home directory of an environment.

    Raises:
        RuntimeError: there is no home directory.
    """
    return Path(environ.get("HOME") or "~").expanduser()


def find_file(searched: Sequence[Place]) -> Place | None:
    """The first place that has a file, or None.

    Raises:
        SettingsError: the named file does not exist, or this user may not see whether it exists.
        ClosedError: this user may not search the machine's directory.
    """
    if searched[0].kind == "named":
        path = searched[0].path
        if not _is_file(searched[0]):
            raise SettingsError(f"the configuration file {path} does not exist", "Check --config or PFA_FLUX_CONFIG.")
        return searched[0]
    first = next((place for place in searched if _is_file(place)), None)
    if first is None or first.kind != "here":
        return first
    # If the working directory is also the user's or the machine's configuration directory, the file is theirs.
    others = (place for place in searched if place is not first and state_of(place) == "file")
    return next((place for place in others if place.path.samefile(first.path)), first)


def _is_file(place: Place) -> bool:
    try:
        return stat.S_ISREG(place.path.stat().st_mode)
    except PermissionError as error:
        raise _unreadable(place, error) from error
    except OSError:
        return False


def state_of(place: Place) -> Literal["file", "no file", "closed"]:
    """Whether a place has a file, or is closed: this user may not see whether it has one."""
    try:
        return "file" if _is_file(place) else "no file"
    except SettingsError:
        return "closed"


def _unreadable(place: Place, error: OSError) -> SettingsError:
    message = f"{place.path} cannot be read: {error.strerror or type(error).__name__}"
    if place.kind != "system":
        return SettingsError(message, "Check the permissions of the file.")
    return ClosedError(
        message,
        "This file has the machine's settings. Use sudo, ask for read access, or name your own file with --config.",
    )


def read_document(place: Place) -> dict[str, Any]:
    """The content of a settings file.

    Raises:
        SettingsError: the file cannot be read or is not TOML.
        UntrustedFileError: the file was not named, and another user may have written it.
    """
    return parsed(read_text(place), place.path)


def read_text(place: Place) -> str:
    """The text of a settings file, with unchanged line endings.

    Raises:
        SettingsError: the file cannot be read or is not UTF-8.
        UntrustedFileError: the file was not named, and another user may have written it.
    """
    read = {"here": read_found, "system": read_system}.get(place.kind, Path.read_bytes)
    try:
        return read(place.path).decode("utf-8")
    except OSError as error:
        raise _unreadable(place, error) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{place.path} cannot be read: it is not UTF-8", "Save it as UTF-8.") from error


def parsed(text: str, path: Path) -> dict[str, Any]:
    """The content of a TOML text.

    Raises:
        SettingsError: the text is not TOML. The message says where and why.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, where = _explained(str(error))
        raise SettingsError(f"{path} is not valid TOML{where}: {what}", "Correct the file.") from error


def _explained(message: str) -> tuple[str, str]:
    """The parser's message for someone who edits settings, and the place in the file."""
    match = re.fullmatch(r"(.*?)(?: \(at (.*)\))?", message, re.DOTALL)
    what, where = (match[1], match[2]) if match else (message, None)
    table = re.fullmatch(r"Cannot declare \((.*?),?\) twice", what)
    if table:
        what = f"[{table[1].replace(chr(39), '').replace(', ', '.')}] is defined twice"
    elif what == "Cannot overwrite a value":
        what = "a key is set twice"
    return what[:1].lower() + what[1:], f" at {where.replace('end of document', 'its end')}" if where else ""


def check_recipients(path: Path, levels: Sequence[Level]) -> None:
    """Refuse a file from the working directory if it sets the address for a token from another source."""
    document, *higher = levels
    token = next((level.called for level in higher if {"token", "token_file"} & level.values.keys()), "")
    for key in RECIPIENTS:
        if token and document.values.get(key) and not any(key in level.values for level in higher):
            raise UntrustedFileError(
                f"{path} sets {key}, but the token is from {token}: "
                "pfa-flux does not send a token to an address from a file in the working directory",
                f"Set both in one place, or name the file: --config {path}.",
            )


def check_data_dir(path: Path, data_dir: Path, *, store: bool) -> None:
    """Check that the data directory in the machine's settings exists.

    Args:
        path: the settings file.
        data_dir: the directory.
        store: the directory has the embedded store, so it must be readable.

    Raises:
        SettingsError: the directory does not exist, or this user may not read it.
    """
    try:
        exists = data_dir.is_dir()
    except PermissionError:
        exists = True
    if not exists:
        raise SettingsError(
            f"{path} names the data directory {data_dir}, which does not exist",
            f"Create it with sudo pfa-flux init --config {path}, or name another directory with --data-dir.",
        )
    if store and not os.access(data_dir, os.R_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise SettingsError(
            f"{path} names the data directory {data_dir}, which this user may not read",
            "Use sudo, or name a directory of your own with --data-dir.",
        )


def expanded(value: str | Path, source: str, environ: Mapping[str, str]) -> Path:
    """A path, with ~ replaced by the home directory.

    Raises:
        SettingsError: there is no home directory.
    """
    path = Path(value)
    try:
        return home(environ).joinpath(*path.parts[1:]) if path.parts[:1] == ("~",) else path.expanduser()
    except RuntimeError as error:
        raise SettingsError(f"{source}: there is no home directory for {value}", "Write the full path.") from error
