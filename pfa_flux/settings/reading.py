"""The settings: one frozen object, read once. Flags win over environment, TOML file and defaults.

The TOML file is the one named by `--config` or `PFA_FLUX_CONFIG`, else `pfa-flux.toml` in the working directory,
else the one in the user's configuration directory, else /etc/pfa-flux/pfa-flux.toml; the first found is the only one
read. `resolve` makes settings of what is given, and reads nothing; `examine` finds and reads first; `load` raises the
first error of that.
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
            "this user has no home directory for a data directory to be in", "Name one with PFA_FLUX_DATA_DIR."
        ) from error
    return Path(base) / "pfa-flux"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set.

    Attributes:
        url: InfluxDB's address; empty means the embedded engine.
        other_urls: further addresses of the same cluster, for when the first does not answer.
        write_url: address that the pixel writes hits to, where it is not `url`: a relay in front of the database.
        other_write_urls: further ones of it.
        token: API token, on 1.x `user:password`.
        org: organisation of InfluxDB 2; empty is right where the token sees exactly one.
        raw_bucket: bucket of raw points, on 1.x `database/retention policy`.
        loads_bucket: bucket of raw page loads, where they are not in the raw bucket; empty where they are.
        rollup_bucket: bucket of downsampled points.
        data_dir: directory of the embedded store.
        kapacitor_url: Kapacitor's address, for tasks on InfluxDB 1.x.
        ca_file: certificate authorities to trust instead of the system's.
        client_cert: certificate that servers, or proxies in front of them, ask for.
        client_key: its key, where it is not in the same file.
        proxy: proxy's address; `NO_PROXY`: none; empty: the one that the environment names, if any.
        replication: copies of each point that a cluster of 1.x keeps, for retention policies that pfa-flux makes.
        consistency: nodes of a cluster of 1.x that have to have a write before it is confirmed: any, one, quorum or
            all; empty: as the cluster has it.
        timeout: seconds to wait for an answer.
        tz: time zone of answers, and of times that name none.
        sites: domains of each site, across networks.
        schema: names of measurements and fields.
        task: how the tasks downsample.
        pixel: what the pixel counts, and how.
        warnings: what is worth a word to the user, for example a token file that others can read.
        file: the TOML file that was read; None where there was none.
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
        """All addresses of the database, in the order in which they are tried; none: the embedded engine."""
        return (self.url, *self.other_urls) if self.url else ()

    @property
    def write_urls(self) -> tuple[str, ...]:
        """All addresses that hits are written to, in the same order."""
        return (self.write_url, *self.other_write_urls) if self.write_url else self.urls

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
                f'Add it to {FILE_NAME}: [sites.{site}] domains = ["example.com"].',
            )
        return self.sites[site]


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a file, the environment and arguments give together.

    Attributes:
        settings: the settings; what is wrong has its default, and `resolve` reads no token file.
        token_file: file that the token is to be read from; None where there is none, or the token itself is given.
        sources: where values are from, by keys (`pixel.listen` for one in a table); of what is not here, the default.
        problems: all that is wrong.
        places: places that were looked at for the file, in this order.
    """

    settings: Settings
    token_file: Path | None
    sources: Mapping[str, Source]
    problems: tuple[Problem, ...]
    places: tuple[Place, ...] = ()

    def checked(self) -> Settings:
        """The settings.

        Raises:
            SettingsError, UntrustedFileError: something is wrong; the first that is.
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
        flags: values given by the caller under the names of the keys; None and missing mean not given.
        config: the TOML file; None means the one named in the environment or found.
        environ: environment variables, the process's own by default.
        directory: the working directory, the process's own by default.

    Raises:
        SettingsError: a key is unknown, of the wrong type, or contradicts another; names source, key and what
            is allowed.
        UntrustedFileError: a file was found that another user may have laid there, or that would say where a token of
            another source is sent.
    """
    return examine(flags, config=config, environ=environ, directory=directory).checked()


def load_target(config: str | Path) -> Settings:
    """Settings of a second store, from its file alone: what the environment says is about the first one.

    Raises:
        SettingsError: as of `load`.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PFA_FLUX_")}
    return load(config=config, environ=kept)


def examine(
    flags: Mapping[str, str | None] | None = None,
    *,
    config: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Resolution:
    """Settings as `load` reads them, with all that is wrong instead of an error. Arguments as of `load`."""
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
    """The place that has the file; a closed directory of the machine's is passed over where others tell all."""
    try:
        return settings_file.find_file(places)
    except settings_file.ClosedError as error:
        # A service may have its settings in variables that root reads from there.
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
    """Settings of a document, an environment and arguments. Reads no file: a token file is left to the caller.

    Args:
        document: what the TOML file says.
        environ: environment variables.
        flags: values of the caller by their keys; None is not given.
        path: the file, for messages.
        found_here: the file was found in the working directory, so that it may not say where tokens are sent.
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
    """Look at addresses, and compare settings with each other."""
    settings_network.check(settings, problems)
    for key in ("raw_bucket", "rollup_bucket"):
        if not getattr(settings, key):
            with problems.of(key):
                raise SettingsError(f"{key} is empty", "Name a bucket, on 1.x as database/retention policy.")
    for key in ("raw_bucket", "loads_bucket"):
        if getattr(settings, key) == settings.rollup_bucket and problems.none_of(key, "rollup_bucket"):
            with problems.of(key):
                raise SettingsError(
                    f"{key} and rollup_bucket are the same", "Keep downsampled points in one of their own."
                )
