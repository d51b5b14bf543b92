"""The settings: one frozen object, read once. Flags win over environment, TOML file and defaults.

The TOML file is the one named by `--config` or `PFA_FLUX_CONFIG`, else `pfa-flux.toml` in the working directory,
else the one in the user's configuration directory; the first found is the only one read.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pfa_flux import pixel_settings
from pfa_flux.engines import registry
from pfa_flux.errors import SettingsError
from pfa_flux.pixel_settings import PixelSettings
from pfa_flux.schema import BOTH, Schema, Side
from pfa_flux.values import choice, duration, positive_int, strings, table

_PREFIX = "PFA_FLUX_"
_FILE_NAME = "pfa-flux.toml"


class Secret:
    """A text that is never shown: not in a repr, a log or an error. `reveal()` is the only way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')" if self._text else "Secret('')"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


def _default_data_dir() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "pfa-flux"


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """How the tasks downsample.

    Attributes:
        every: width of a window in seconds, whole minutes.
        offset: seconds after a window's end at which it is put together, less than a window.
        lookback: windows that each run recomputes, so that late rows are taken up; at least 1.
        tags: tags that are kept; page loads are without `scheme`.
        backend: who runs the tasks: auto, influxdb, kapacitor, or runner: `pfa-flux task run --due`.
    """

    every: int = 900
    offset: int = 60
    lookback: int = 2
    tags: tuple[str, ...] = ("domain", "page", "scheme")
    backend: str = "auto"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set.

    Attributes:
        url: InfluxDB's address; empty means the embedded engine.
        token: API token, on 1.x `user:password`.
        org: organisation of InfluxDB 2; empty is right where the token sees exactly one.
        raw_bucket: bucket of raw points, on 1.x `database/retention policy`.
        loads_bucket: bucket of raw page loads, where they are not in the raw bucket; empty where they are.
        rollup_bucket: bucket of downsampled points.
        data_dir: directory of the embedded store.
        kapacitor_url: Kapacitor's address, for tasks on InfluxDB 1.x.
        ca_file: certificate authorities to trust instead of the system's.
        timeout: seconds to wait for an answer.
        sites: domains of each site, across networks.
        schema: names of measurements and fields.
        task: how the tasks downsample.
        pixel: what the pixel counts, and how.
        warnings: what is worth a word to the user, for example a token file that others can read.
    """

    url: str = ""
    token: Secret = field(default_factory=lambda: Secret(""))
    org: str = ""
    raw_bucket: str = "telegraf/autogen"
    loads_bucket: str = ""
    rollup_bucket: str = "websites/analytics"
    data_dir: Path = field(default_factory=_default_data_dir)
    kapacitor_url: str = ""
    ca_file: str = ""
    timeout: int = 30
    sites: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    schema: Schema = field(default_factory=Schema)
    task: TaskSettings = field(default_factory=TaskSettings)
    pixel: PixelSettings = field(default_factory=PixelSettings)
    warnings: tuple[str, ...] = ()

    def raw_bucket_of(self, side: Side) -> str:
        """Bucket of the raw rows of a side."""
        return (self.loads_bucket or self.raw_bucket) if side is Side.LOADS else self.raw_bucket

    @property
    def raw_buckets(self) -> tuple[str, ...]:
        """Buckets of raw rows, each once."""
        return tuple(dict.fromkeys(map(self.raw_bucket_of, BOTH)))

    def domains_of(self, site: str) -> tuple[str, ...]:
        """Domains of a site.

        Raises:
            SettingsError: the site is not in the settings.
        """
        if site not in self.sites:
            known = ", ".join(sorted(self.sites)) or "none"
            raise SettingsError(
                f"no site {site!r} in the settings (there is: {known})",
                f'Add it to {_FILE_NAME}: [sites.{site}] domains = ["example.com"].',
            )
        return self.sites[site]


_TEXT_KEYS = (
    "url",
    "token",
    "token_file",
    "org",
    "raw_bucket",
    "loads_bucket",
    "rollup_bucket",
    "data_dir",
    "kapacitor_url",
    "ca_file",
)
KEYS = (*_TEXT_KEYS, "timeout")
"""What can stand at the top level of the file, and in the environment."""
_TABLES = ("sites", "schema", "task", "pixel")


def load(
    flags: Mapping[str, str | None] | None = None,
    *,
    config: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Settings:
    """Settings from flags, environment, TOML file and defaults, in this order.

    Args:
        flags: values given by the caller under the names of the keys; None and missing mean not given.
        config: the TOML file; None means the one named in the environment or found.
        environ: environment variables, the process's own by default.
        directory: the working directory, the process's own by default.

    Raises:
        SettingsError: a key is unknown, of the wrong type, or contradicts another; names source, key and what
            is allowed.
    """
    environ = os.environ if environ is None else environ
    path = _find_file(config, environ, directory or Path.cwd())
    document = _read_toml(path) if path else {}
    warnings: list[str] = []
    merged: dict[str, Any] = {}
    levels = (
        (_from_file(document, path), str(path)),
        (_from_environment(environ), "the environment"),
        ({key: value for key, value in (flags or {}).items() if value is not None}, "the arguments"),
    )
    for number, (level, source) in enumerate(levels):
        # A token file that another level overrides need not be readable: a service may have a credential of its own.
        overridden = any({"token", "token_file"} & higher.keys() for higher, _ in levels[number + 1 :])
        own = {key: value for key, value in level.items() if not (overridden and key == "token_file")}
        _apply(merged, own, source, warnings)
    if path and "token" in document:
        _warn_if_exposed(path, warnings)
    settings = replace(
        Settings(),
        **merged,
        sites=_sites(document.get("sites", {}), path),
        schema=_schema(document.get("schema", {}), path),
        task=_task(document.get("task", {}), path),
        pixel=pixel_settings.parse(document.get("pixel", {}), path),
        warnings=tuple(warnings),
    )
    _check(settings)
    return settings


def _find_file(config: str | Path | None, environ: Mapping[str, str], directory: Path) -> Path | None:
    named = config or environ.get(f"{_PREFIX}CONFIG")
    if named:
        path = directory / Path(named).expanduser()
        if not path.is_file():
            raise SettingsError(f"the configuration file {path} does not exist", "Check --config or PFA_FLUX_CONFIG.")
        return path
    base = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "~")).expanduser() / ".config"
    candidates = (directory / _FILE_NAME, Path(base) / "pfa-flux" / _FILE_NAME)
    return next((path for path in candidates if path.is_file()), None)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}", "Check its rights and that it is UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}", "Correct it at the place named.") from error


def _from_file(document: Mapping[str, Any], path: Path | None) -> dict[str, Any]:
    for key in document:
        if key not in KEYS and key not in _TABLES:
            allowed = ", ".join((*KEYS, *(f"[{table}]" for table in _TABLES)))
            raise SettingsError(f"{path}: unknown key {key!r}", f"Allowed are: {allowed}.")
    return {key: document[key] for key in KEYS if key in document}


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    known = {f"{_PREFIX}{key.upper()}": key for key in KEYS}
    # The tests' own variables share the prefix; CONFIG has been read by now.
    others = (f"{_PREFIX}CONFIG", f"{_PREFIX}TEST_", f"{_PREFIX}REQUIRE_ENGINES")
    for name in environ:
        if name.startswith(_PREFIX) and name not in known and not name.startswith(others):
            raise SettingsError(f"unknown environment variable {name}", f"Known are: {', '.join(known)}.")
    return {key: environ[name] for name, key in known.items() if environ.get(name)}


def _apply(merged: dict[str, Any], level: Mapping[str, Any], source: str, warnings: list[str]) -> None:
    """Put one level's values over `merged`, checked and converted."""
    if "token" in level and "token_file" in level:
        raise SettingsError(f"{source} gives both token and token_file", "Keep one of them.")
    for key, value in level.items():
        if key == "timeout":
            merged[key] = positive_int(value, key, source)
        elif not isinstance(value, str | Path):
            raise SettingsError(f"{source}: {key} is {type(value).__name__}, not a string", f'Write {key} = "…".')
        elif key == "token":
            merged[key] = Secret(str(value))
        elif key == "token_file":
            merged["token"] = _token_from(Path(value).expanduser(), warnings)
        elif key == "data_dir":
            merged[key] = Path(value).expanduser()
        else:
            merged[key] = str(value)


