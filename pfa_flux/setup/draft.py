"""A draft of the settings: `pfa-flux init` turns answers into a settings file and a token file."""

from __future__ import annotations

import contextlib
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pfa_flux import names
from pfa_flux.errors import PfaFluxError, SettingsError
from pfa_flux.schema import network_of, without_port
from pfa_flux.settings import Secret, Settings, resolve
from pfa_flux.settings.checks import canonical
from pfa_flux.settings.file import Place, find_file, parsed, places, read_text
from pfa_flux.settings.pixel import BY_PIXEL
from pfa_flux.settings.secret import read_token
from pfa_flux.setup.staging import File, staged
from pfa_flux.setup.toml_edit import Change, edited

KEYS = ("url", "org", "raw_bucket", "loads_bucket", "rollup_bucket", "data_dir", "kapacitor_url", "ca_file")
"""Top-level keys that `init` takes from flags and the environment, and writes."""

_HEAD = "# Settings of pfa-flux, written by `pfa-flux init`. If you run it again, it changes only its own keys.\n"
LOAD_PATH = "/load.gif"
"""Default path at which the pixel counts page loads."""
_LOADS_LEFT_OUT = Change(("task",), "loads", False)
_SHORT = 3
_HOME = ("HOME", "XDG_DATA_HOME")


def config_path(named: str | None, environ: Mapping[str, str], directory: Path) -> Path:
    """The settings file to write: the named one, else the one in use, else a new one.

    A new file of root applies to the whole machine. A new file of another user is in that user's configuration
    directory.

    Raises:
        SettingsError: this user cannot see whether there is one.
        UntrustedFileError: another user may have put the file there.
    """
    candidates = places(named, environ, directory)
    if candidates[0].kind == "named":
        return candidates[0].path.resolve()
    existing = find_file(candidates)
    if existing is not None:
        read_text(existing)
        return existing.path.resolve()
    own = "system" if os.geteuid() == 0 else "user"
    # Without a home directory, use the working directory.
    return next((place.path for place in candidates if place.kind == own), candidates[0].path).resolve()


def site(text: str) -> tuple[str, tuple[str, ...]]:
    """Name and domains of `NAME=domain,domain`.

    Raises:
        SettingsError: the text has another form.
    """
    name, mark, rest = (part.strip() for part in text.partition("="))
    if not mark or not name or not name.isprintable() or not rest.strip(", "):
        raise SettingsError(f"the site {text!r} is not NAME=domain,domain", "Write blog=example.com,example.i2p.")
    return name, domains(rest.split(","), f"the site {name}")


def domains(texts: Sequence[str], where: str) -> tuple[str, ...]:
    """Valid domains in canonical form, each once.

    Raises:
        SettingsError: a text is not a domain.
    """
    given = [text.strip() for text in texts if text.strip()]
    return canonical(given, where, names.pattern)


