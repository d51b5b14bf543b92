"""The settings: one frozen object, read once. Flags override the environment, then come the TOML file and defaults.

`--config` or `PFA_FLUX_CONFIG` names the TOML file. Otherwise it is the first `pfa-flux.toml` that exists in the
working directory, the user's configuration directory and /etc/pfa-flux. Only this file is read.

`resolve` combines values and reads no file. `examine` finds and reads the files first. `load` raises the first problem.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pfa_flux.errors import SettingsError
from pfa_flux.schema import BOTH, Schema, Side
from pfa_flux.settings import file as settings_file
from pfa_flux.settings import network as settings_network
from pfa_flux.settings import pixel as pixel_settings
from pfa_flux.settings import sources as given
from pfa_flux.settings import tables as settings_tables
from pfa_flux.settings import task as task_settings
from pfa_flux.settings.file import FILE_NAME, Place
from pfa_flux.settings.network import NO_PROXY
from pfa_flux.settings.pixel import PixelSettings
from pfa_flux.settings.problems import Problem, Problems
from pfa_flux.settings.secret import Secret, exposed, read_token
from pfa_flux.settings.sources import KEYS, Source
from pfa_flux.settings.task import TaskSettings

__all__ = ["KEYS", "NO_PROXY", "Resolution", "Secret", "Settings", "TaskSettings", "examine", "load", "resolve"]


def _default_data_dir(environ: Mapping[str, str] | None = None) -> Path:
    environ = os.environ if environ is None else environ
    try:
        base = environ.get("XDG_DATA_HOME") or settings_file.home(environ) / ".local" / "share"
    except RuntimeError as error:
        raise SettingsError(
            "this user has no home directory for the data", "Set PFA_FLUX_DATA_DIR to a directory."
        ) from error
    return Path(base) / "pfa-flux"


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings.

    Attributes:
        url: InfluxDB's address. Empty means the embedded store.
        other_urls: further addresses of the same cluster, in case the first does not answer.
        write_url: address to write hits to, if it differs from `url`: a relay in front of the database.
        other_write_urls: further addresses of the relay.
        token: API token, on 1.x `user:password`.
        org: organisation of InfluxDB 2. It can be empty if the token sees exactly one organisation.
        raw_bucket: bucket of raw data, on 1.x `database/retention policy`.
        loads_bucket: bucket of raw page loads. Empty means the raw bucket.
        rollup_bucket: bucket of downsampled data.
        data_dir: directory of the embedded store.
        kapacitor_url: Kapacitor's address, for tasks on InfluxDB 1.x.
        ca_file: certificate authorities to trust instead of the system's.
        client_cert: client certificate for servers, or for proxies in front of them.
        client_key: key of the client certificate, if it is in another file.
        proxy: address of the proxy. `NO_PROXY` means no proxy; empty means the proxy in the environment, if any.
        replication: how many copies of each point a 1.x cluster keeps, for retention policies that pfa-flux creates.
        consistency: how many nodes of a 1.x cluster must have a write before the cluster confirms it: `any`, `one`,
            `quorum` or `all`. Empty means the cluster's default.
        timeout: seconds to wait for an answer.
        tz: time zone of answers, and of times without a time zone.
        sites: domains of each site, across networks.
        schema: names of measurements and fields.
        task: how the tasks downsample.
        pixel: how the pixel counts, and what.
        warnings: warnings for the user, for example about a token file that others can read.
        file: the TOML file that was read, or None.
    """

    url: str = ""
    other_urls: tuple[str, ...] = ()
    write_url: str = ""
    other_write_urls: tuple[str, ...] = ()
    token: Secret = field(default_factory=lambda: Secret(""))
    org: str = ""
    raw_bucket: str = "telegraf/autogen"
    loads_bucket: str = ""
    rollup_bucket: str = "websites/analytics"
    data_dir: Path = field(default_factory=_default_data_dir)
    kapacitor_url: str = ""
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    proxy: str = ""
    replication: int = 1
    consistency: str = ""
    timeout: int = 30
    tz: str = "UTC"
    sites: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    schema: Schema = field(default_factory=Schema)
    task: TaskSettings = field(default_factory=TaskSettings)
    pixel: PixelSettings = field(default_factory=PixelSettings)
    warnings: tuple[str, ...] = ()
    file: Path | None = field(default=None, compare=False)

    @property
    def urls(self) -> tuple[str, ...]:
        """All addresses of the database, in the order to try them. Empty for the embedded store."""
        return (self.url, *self.other_urls) if self.url else ()

    @property
    def write_urls(self) -> tuple[str, ...]:
        """All addresses to write hits to, in the order to try them."""
        return (self.write_url, *self.other_write_urls) if self.write_url else self.urls

    def raw_bucket_of(self, side: Side) -> str:
        """The bucket with the raw rows of a side."""
        return (self.loads_bucket or self.raw_bucket) if side is Side.LOADS else self.raw_bucket

    @property
    def raw_buckets(self) -> tuple[str, ...]:
        """The buckets with raw rows, each once."""
        return tuple(dict.fromkeys(map(self.raw_bucket_of, BOTH)))

    def domains_of(self, site: str) -> tuple[str, ...]:
        """Domains of a site.

        Raises:
            SettingsError: the site is not in the settings.
        """
        if site not in self.sites:
            known = ", ".join(sorted(self.sites)) or "none"
            raise SettingsError(
                f"the settings have no site {site!r} (sites: {known})",
                f'Add the site to {FILE_NAME}: [sites.{site}] domains = ["example.com"].',
            )
        return self.sites[site]


