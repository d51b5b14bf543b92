"""`pfa-flux serve`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from pfa_flux.cli.options import note, with_settings
from pfa_flux.settings import Settings


@with_settings
def serve(
    *,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT, or unix:PATH.", show_default="127.0.0.1:8480")] = None,
    admin: Annotated[
        str | None,
        typer.Option(help="HOST:PORT for /healthz and /metrics; '' for none.", show_default="127.0.0.1:8481"),
    ] = None,
    accept_clock: Annotated[
        bool,
        typer.Option(
            "--accept-clock",
            help=("Trust the clock when removing raw rows from the embedded store, even if it looks wrong."),
        ),
    ] = False,
    settings: Settings,
    quiet: bool,
) -> None:
    """Serve the pixel and count hits. They go to InfluxDB if --url is set, else to the embedded store.

    Ends on SIGTERM.
    """
    import logging
    import sys

    from pfa_flux.serve.server import serve as run
    from pfa_flux.settings.pixel import address

    pixel = settings.pixel
    if listen is not None:
        pixel = replace(pixel, listen=address(listen, "--listen"))
    if admin is not None:
        pixel = replace(pixel, admin=address(admin, "--admin") if admin else "")
    logging.basicConfig(
        format="pfa-flux: %(message)s", level=logging.WARNING if quiet else logging.INFO, stream=sys.stderr
    )
    run(replace(settings, pixel=pixel), accept_clock=accept_clock, ready=(lambda _: None) if quiet else note)
