"""Where settings come from: the file, the environment and the arguments. Each overrides the one before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pfa_flux.errors import SettingsError
from pfa_flux.settings import network
from pfa_flux.settings.checks import positive_int, zone_name
from pfa_flux.settings.file import SYSTEM_VARIABLE, expanded
from pfa_flux.settings.pixel import KEYS as PIXEL_KEYS
from pfa_flux.settings.problems import Problems, meant
from pfa_flux.settings.secret import CONTROL, Secret
from pfa_flux.settings.tables import SCHEMA_KEYS
from pfa_flux.settings.task import KEYS as TASK_KEYS

KEYS = (
    *("url", "write_url", "token", "token_file", "org", "raw_bucket", "loads_bucket", "rollup_bucket", "data_dir"),
    *("kapacitor_url", "ca_file", "client_cert", "client_key", "proxy", "replication", "consistency", "timeout", "tz"),
)
"""Keys at the top level of the file, which also have an environment variable."""
TABLES: Mapping[str, Sequence[str]] = {"sites": (), "schema": SCHEMA_KEYS, "task": TASK_KEYS, "pixel": PIXEL_KEYS}
"""Tables of the file, and the keys of each. `sites` has one table for each site."""
_PREFIX = "PFA_FLUX_"
VARIABLES = {f"{_PREFIX}{key.upper()}": key for key in KEYS}
"""Environment variables, and the key of each."""
IGNORE = "PFA_FLUX_IGNORE"
"""Variable with prefixes, separated by commas. Variables with these prefixes belong to other programs."""
_OTHER_VARIABLES = ("PFA_FLUX_CONFIG", SYSTEM_VARIABLE, IGNORE)
_SERVICE_HOST = "_SERVICE_HOST"
_LONGEST = 86_400
_DIGITS = 20


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a value.

    Attributes:
        kind: a flag (in the library, an argument), the environment, or the file.
        name: name of the flag, the variable or the file.
    """

    kind: Literal["flag", "environment", "file"]
    name: str


@dataclass(frozen=True, slots=True)
class Level:
    """The top-level values of one source.

    Attributes:
        kind: as in `Source`.
        values: values by key.
        called: name of the source in messages.
        place: returns the flag, variable or file of a key.
    """

    kind: Literal["flag", "environment", "file"]
    values: Mapping[str, Any]
    called: str
    place: Callable[[str], str]

    def subject(self, key: str) -> str:
        """The start of a message about a key."""
        return self.place(key) if self.kind == "environment" else self.called


@dataclass(slots=True)
class Merged:
    """The values of all levels together.

    Attributes:
        values: values by the attributes of `Settings`.
        sources: source of each key.
        token_file: the file with the token, or None.
    """

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    token_file: Path | None = None


def from_file(document: Mapping[str, Any], path: Path | None, problems: Problems) -> Level:
    """The top-level values of a file."""
    known = (*KEYS, *TABLES)
    for key in document:
        if key not in known:
            below = [f"Did you mean {key} under [{table}]? " for table, keys in TABLES.items() if key in keys]
            allowed = ", ".join((*KEYS, *(f"[{table}]" for table in TABLES)))
            with problems.of(key):
                raise SettingsError(
                    f"{path}: unknown key {key!r}", f"{''.join(below[:1]) or meant(key, known)}Known keys: {allowed}."
                )
    return Level("file", {key: document[key] for key in KEYS if key in document}, str(path), lambda _: str(path))


def from_environment(environ: Mapping[str, str], problems: Problems) -> Level:
    """The values in the environment. An empty variable counts as not set."""
    known = (*VARIABLES, *_OTHER_VARIABLES)
    services = _services(environ)
    others = tuple(filter(None, environ.get(IGNORE, "").split(",")))
    for name in environ:
        if not name.startswith(_PREFIX) or name in known or name.startswith(others):
            continue
        if not _is_of_service(name, services):
            with problems.of(name):
                raise SettingsError(
                    f"unknown environment variable {name}",
                    f"{meant(name, known, prefix=_PREFIX)}Known variables: {', '.join(known)}.",
                )
    values = {key: environ[name] for name, key in VARIABLES.items() if environ.get(name)}
    return Level("environment", values, "the environment", lambda key: f"{_PREFIX}{key.upper()}")


