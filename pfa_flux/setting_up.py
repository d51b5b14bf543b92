"""What `pfa-flux init` does: answers become a settings file and a token file, once a server has proved them right."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pfa_flux import pixel_settings
from pfa_flux.errors import PfaFluxError, SettingsError
from pfa_flux.settings import Secret, Settings, load
from pfa_flux.toml_edit import Change, edited

FILE_NAME = "pfa-flux.toml"
KEYS = ("url", "org", "raw_bucket", "loads_bucket", "rollup_bucket", "data_dir", "kapacitor_url", "ca_file")
"""Keys at the top level that are taken from flags and environment, and written."""

_HEAD = "# Settings of pfa-flux. `pfa-flux init` writes them, and changes its own keys alone when it is run again.\n"
_NOWHERE = {"XDG_CONFIG_HOME": os.devnull}


def config_path(named: str | None, environ: Mapping[str, str], directory: Path) -> Path:
    """The settings file to write: the one that is named, else the one that would be found, else one here."""
    named = named or environ.get("PFA_FLUX_CONFIG")
    if named:
        return (directory / Path(named).expanduser()).resolve()
    base = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "~")).expanduser() / ".config"
    candidates = (directory / FILE_NAME, Path(base) / "pfa-flux" / FILE_NAME)
    return next((path for path in candidates if path.is_file()), candidates[0]).resolve()


def read_token(path: Path) -> tuple[Secret, tuple[str, ...]]:
    """The token in a file, and warnings about its rights.

    Raises:
        SettingsError: it cannot be read or is empty.
    """
    found = load({"token_file": str(path)}, environ=_NOWHERE, directory=Path(os.devnull))
    return found.token, found.warnings


def site(text: str) -> tuple[str, tuple[str, ...]]:
    """Name and domains of `NAME=domain,domain`.

    Raises:
        SettingsError: it is something else.
    """
    name, mark, rest = (part.strip() for part in text.partition("="))
    if not mark or not name or not name.isprintable() or not rest.strip(", "):
        raise SettingsError(f"the site {text!r} is not NAME=domain,domain", "Write blog=example.com,example.i2p.")
    return name, domains(rest.split(","), f"the site {name}")


def domains(words: Sequence[str], where: str) -> tuple[str, ...]:
    """Domains, checked, in lower case, each once.

    Raises:
        SettingsError: one is none.
    """
    given = [word.strip() for word in words if word.strip()]
    try:
        return pixel_settings.parse({"domains": given}, where).domains
    except SettingsError as error:
        wrong = next(word for word in given if not _is_domain(word))
        raise SettingsError(f"{where}: {wrong!r} is not a domain", error.hint) from error


def _is_domain(word: str) -> bool:
    try:
        pixel_settings.parse({"domains": [word]}, "")
    except SettingsError:
        return False
    return True


@dataclass(frozen=True)
class Draft:
    """Settings as they are to be.

    Attributes:
        path: the settings file.
        text: what is in it now; empty where there is none.
        values: answers by the names in `KEYS`; an empty one takes its key away. What is missing stays as it is.
        token: the token, empty for none.
        token_file: file that holds it, or is to; None where there is no token.
        listen: where the pixel listens; None: as it is.
        domains: domains that count; None: as they are.
        sites: sites that are new or changed.
    """

    path: Path
    text: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    token: Secret = field(default_factory=lambda: Secret(""))
    token_file: Path | None = None
    listen: str | None = None
    domains: tuple[str, ...] | None = None
    sites: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> Draft:
        """What is there: the file and the token that it leads to, if it is there yet.

        Raises:
            SettingsError: the file cannot be read or is no TOML.
        """
        if not path.exists():
            return cls(path)
        try:
            # As it stands, ends of lines included.
            text = path.read_bytes().decode("utf-8")
            document = tomllib.loads(text)
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path} cannot be read: {error}", "Check its rights and that it is UTF-8.") from error
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{path} is not valid TOML: {error}", "Correct it at the place named.") from error
        found = cls(path, text)
        # All of it but the token, which may be gone: that is asked for again.
        found.settings()
        if isinstance(document.get("token"), str):
            return replace(found, token=Secret(document["token"]), token_file=path.with_suffix(".token"))
        if isinstance(document.get("token_file"), str):
            file = Path(document["token_file"]).expanduser().absolute()
            return replace(found, token=read_token(file)[0] if file.exists() else Secret(""), token_file=file)
        return found

    @property
    def document(self) -> dict[str, Any]:
        """What is in the file now, parsed."""
        return tomllib.loads(self.text)

    def with_values(self, **values: str) -> Draft:
        """The draft with further answers."""
        return replace(self, values={**self.values, **values})

    def with_domains(self, more: Sequence[str]) -> Draft:
        """The draft with further domains that count, beside those that do."""
        known = self.domains if self.domains is not None else self.settings().pixel.domains
        made = list(known)
        made += [name for name in dict.fromkeys(more) if not _covered(name, made)]
        return replace(self, domains=tuple(made))

    def settings(self) -> Settings:
        """The settings that the file will give.

        Raises:
            SettingsError: an answer, or what is in the file, is malformed.
        """
        with tempfile.TemporaryDirectory(prefix="pfa-flux-init-") as folder:
            file = Path(folder) / FILE_NAME
            file.write_bytes(self.new_text(with_token=False).encode())
            try:
                made = load({}, config=file, environ={})
            except SettingsError as error:
                raise SettingsError(error.message.replace(str(file), str(self.path)), error.hint) from error
        return replace(made, token=self.token)

    def new_text(self, *, with_token: bool = True) -> str:
        """The file's text as it is to be.

        Raises:
            PfaFluxError: the file cannot be changed without losing something.
        """
        try:
            return edited(self.text or _HEAD, self._changes(with_token))
        except PfaFluxError as error:
            raise PfaFluxError(f"{self.path}: {error.message}; nothing was changed", error.hint) from error

    def _changes(self, with_token: bool) -> list[Change]:
        document, usual = self.document, Settings()
        changes = []
        for key, value in self.values.items():
            same = key == "data_dir" and key in document and Path(document[key]).expanduser() == Path(value)
            if not same and (key in document or value != str(getattr(usual, key))):
                changes.append(Change((), key, value or None))
        if not with_token:
            changes += [Change((), key, None) for key in ("token", "token_file")]
        elif self.token and self.token_file is not None:
            changes.append(Change((), "token", None))
            old = document.get("token_file")
            if old is None or Path(old).expanduser() != self.token_file:
                changes.append(Change((), "token_file", str(self.token_file)))
        changes += [Change(("sites", name), "domains", names) for name, names in self.sites.items()]
        if self.listen is not None:
            changes.append(Change(("pixel",), "listen", self.listen))
        if self.domains or (self.domains is not None and "domains" in document.get("pixel", {})):
            changes.append(Change(("pixel",), "domains", self.domains))
        return changes


def _covered(name: str, patterns: Sequence[str]) -> bool:
    return name in patterns or any(p.startswith("*.") and name.endswith(p[1:]) for p in patterns)


def organisations(settings: Settings) -> list[str]:
    """Names of the organisations that the token sees, up to 100."""
    from pfa_flux.engines.influxdb.transport import Transport

    transport = Transport(settings.url, settings.token, timeout=settings.timeout, ca_file=settings.ca_file)
    try:
        found = transport.request("GET", "/api/v2/orgs", query={"limit": "100"}).json().get("orgs", ())
        return sorted(str(org["name"]) for org in found)
    finally:
        transport.close()


@dataclass(frozen=True, slots=True)
class File:
    """A file that is to be there.

    Attributes:
        path: where.
        text: what is in it.
        mode: its rights, from the moment it exists.
    """

    path: Path
    text: str
    mode: int

    @property
    def action(self) -> str:
        """What has to be done: written, changed, or nothing: unchanged."""
        try:
            if self.path.read_bytes() != self.text.encode():
                return "changed"
            return "changed" if self.path.stat().st_mode & 0o007 & ~self.mode else "unchanged"
        except OSError:
            # It is not there; or cannot be, which shows when it is written.
            return "written"


def files_of(draft: Draft, *, own_token: bool) -> list[File]:
    """The settings file and, where it is for us to write, the token's."""
    mode = draft.path.stat().st_mode & 0o777 if draft.path.exists() else 0o644
    made = [File(draft.path, draft.new_text(), mode)]
    if own_token and draft.token and draft.token_file is not None:
        made.insert(0, File(draft.token_file, _token_text(draft), 0o600))
    return made