@dataclass(frozen=True, slots=True)
class Resolution:
    """The settings from a file, the environment and arguments, with their sources and problems.

    Attributes:
        settings: the settings. A wrong value is replaced by its default.
        token_file: the file to read the token from, or None. `resolve` does not read it.
        sources: source of each value by its key, such as `pixel.listen`. A key that is not here has its default.
        problems: everything that is wrong.
        places: the places that were searched for the file, in order.
    """

    settings: Settings
    token_file: Path | None
    sources: Mapping[str, Source]
    problems: tuple[Problem, ...]
    places: tuple[Place, ...] = ()

    def checked(self) -> Settings:
        """The settings, if nothing is wrong.

        Raises:
            SettingsError, UntrustedFileError: the first problem.
        """
        for problem in self.problems:
            raise problem.error
        return self.settings


def load(
    flags: Mapping[str, str | None] | None = None,
    *,
    config: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Settings:
    """Settings from flags, environment, TOML file and defaults, in this order.

    Args:
        flags: values from the caller by key. None means not given.
        config: the TOML file. None means the file that the environment names, or the first that is found.
        environ: environment variables, the process's own by default.
        directory: the working directory, the process's own by default.

    Raises:
        SettingsError: a key is unknown, has the wrong type, or contradicts another. The error names the source, the
            key, and what is allowed.
        UntrustedFileError: a file was found that another user may have put there, or that sets the address for a
            token from another source.
    """
    return examine(flags, config=config, environ=environ, directory=directory).checked()


def load_target(config: str | Path) -> Settings:
    """Settings of a second store, from its file only: variables in the environment belong to the first store.

    Raises:
        SettingsError, UntrustedFileError: as in `load`.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PFA_FLUX_")}
    return load(config=config, environ=environ)


def examine(
    flags: Mapping[str, str | None] | None = None,
    *,
    config: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Resolution:
    """Settings as `load` reads them, with all problems instead of an error. It takes the arguments of `load`."""
    environ, flags = os.environ if environ is None else environ, flags or {}
    finding, reading, warnings = Problems(), Problems(), list[str]()
    places: tuple[Place, ...] = ()
    place: Place | None = None
    document: dict[str, Any] = {}
    with finding.of(""):
        places = settings_file.places(config, environ, directory or Path.cwd())
        place = _found(places, warnings, told=given.tell_where(flags, environ))
        document = settings_file.read_document(place) if place else {}
    path, kind = (place.path, place.kind) if place else (None, "")
    made = resolve(document, environ, flags, path=path, found_here=kind == "here")
    token = made.settings.token
    if made.token_file is not None:
        with reading.of("token_file"):
            token, exposed_words = read_token(made.token_file)
            warnings += exposed_words
    if path and "token" in document:
        warnings += exposed(path)
    if path and kind == "system" and made.sources.get("data_dir") == Source("file", str(path)):
        with reading.of("data_dir"):
            settings_file.check_data_dir(path, made.settings.data_dir, store=not made.settings.url)
    settings = replace(made.settings, token=token, warnings=tuple(warnings))
    problems = (*finding.found, *made.problems, *reading.found)
    return replace(made, settings=settings, problems=problems, places=places)


def _found(places: tuple[Place, ...], warnings: list[str], *, told: bool) -> Place | None:
    """The place with the file. Skips the machine's settings if this user may not read them and does not need them.

    Args:
        places: the places to search.
        warnings: gets a warning about skipped settings.
        told: arguments or environment say where the data is.
    """
    try:
        return settings_file.find_file(places)
    except settings_file.ClosedError as error:
        # The environment of a service may already have these settings: root reads them from there.
        if not told:
            raise
        warnings.append(f"{error.message}; pfa-flux skips it")
        return None


def resolve(
    document: Mapping[str, Any],
    environ: Mapping[str, str],
    flags: Mapping[str, str | None],
    *,
    path: Path | None = None,
    found_here: bool = False,
) -> Resolution:
    """Settings from a document, an environment and arguments. It reads no file: the caller reads a token file.

    Args:
        document: content of the TOML file.
        environ: environment variables.
        flags: values from the caller by key. None means not given.
        path: the TOML file, for messages.
        found_here: the file was found in the working directory, so it may not set the address for a token from
            another source.
    """
    problems = Problems()
    levels = (
        given.from_file(document, path, problems),
        given.from_environment(environ, problems),
        given.from_arguments(flags, problems),
    )
    merged = given.merge(levels, environ, problems)
    if path and found_here:
        with problems.of("token"):
            settings_file.check_recipients(path, levels)
    if "data_dir" not in merged.values:
        merged.values["data_dir"] = Path()
        with problems.of("data_dir"):
            merged.values["data_dir"] = _default_data_dir(environ)
    settings = Settings(
        **merged.values,
        sites=settings_tables.sites(document.get("sites", {}), path, problems),
        schema=settings_tables.schema(document.get("schema", {}), path, problems),
        task=task_settings.parse(document.get("task", {}), path, problems),
        pixel=pixel_settings.parse(document.get("pixel", {}), path, problems),
        file=path,
    )
    _check(settings, problems)
    sources = {**merged.sources, **given.of_tables(document, path)}
    return Resolution(settings, merged.token_file, sources, tuple(problems.found))


def _check(settings: Settings, problems: Problems) -> None:
    """Check the addresses, and compare settings with each other."""
    settings_network.check(settings, problems)
    for key in ("raw_bucket", "rollup_bucket"):
        if not getattr(settings, key):
            with problems.of(key):
                raise SettingsError(f"{key} is empty", "Name a bucket. On 1.x, write database/retention policy.")
    for key in ("raw_bucket", "loads_bucket"):
        if getattr(settings, key) == settings.rollup_bucket and problems.none_of(key, "rollup_bucket"):
            with problems.of(key):
                raise SettingsError(f"{key} and rollup_bucket are the same", "Use another bucket for downsampled data.")
