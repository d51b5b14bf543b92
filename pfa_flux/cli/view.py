"""`pfa-flux view`."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from typing import Annotated

import typer

from pfa_flux.cli.options import Tz, note, with_settings
from pfa_flux.settings import Settings

_IN_TERMINALS = ("www-browser", "links", "elinks", "lynx", "w3m")
"""Browsers that run in the terminal."""


@with_settings
def view(
    *,
    listen: Annotated[
        str | None, typer.Option(help="HOST:PORT to listen on.", show_default="a free port of 127.0.0.1")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
    host: Annotated[
        list[str] | None,
        typer.Option(help="Host name of the page, in addition to localhost; repeatable.", show_default=False),
    ] = None,
    tz: Tz = None,
    settings: Settings,
    quiet: bool,
) -> None:
    """Serve the report as a live page. Choose site, range, key and comparison in the browser. Ends on Ctrl-C."""
    import logging

    from pfa_flux.view.page import LivePage
    from pfa_flux.view.server import Server, address, is_loopback, serve

    where, port = address(listen) if listen else ("127.0.0.1", 0)
    level = logging.ERROR if quiet else logging.INFO
    logging.basicConfig(format="pfa-flux: %(message)s", level=level, stream=sys.stderr)
    shared = not is_loopback(where)
    if shared and not quiet:
        note(
            "warning: others can read the page without a password. docs/live-page.md shows how to put nginx in "
            "front of it"
        )
    server = Server(LivePage(settings, tz=tz, hosts=host or (), shared=shared), where, port)

    def ready() -> None:
        typer.echo(server.url)
        sys.stdout.flush()
        if not quiet:
            note("Press Ctrl-C to stop.")
        if not no_browser and _has_display():
            # Some browsers block until they exit.
            threading.Thread(target=_open, args=(server.url,), daemon=True).start()

    serve(server, ready)


def _has_display() -> bool:
    return sys.platform in {"darwin", "win32"} or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _open(url: str) -> None:
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return
    if getattr(browser, "name", "") not in _IN_TERMINALS:
        browser.open(url)
