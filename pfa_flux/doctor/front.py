"""Checks whether a site's own web server reaches the pixel. The request is like a browser's, but counts nothing."""

from __future__ import annotations

from pfa_flux.doctor.site.fetch import Answer, Browser, NoAnswerError
from pfa_flux.engines.base import Check
from pfa_flux.pixel.counter import GIF
from pfa_flux.settings import Settings

_REACH = (
    "Does pfa-flux serve run? If it does, the web server may not reach it: check the permissions of each directory on "
    "the way to the socket (namei -l), or SELinux (setsebool -P httpd_can_network_connect on). The web server does not "
    "log this by design. To see it, set error_log in the pixel's location for a while."
)
"""What to do if the web server does not reach the pixel."""
_NOT_PRINTED = "Put what pfa-flux nginx prints into the server { } of that host, and reload nginx."


def check_front(front: str, settings: Settings) -> Check:
    """Request the pixel from a site's web server.

    Args:
        front: address of the site, such as https://example.com.
        settings: the pixel's path.
    """
    name, url = f"front {front}", f"{front.rstrip('/')}{settings.pixel.path}"
    try:
        with Browser() as browser:
            fault, advice = fault_of(browser.ask("HEAD", url, {}))
    except NoAnswerError as error:
        return Check(
            name, "failed", error.message, error.hint or "Check the address, and that the web server is running."
        )
    if fault:
        return Check(name, "failed", f"{url} {fault}", advice)
    return Check(name, "ok", "the web server reaches the pixel")


def fault_of(head: Answer) -> tuple[str, str]:
    """Why an answer to HEAD is not the pixel's, and what to do; empty if it is."""
    if head.headers.get("X-Pfa-Flux") == "down":
        return "is answered by the web server, which cannot reach the pixel", _REACH
    if (head.status, head.headers.get("Content-Length")) != (200, str(len(GIF))):
        return f"answers {head.status}, unlike the pixel", _NOT_PRINTED
    if "no-store" not in head.headers.get("Cache-Control", ""):
        return (
            "has no Cache-Control: no-store, so browsers cache it and do not request it again",
            "Configure the web server not to change the pixel's headers, and not to serve a file instead.",
        )
    return "", ""