def _services(environ: Mapping[str, str]) -> list[str]:
    """Prefixes of the variables that Kubernetes sets in every pod for Services whose names begin with pfa-flux.

    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    named = [name.removesuffix(_SERVICE_HOST) for name in environ if name.endswith(_SERVICE_HOST)]
    return [_PREFIX.rstrip("_"), *(name for name in named if name.startswith(_PREFIX))]


def _is_of_service(name: str, services: Sequence[str]) -> bool:
    """Whether Kubernetes sets this variable for one of the Services."""
    return any(
        name in {f"{service}{_SERVICE_HOST}", f"{service}_SERVICE_PORT", f"{service}_PORT"}
        or name.startswith((f"{service}_SERVICE_PORT_", f"{service}_PORT_"))
        for service in services
    )


def from_arguments(flags: Mapping[str, str | None], problems: Problems) -> Level:
    """The values from the caller. None means not given."""
    for key in flags:
        if key not in KEYS:
            with problems.of(key):
                raise SettingsError(f"unknown setting {key!r}", f"{meant(key, KEYS)}Known settings: {', '.join(KEYS)}.")
    values = {key: value for key, value in flags.items() if value is not None and key in KEYS}
    return Level("flag", values, "the arguments", lambda key: f"--{key.replace('_', '-')}")


def of_tables(document: Mapping[str, Any], path: Path | None) -> dict[str, Source]:
    """The keys in the tables of a file, with the file as their source."""
    source = Source("file", str(path))
    tables = {name: document[name] for name in TABLES if isinstance(document.get(name), dict)}
    sites = tables.pop("sites", {})
    made = {f"{name}.{key}": source for name, table in tables.items() for key in table}
    named = {name: site for name, site in sites.items() if isinstance(site, dict)}
    return made | {f"sites.{name}.{key}": source for name, site in named.items() for key in site}


def tell_where(flags: Mapping[str, str | None], environ: Mapping[str, str]) -> bool:
    """Whether arguments or environment say where the data is."""
    return any(flags.get(key) or environ.get(f"{_PREFIX}{key.upper()}") for key in ("url", "data_dir"))


def merge(levels: Sequence[Level], environ: Mapping[str, str], problems: Problems) -> Merged:
    """The values of all levels, checked and converted. A later level overrides an earlier one."""
    made = Merged()
    for number, level in enumerate(levels):
        # If a later level overrides the token file, its path is not even checked: a service may have its own token.
        overridden = any({"token", "token_file"} & higher.values.keys() for higher in levels[number + 1 :])
        left_out = {"token_file"} if overridden else set()
        if {"token", "token_file"} <= level.values.keys():
            left_out = {"token", "token_file"}
            with problems.of("token"):
                raise SettingsError(f"{level.called} sets both token and token_file", "Keep one of them.")
        for key, value in level.values.items():
            if key not in left_out:
                with problems.of(key):
                    _take(made, key, _value(key, value, level.subject(key), environ))
                    made.sources[key] = Source(level.kind, level.place(key))
    return made


def _take(made: Merged, key: str, value: Any) -> None:
    """Keep a value. A token replaces an earlier token file, and the other way round."""
    if key == "token_file":
        made.values.pop("token", None)
        made.sources.pop("token", None)
        made.token_file = value
        return
    if key == "token":
        made.sources.pop("token_file", None)
        made.token_file = None
    if key in network.LISTS:
        value, made.values[network.LISTS[key]] = next(iter(value), ""), value[1:]
    made.values[key] = value


def _value(key: str, value: object, source: str, environ: Mapping[str, str]) -> Any:
    if key == "timeout":
        return _timeout(value, source)
    if key in network.LISTS:
        return network.addresses(value, source, key)
    if key == "replication":
        return network.replication(value, source)
    if not isinstance(value, str | Path):
        raise SettingsError(f"{source}: {key} is {type(value).__name__}, not a string", f'Write {key} = "…".')
    if CONTROL.search(str(value)):
        raise SettingsError(f"{source}: {key} contains a control character", "Type the value again.")
    if key == "tz":
        return zone_name(value, source)
    if key == "consistency":
        return network.consistency(value, source) if value else ""
    if key in {"token_file", "data_dir"}:
        return expanded(value, source, environ)
    return Secret(str(value)) if key == "token" else str(value)


def _timeout(value: object, source: str) -> int:
    if isinstance(value, str) and len(value) > _DIGITS:
        raise SettingsError(f"{source}: timeout has {len(value)} digits", "Write timeout = 30.")
    seconds = positive_int(value, f"{source}: timeout")
    if seconds > _LONGEST:
        raise SettingsError(f"{source}: timeout is more than a day", "Write timeout = 30.")
    return seconds