def _token_text(draft: Draft) -> str:
    """The token as its file has it already, or on a line of its own."""
    assert draft.token_file is not None
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if (text := draft.token_file.read_text(encoding="utf-8")).strip() == draft.token.reveal():
            return text
    return f"{draft.token.reveal()}\n"


@contextmanager
def staged(wanted: Sequence[File]) -> Iterator[Callable[[], None]]:
    """Files that are ready under other names beside their own, and put in their place by a call; else they go.

    Raises:
        PfaFluxError: one cannot be written.
    """
    waiting: list[tuple[Path, Path]] = []
    folders: list[Path] = []

    def put() -> None:
        while waiting:
            os.replace(*waiting.pop(0))  # noqa: PTH105 - takes a pair
        folders.clear()

    try:
        try:
            for file in wanted:
                if file.action != "unchanged":
                    folders += _make_folder(file.path.parent)
                    waiting.append((_write_beside(file), file.path))
        except OSError as error:
            raise PfaFluxError(
                f"{file.path} cannot be written: {error.strerror or error}", "Name another place with --config."
            ) from error
        yield put
    finally:
        for temporary, _ in waiting:
            temporary.unlink(missing_ok=True)
        for folder in reversed(folders):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _make_folder(path: Path) -> list[Path]:
    missing = [folder for folder in (path, *path.parents) if not folder.exists()][::-1]
    for folder in missing:
        folder.mkdir(mode=0o755)
    return missing


def _write_beside(file: File) -> Path:
    temporary = file.path.with_name(f".{file.path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, file.mode & 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(file.text)
            stream.flush()
            os.fchmod(handle, file.mode)
            with contextlib.suppress(OSError):
                there = file.path.stat()
                os.fchown(handle, there.st_uid, there.st_gid)
            os.fsync(handle)
    except BaseException:
        temporary.unlink()
        raise
    return temporary
