"""The settings' TOML file: which one is read, and whether it may say what it says."""

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
"""The machine's settings, which are read where no others are found."""
SYSTEM_VARIABLE = "PFA_FLUX_SYSTEM_CONFIG"
"""Names another file as the machine's, where a system keeps such files elsewhere."""


class ClosedError(SettingsError):
    """This user may not read the machine's settings, or look for them."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place where the settings file may be.

    Attributes:
        path: the file.
        kind: named by the caller; here, in the working directory; the user's; or the system's.
    """

    path: Path
    kind: Literal["named", "here", "user", "system"]


def places(config: str | Path | None, environ: Mapping[str, str], directory: Path) -> tuple[Place, ...]:
    """The places to look at, in this order; the file that is named is the only one.

    Raises:
        SettingsError: a path begins with ~, and there is no home directory.
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
    """The file in the user's configuration directory; None where there is no home directory."""
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
        RuntimeError: there is none.
    """
    return Path(environ.get("HOME") or "~").expanduser()


def find_file(looked_at: Sequence[Place]) -> Place | None:
    """The first place that has a file; None where none has.

    Raises:
        SettingsError: the file that is named does not exist, or this user may not see whether there is one.
        ClosedError: the machine's directory is closed to this user.
    """
    if looked_at[0].kind == "named":
        path = looked_at[0].path
        if not _is_file(looked_at[0]):
            raise SettingsError(f"the configuration file {path} does not exist", "Check --config or PFA_FLUX_CONFIG.")
        return looked_at[0]
    there = next((place for place in looked_at if _is_file(place)), None)
    if there is None or there.kind != "here":
        return there
    # Where the working directory is that of the user's or the machine's settings, the file is theirs.
    others = (place for place in looked_at if place is not there and state_of(place) == "file")
    return next((place for place in others if place.path.samefile(there.path)), there)


def _is_file(place: Place) -> bool:
    try:
        return stat.S_ISREG(place.path.stat().st_mode)
    except PermissionError as error:
        raise _unreadable(place, error) from error
    except OSError:
        return False


def state_of(place: Place) -> Literal["file", "no file", "closed"]:
    """Whether a place has a file; closed where this user may not see that."""
    try:
        return "file" if _is_file(place) else "no file"
    except SettingsError:
        return "closed"


def _unreadable(place: Place, error: OSError) -> SettingsError:
    words = f"{place.path} cannot be read: {error.strerror or type(error).__name__}"
    if place.kind != "system":
        return SettingsError(words, "Check its rights.")
    return ClosedError(
        words,
        "It holds this machine's settings. Use sudo, ask for read access, or name your own file with --config.",
    )


def read_document(place: Place) -> dict[str, Any]:
    """What a settings file says.

    Raises:
        SettingsError: it cannot be read or is no TOML. UntrustedFileError: it was found, and another user may have
            written it; as of `read_found` and `read_system`.
    """
    return parsed(read_text(place), place.path)


def read_text(place: Place) -> str:
    """The text of a settings file, with the ends of its lines as they are.

    Raises:
        SettingsError, UntrustedFileError: as of `read_document`.
    """
    read = {"here": read_found, "system": read_system}.get(place.kind, Path.read_bytes)
    try:
        return read(place.path).decode("utf-8")
    except OSError as error:
        raise _unreadable(place, error) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{place.path} cannot be read: it is not UTF-8", "Save it as UTF-8.") from error


def parsed(text: str, path: Path) -> dict[str, Any]:
    """The document of a text.

    Raises:
        SettingsError: it is no TOML; says where and why.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, where = _told(str(error))
        raise SettingsError(f"{path} is not valid TOML{where}: {what}", "Correct it there.") from error


def _told(words: str) -> tuple[str, str]:
    """What the parser says, and the place, in words of people who write settings."""
    found = re.fullmatch(r"(.*?)(?: \(at (.*)\))?", words, re.DOTALL)
    what, where = (found[1], found[2]) if found else (words, None)
    table = re.fullmatch(r"Cannot declare \((.*?),?\) twice", what)
    if table:
        what = f"[{table[1].replace(chr(39), '').replace(', ', '.')}] is there twice"
    elif what == "Cannot overwrite a value":
        what = "a key is there twice"
    return what[:1].lower() + what[1:], f" at {where.replace('end of document', 'its end')}" if where else ""


def check_recipients(path: Path, levels: Sequence[Level]) -> None:
    """Refuse a file found in the working directory that says where a token of another source is sent."""
    document, *higher = levels
    token = next((level.called for level in higher if {"token", "token_file"} & level.values.keys()), "")
    for key in RECIPIENTS:
        if token and document.values.get(key) and not any(key in level.values for level in higher):
            raise UntrustedFileError(
                f"{path}, found here, gives {key}, and {token} the token: it is not sent there",
                f"Give both in one place, or name the file: --config {path}.",
            )


def check_data_dir(path: Path, data_dir: Path, *, store: bool) -> None:
    """See that the data directory that the machine's settings name is there, since elsewhere there is no data.

    Args:
        path: the settings file.
        data_dir: the directory.
        store: the data itself is in it, so that it has to be readable.

    Raises:
        SettingsError: it does not exist, or this user may not read it.
    """
    try:
        there = data_dir.is_dir()
    except PermissionError:
        there = True
    if not there:
        raise SettingsError(
            f"{path} names the data directory {data_dir}, which does not exist",
            f"Create it with sudo pfa-flux init --config {path}, or name the right one with --data-dir.",
        )
    if store and not os.access(data_dir, os.R_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise SettingsError(
            f"{path} names the data directory {data_dir}, which this user may not read",
            "Use sudo, or name a directory of your own with --data-dir.",
        )


def expanded(value: str | Path, source: str, environ: Mapping[str, str]) -> Path:
    """A path with ~ as the home directory.

    Raises:
        SettingsError: there is none.
    """
    path = Path(value)
    try:
        return home(environ).joinpath(*path.parts[1:]) if path.parts[:1] == ("~",) else path.expanduser()
    except RuntimeError as error:
        raise SettingsError(f"{source}: there is no home directory for {value}", "Write the whole path.") from error
