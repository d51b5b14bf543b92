"""`pfa-flux nginx`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from pfa_flux.cli.options import with_settings
from pfa_flux.settings import Settings
from pfa_flux.setup.nginx import Part


@with_settings
def nginx(
    *,
    listen: Annotated[
        str | None,
        typer.Option(
            help="Address of the pixel. With --view, address of the live page.",
            show_default="[pixel] listen of the settings; 127.0.0.1:8482",
        ),
    ] = None,
    direct: Annotated[
        str | None,
        typer.Option(help="Separate host for the pixel, for direct links.", show_default="the sites' own hosts"),
    ] = None,
    part: Annotated[
        Part | None, typer.Option(help="Print only this block of the configuration.", show_default="both")
    ] = None,
    view: Annotated[
        str | None,
        typer.Option(
            help="Print the location for pfa-flux view instead, at this path and with a password.",
            show_default=False,
        ),
    ] = None,
    settings: Settings,
    quiet: bool,
) -> None:
    """Print the nginx configuration for the pixel and the tags for your pages, from your settings."""
    from pfa_flux.settings.pixel import address
    from pfa_flux.setup.nginx import configuration
    from pfa_flux.setup.nginx_view import DEFAULT_LISTEN, location

    del quiet
    if view is not None:
        typer.echo(location(view, address(listen or DEFAULT_LISTEN, "--listen")), nl=False)
        return
    pixel = settings.pixel
    if listen is not None:
        pixel = replace(pixel, listen=address(listen, "--listen"))
    typer.echo(configuration(pixel, part=part, direct=direct or ""), nl=False)
