"""Options that many commands share: the settings' flags, and `--quiet`."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any

import typer

from pfa_flux.cli.help import with_kinds
from pfa_flux.engines.patience import Patience, in_words, patience
from pfa_flux.foreign import printable
from pfa_flux.settings import Resolution, Settings

_PANEL = "Where the data is"


Domain = Annotated[
    list[str] | None,
    typer.Option(
        help=("Domain in any script, URL, or *.example.com for all subdomains; repeatable."), show_default=False
    ),
]
Site = Annotated[list[str] | None, typer.Option(help="Site from the settings; repeatable.", show_default=False)]
Start = Annotated[str, typer.Option(help="Date, month, time, today, yesterday, or how long ago: 24h, 7d, 3mo.")]
Stop = Annotated[str | None, typer.Option(help="End of the range, excluded; as --start.", show_default="now")]
Tz = Annotated[
    str | None, typer.Option(help="Time zone of intervals, and of times without a zone.", show_default="the setting")
]


def _flag(name: str, help_text: str) -> inspect.Parameter:
    option = typer.Option(f"--{name.replace('_', '-')}", help=help_text, rich_help_panel=_PANEL, show_default=False)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
    )


_FLAGS = (
    _flag("config", "TOML file to read instead of the one found."),
    _flag("url", "Address of InfluxDB. Without it, the embedded store is used."),
    _flag("token_file", "File with the token, or user:password on 1.x."),
    _flag("org", "Organisation of InfluxDB 2."),
    _flag("raw_bucket", "Bucket of raw points; database/retention policy on 1.x."),
    _flag("loads_bucket", "Bucket of raw page loads, if it is not the raw bucket."),
    _flag("rollup_bucket", "Bucket of downsampled points."),
    _flag("data_dir", "Directory of the embedded store."),
    _flag("kapacitor_url", "Address of Kapacitor, for tasks on 1.x."),
)
_QUIET = inspect.Parameter(
    "quiet",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--quiet", "-q", help="Print no notes, warnings or progress.")],
)


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flags of the settings. The command receives `settings` and `quiet`."""

    def loaded(flags: Mapping[str, str | None], config: str | None, *, quiet: bool) -> Settings:
        from pfa_flux.settings import load

        settings: Settings = load(flags, config=config)
        if not quiet:
            for warning in settings.warnings:
                note(f"warning: {warning}")
        return settings

    return _with_flags(command, "settings", loaded)


def with_resolution(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flags of the settings. The command receives `resolution`, even with errors, and `quiet`."""

    def examined(flags: Mapping[str, str | None], config: str | None, *, quiet: bool) -> Resolution:
        from pfa_flux.settings import examine

        del quiet
        return examine(flags, config=config)

    return _with_flags(command, "resolution", examined)


def _with_flags(command: Callable[..., None], name: str, make: Callable[..., object]) -> Callable[..., None]:
    """Add the flags of the settings. The command receives their result under a name, and `quiet`."""

    @wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        flags = {flag.name: kwargs.pop(flag.name) for flag in _FLAGS}
        quiet = kwargs.pop("quiet")
        made = make(flags, flags.pop("config"), quiet=quiet)
        with patience(Patience() if quiet else Patience(tell=_note_wait)):
            command(*args, **{name: made}, quiet=quiet, **kwargs)

    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.name not in {name, "quiet"}]
    parameters = [*own, *_FLAGS, _QUIET]
    wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_kinds(wrapper)


def _note_wait(seconds: float) -> None:
    note(f"The server is busy. Trying again in {in_words(seconds)}.")


_SEVERAL = {"domains": "domain", "sites": "site", "networks": "network", "pages": "page"}
"""Arguments of the library with a different flag name."""
_ARGUMENT = re.compile(rf"`({'|'.join(_SEVERAL)}|by|start|stop|every|tz|dialect|source)(?:=([^`]*))?`")


def in_flags(text: str) -> str:
    """Replace the library's arguments in a message with flags: --by network instead of `by='network'`."""
    return _ARGUMENT.sub(_flag_of, text)


def _flag_of(argument: re.Match[str]) -> str:
    name, value = argument[1], argument[2]
    if value is None:
        return f"--{_SEVERAL.get(name, name)}"
    # The library shows values in Python's syntax.
    return flag(name, value[1:-1] if value[:1] in {"'", '"'} and value[-1:] == value[:1] else value)


def flag(name: str, value: str) -> str:
    """An argument of the library as a flag, quoted for a shell."""
    return f"--{_SEVERAL.get(name, name)} {shlex.quote(printable(value))}"


def note(text: str) -> None:
    """Print anything but data, to standard error."""
    typer.echo(text, err=True)
