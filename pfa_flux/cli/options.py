"""Options that many commands share: the settings' flags, and `--quiet`."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Annotated, Any

import typer

from pfa_flux.settings import Settings

_PANEL = "Where the data is"


def one_of(name: str, values: Sequence[str]) -> Any:
    """An enumeration of values for an option, where they are not known before the program runs."""
    return enum.StrEnum(name, {value.upper(): value for value in values})


def _flag(name: str, help_text: str) -> inspect.Parameter:
    option = typer.Option(f"--{name.replace('_', '-')}", help=help_text, rich_help_panel=_PANEL, show_default=False)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
    )


_FLAGS = (
    _flag("config", "TOML file to read instead of the one found."),
    _flag("url", "InfluxDB's address; without one the embedded store is used."),
    _flag("token_file", "File that holds the token, user:password on 1.x."),
    _flag("org", "Organisation of InfluxDB 2."),
    _flag("raw_bucket", "Bucket of raw points; database/retention policy on 1.x."),
    _flag("loads_bucket", "Bucket of raw page loads, where they are not in the raw bucket."),
    _flag("rollup_bucket", "Bucket of downsampled points."),
    _flag("data_dir", "Directory of the embedded store."),
    _flag("kapacitor_url", "Kapacitor's address, for tasks on 1.x."),
)
_QUIET = inspect.Parameter(
    "quiet",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--quiet", "-q", help="No notes, warnings or progress.")],
)


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the settings' flags; it gets `settings` and `quiet` instead of them."""

    @wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        from pfa_flux.settings import load

        flags = {flag.name: kwargs.pop(flag.name) for flag in _FLAGS}
        quiet = kwargs.pop("quiet")
        settings: Settings = load(flags, config=flags.pop("config"))
        if not quiet:
            for word in settings.warnings:
                note(f"warning: {word}")
        command(*args, settings=settings, quiet=quiet, **kwargs)

    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.name not in {"settings", "quiet"}]
    parameters = [*own, *_FLAGS, _QUIET]
    wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


def note(text: str) -> None:
    """Say something that is not data: on standard error."""
    typer.echo(text, err=True)
