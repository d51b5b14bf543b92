"""The engines there are: what they are called, by which address they are found, and where their code is.

Every list of engines, dialects and backends comes from here. It names modules and imports none until one is used, so
that the start stays quick.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pfa_flux.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from pfa_flux.engines.base import Engine
    from pfa_flux.settings import Settings


RELAY_PROMISE = "it confirms hits before the database has them, and loses them if it ends or its buffer is full"
"""What a relay promises of the points that it has taken."""
RELAY_ADVICE = 'Let Telegraf buffer on disk: buffer_strategy = "disk" in its [agent]; or leave it out.'


class Writer(Protocol):
    """Takes hits for an engine, and asks for no more rights than that needs."""

    def write(self, bucket: str, lines: Iterable[str]) -> int:
        """Write line protocol with times in nanoseconds. Returns the number of points."""

    def probe_write(self, bucket: str) -> None:
        """Ask for the right to write to a bucket, without writing."""

    def relay(self) -> str:
        """What takes the writes and is no database, with its version; empty where nothing does."""

    def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True, slots=True)
class Registration:
    """One engine.

    Attributes:
        module: module with `open_engine(settings)`, and `open_writer(settings)` where the pixel can ship to it.
        schemes: schemes of the addresses that are its own; "" for no address.
        dialects: what it can be asked in, with what each needs.
        backends: who runs tasks for it, beside pfa-flux itself, and their modules.
        hits: where the pixel commits hits: to the engine at once, or to a spool until they are shipped; "" where it
            cannot write to the engine.
    """

    module: str
    schemes: tuple[str, ...]
    dialects: dict[str, str]
    backends: dict[str, str] = field(default_factory=dict)
    hits: Literal["engine", "spool", ""] = ""


REGISTERED = [
    Registration(
        "pfa_flux.engines.influxdb",
        ("http", "https"),
        {
            "join": "it needs Flux 0.172 or newer",
            "union": "it needs Flux, which is off or absent",
            "influxql": "it needs an InfluxDB",
        },
        {"influxdb": "pfa_flux.tasks.runners.influxdb", "kapacitor": "pfa_flux.tasks.runners.kapacitor"},
        hits="spool",
    ),
    Registration("pfa_flux.engines.sqlite", ("",), {"sqlite": "it is the embedded engine's"}, hits="engine"),
]
OWN_BACKEND = "runner"
"""pfa-flux itself: `pfa-flux task run --due`, or `pfa-flux serve`."""


def registration(url: str) -> Registration:
    """The engine that an address belongs to.

    Raises:
        SettingsError: it is none's.
    """
    scheme = url.partition("://")[0] if "://" in url else url
    for each in REGISTERED:
        if scheme in each.schemes:
            return each
    known = " or ".join(name for each in REGISTERED for name in each.schemes if name)
    raise SettingsError(f"url is not an {known} address", "Write for example http://localhost:8086.")


def open_engine(settings: Settings, **how: Any) -> Engine:
    """The engine that the settings name.

    Raises:
        UnreachableError, AccessDeniedError, SettingsError: it cannot be used; as it says.
    """
    engine: Engine = import_module(registration(settings.url).module).open_engine(settings, **how)
    return engine


def open_writer(settings: Settings) -> Writer:
    """Where the pixel ships to."""
    writer: Writer = import_module(registration(settings.url).module).open_writer(settings)
    return writer


def backend_module(name: str) -> ModuleType:
    """The module of those who run tasks, with `open_backend(engine, settings, spec)`."""
    return import_module(next(each.backends[name] for each in REGISTERED if name in each.backends))


def dialects() -> tuple[str, ...]:
    """All dialects."""
    return tuple(name for each in REGISTERED for name in each.dialects)


def why_not(dialect: str) -> str:
    """What a dialect needs."""
    return next(each.dialects[dialect] for each in REGISTERED if dialect in each.dialects)


def backends() -> tuple[str, ...]:
    """All who run tasks."""
    return (*(name for each in REGISTERED for name in each.backends), OWN_BACKEND)


def choices(names: Iterable[str]) -> tuple[str, ...]:
    """Names to choose from, `auto` first."""
    return ("auto", *names)