def _token_from(path: Path, warnings: list[str]) -> Secret:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"the token file {path} cannot be read: {error}", "Check the path and its rights."
        ) from error
    if not text:
        raise SettingsError(f"the token file {path} is empty", "Put the token in it, nothing else.")
    _warn_if_exposed(path, warnings)
    return Secret(text)


def _warn_if_exposed(path: Path, warnings: list[str]) -> None:
    if path.stat().st_mode & 0o007:
        warnings.append(f"{path} holds a token and every user of this machine can reach it; run: chmod 600 {path}")


def _sites(value: object, path: Path | None) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise SettingsError(f"{path}: sites is not a table", 'Write [sites.NAME] domains = ["example.com"].')
    sites: dict[str, tuple[str, ...]] = {}
    owner: dict[str, str] = {}
    for name, site in value.items():
        where = f"{path}: [sites.{name}]"
        if not isinstance(site, dict) or set(site) != {"domains"}:
            raise SettingsError(f"{where} has other keys than domains", 'Write domains = ["example.com"].')
        domains = strings(site["domains"], f"{where} domains")
        for domain in domains:
            if owner.setdefault(domain, name) != name:
                raise SettingsError(
                    f"{path}: {domain} is in two sites, {owner[domain]} and {name}", "Keep it in one of them."
                )
        sites[name] = domains
    return sites


