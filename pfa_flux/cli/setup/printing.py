"""`pfa-flux tags` and `pfa-flux systemd`: print parts of an installation, as `pfa-flux nginx` does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from pfa_flux.cli.help import with_kinds
from pfa_flux.cli.options import with_settings
from pfa_flux.settings import Settings


@with_settings
def tags(
    *,
    direct: Annotated[
        str,
        typer.Option(help="Separate host for the pixel, for direct links.", show_default="the sites' own hosts"),
    ] = "",
    settings: Settings,
    quiet: bool,
) -> None:
    """Print the tags for the end of each page, from your settings."""
    from pfa_flux.setup.tags import tags as made

    del quiet
    typer.echo(made(settings.pixel, direct))


@with_kinds
def systemd(
    *,
    user: Annotated[bool, typer.Option("--user", help="For systemctl --user.")] = False,
    config: Annotated[
        str | None, typer.Option(help="TOML file to read instead of the one found.", show_default=False)
    ] = None,
) -> None:
    """Print the systemd unit for pfa-flux serve, from your settings and with the path of this program."""
    from pfa_flux.cli.setup.pieces import place
    from pfa_flux.setup.draft import Draft, config_path
    from pfa_flux.setup.systemd import unit, user_unit

    draft = Draft.of(config_path(config, os.environ, Path.cwd()))
    made = user_unit if user else unit
    typer.echo(made(draft.settings(), place(draft)), nl=False)