@dataclass(frozen=True)
class Draft:
    """Settings to write.

    Attributes:
        path: the settings file.
        text: its current text; empty if it does not exist.
        values: answers by the names in `KEYS`. An empty one removes its key; keys without an answer stay.
        token: the token; empty for none.
        token_file: file of the token, existing or new; None without a token.
        listen: address of the pixel; None to keep it.
        domains: domains that count; None to keep them.
        sites: new or changed sites.
        hits_only: downsample only hits; false to keep the setting.
        loads: source of page loads; empty to keep it.
        load_path: path at which the pixel counts page loads, empty for none; None to keep it.
        names: new or changed names in the data, by their keys in `[schema]`.
    """

    path: Path
    text: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    token: Secret = field(default_factory=lambda: Secret(""))
    token_file: Path | None = None
    listen: str | None = None
    domains: tuple[str, ...] | None = None
    sites: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hits_only: bool = False
    loads: str = ""
    load_path: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> Draft:
        """The draft of an existing file and its token, as far as they exist.

        Raises:
            SettingsError: the file cannot be read, or is not TOML.
        """
        if not path.exists():
            return cls(path)
        text = read_text(Place(path, "named"))
        document = parsed(text, path)
        draft = cls(path, text)
        # Check everything but the token. If that is gone, it is asked for again.
        draft.settings()
        if isinstance(document.get("token"), str):
            return replace(draft, token=Secret(document["token"]), token_file=path.with_suffix(".token"))
        if isinstance(document.get("token_file"), str):
            file = Path(document["token_file"]).expanduser().absolute()
            return replace(draft, token=read_token(file)[0] if file.exists() else Secret(""), token_file=file)
        return draft

    @property
    def document(self) -> dict[str, Any]:
        """Current content of the file, parsed."""
        return tomllib.loads(self.text)

    def with_values(self, **values: str) -> Draft:
        """The draft with further answers."""
        return replace(self, values={**self.values, **values})

    def with_domains(self, more: Sequence[str]) -> Draft:
        """The draft with more domains that count."""
        known = self.domains if self.domains is not None else self.settings().pixel.domains
        made = list(known)
        made += [name for name in dict.fromkeys(more) if not covered(name, made)]
        return replace(self, domains=tuple(made))

    def with_loads(self, loads: str, **names: str) -> Draft:
        """The draft with a source of page loads and, if it is the analytics, the names in its data."""
        path = (self.settings().pixel.load_path or LOAD_PATH) if loads in BY_PIXEL else ""
        return replace(self, loads=loads, load_path=path, names={**self.names, **names})

    def settings(self) -> Settings:
        """The settings that result from the file.

        Raises:
            SettingsError: an answer or the file is malformed.
        """
        document = tomllib.loads(self.new_text())
        # The draft has the token, but its file may not exist yet.
        given = {key: value for key, value in document.items() if key not in {"token", "token_file"}}
        home = {name: os.environ[name] for name in _HOME if name in os.environ}
        return replace(resolve(given, home, {}, path=self.path).checked(), token=self.token)

    def new_text(self) -> str:
        """The new text of the file.

        Raises:
            PfaFluxError: the file cannot be changed without losing something.
        """
        try:
            return edited(self.text or _HEAD, self._changes())
        except PfaFluxError as error:
            raise PfaFluxError(f"{self.path}: {error.message}. Nothing was changed", error.hint) from error

    def _changes(self) -> list[Change]:
        document, usual = self.document, Settings()
        changes = []
        for key, value in self.values.items():
            same = key == "data_dir" and key in document and Path(document[key]).expanduser() == Path(value)
            if not same and (key in document or value != str(getattr(usual, key))):
                changes.append(Change((), key, value or None))
        if self.token and self.token_file is not None:
            changes.append(Change((), "token", None))
            old = document.get("token_file")
            if old is None or Path(old).expanduser() != self.token_file:
                changes.append(Change((), "token_file", str(self.token_file)))
        if self.hits_only:
            changes.append(_LOADS_LEFT_OUT)
        changes += [Change(("sites", name), "domains", names) for name, names in self.sites.items()]
        if self.listen is not None:
            changes.append(Change(("pixel",), "listen", self.listen))
        if self.domains or (self.domains is not None and "domains" in document.get("pixel", {})):
            changes.append(Change(("pixel",), "domains", self.domains))
        if self.load_path or (self.load_path is not None and "load_path" in document.get("pixel", {})):
            changes.append(Change(("pixel",), "load_path", self.load_path or None))
        if self.loads:
            changes.append(Change(("pixel",), "loads", self.loads))
        for key, name in self.names.items():
            if key in document.get("schema", {}) or name != getattr(usual.schema, key):
                changes.append(Change(("schema",), key, name))
        return changes


def www_twin(domain: str) -> str:
    """The www name of a domain, or the bare name of a www domain; empty if neither is usual."""
    host = without_port(domain)
    if network_of(host) != "clearnet" or "." not in host or host[-1].isdigit() or host.startswith(("*", "[")):
        return ""
    if host.startswith("www."):
        return domain.removeprefix("www.")
    _, *between, _ = host.split(".")
    # A subdomain has no www name. example.co.uk is not a subdomain.
    return f"www.{domain}" if not between or (len(between) == 1 and len(between[0]) <= _SHORT) else ""


def covered(name: str, patterns: Sequence[str]) -> bool:
    """Whether the patterns include a domain, by name or with a wildcard."""
    return name in patterns or any(p.startswith("*.") and name.endswith(p[1:]) for p in patterns)


def organisations(settings: Settings) -> list[str]:
    """Names of the organisations that the token sees, up to 100."""
    from pfa_flux.engines.influxdb.transport import transport_to, understood

    transport = transport_to(replace(settings, org=""))
    try:
        with understood("the answer with organisations"):
            listed = transport.request("GET", "/api/v2/orgs", query={"limit": "100"}).listed("orgs")
            return sorted(str(org["name"]) for org in listed)
    finally:
        transport.close()


def files_of(draft: Draft, *, own_token: bool) -> list[File]:
    """The settings file and, if pfa-flux owns it, the token file."""
    mode = draft.path.stat().st_mode & 0o777 if draft.path.exists() else 0o644
    made = [File(draft.path, draft.new_text(), mode)]
    if own_token and draft.token and draft.token_file is not None:
        made.insert(0, File(draft.token_file, _token_text(draft), 0o600))
    return made


def _token_text(draft: Draft) -> str:
    """The token file's text: unchanged if it has this token, otherwise the token on its own line."""
    assert draft.token_file is not None
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if (text := draft.token_file.read_text(encoding="utf-8")).strip() == draft.token.reveal():
            return text
    return f"{draft.token.reveal()}\n"


def remember_sides(path: Path, *, loads: bool) -> None:
    """Write `[task] loads = false` into a settings file. With `loads`, remove it.

    Raises:
        PfaFluxError: the file cannot be changed or written. The hint says what to write by hand.
    """
    # Change the file, not a link to it.
    path = path.resolve()
    change = replace(_LOADS_LEFT_OUT, value=None) if loads else _LOADS_LEFT_OUT
    text = edited(path.read_bytes().decode(), [change])
    with staged([File(path, text, path.stat().st_mode & 0o777)]) as put:
        put()