def _schema(value: object, path: Path | None) -> Schema:
    values: dict[str, Any] = {}
    for key, item in table(value, "schema", path, tuple(f.name for f in fields(Schema))).items():
        if key == "excluded_actions":
            values[key] = strings(item, f"{path}: [schema] {key}")
        elif isinstance(item, str) and item and not item.startswith("_") and item.isprintable():
            values[key] = item
        else:
            raise SettingsError(
                f"{path}: [schema] {key} is {item!r}, not a name",
                "Write a non-empty string without a leading underscore.",
            )
    return Schema(**values)


def _task(value: object, path: Path | None) -> TaskSettings:
    values: dict[str, Any] = {}
    for key, item in table(value, "task", path, tuple(f.name for f in fields(TaskSettings))).items():
        where = f"{path}: [task] {key}"
        if key in {"every", "offset"}:
            values[key] = 0 if key == "offset" and item == "0s" else duration(item, where)
        elif key == "lookback":
            values[key] = positive_int(item, key, f"{path}: [task]")
        elif key == "tags":
            values[key] = strings(item, where)
        else:
            values[key] = choice(item, where, registry.choices(registry.backends()))
    task = TaskSettings(**values)
    _check_task(task, f"{path}: [task]")
    return task


def _check_task(task: TaskSettings, where: str) -> None:
    if task.every % 60 or task.every > 86400:
        raise SettingsError(f"{where} every is not whole minutes up to a day", 'Write for example every = "15m".')
    if task.offset >= task.every:
        raise SettingsError(f"{where} offset is not less than every", 'Write for example offset = "1m".')
    for tag in task.tags:
        if tag in {"sess", "time", "type"} or tag.startswith("_") or not tag.isprintable():
            raise SettingsError(
                f"{where} tags has {tag!r}, which cannot be kept",
                "Leave out sess (it would keep a series for each writer), type, time and names with an underscore "
                "in front.",
            )
    if "domain" not in task.tags:
        raise SettingsError(f"{where} tags is without domain", 'Write tags = ["domain", "page", "scheme"].')


def _check(settings: Settings) -> None:
    registry.registration(settings.url)
    for key in ("url", "kapacitor_url"):
        value = getattr(settings, key)
        parts = urlsplit(value)
        web = key == "kapacitor_url" or parts.scheme in {"http", "https"}
        if value and (not parts.hostname or (web and parts.scheme not in {"http", "https"})):
            raise SettingsError(f"{key} is not an http or https address", "Write for example http://localhost:8086.")
        if parts.username or parts.password:
            raise SettingsError(f"{key} holds a user name or password", "Put it in token_file as user:password.")
    for key in ("raw_bucket", "rollup_bucket"):
        if not getattr(settings, key):
            raise SettingsError(f"{key} is empty", "Name a bucket, on 1.x as database/retention policy.")
    for key in ("raw_bucket", "loads_bucket"):
        if getattr(settings, key) == settings.rollup_bucket:
            raise SettingsError(f"{key} and rollup_bucket are the same", "Keep downsampled points in one of their own.")
    if settings.kapacitor_url and not settings.url:
        raise SettingsError("kapacitor_url is set and url is not", "Name the InfluxDB 1.x behind it with PFA_FLUX_URL.")
