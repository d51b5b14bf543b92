"""Checks whether a site's own web server reaches the pixel. The request is like a browser's, but counts nothing."""

from __future__ import annotations

import urllib3

from pfa_flux.engines.base import Check
from pfa_flux.pixel.counter import GIF
from pfa_flux.settings import Settings

_SECONDS = 12.0
"""A little longer than the nginx configuration of pfa-flux waits for the pixel."""
REACH = (
    "Does pfa-flux serve run? If it does, the web server may not reach it: check the rights of each directory on the "
    "way to the socket (namei -l), or SELinux (setsebool -P httpd_can_network_connect on). The web server does not log "
    "this by design. To see it, set error_log in the pixel's location for a while."
)
"""What to do if the web server does not reach the pixel."""


def check_front(front: str, settings: Settings) -> Check:
    """Request the pixel from a site's web server.

    Args:
        front: address of the site, such as https://example.com.
        settings: the pixel's path.
    """
    name, url = f"front {front}", f"{front.rstrip('/')}{settings.pixel.path}"
    timeout = urllib3.Timeout(_SECONDS)
    try:
        with urllib3.PoolManager(retries=False) as pool:
            answer = pool.request("HEAD", url, timeout=timeout, redirect=False)
    except urllib3.exceptions.HTTPError as error:
        unreachable = f"{url} cannot be reached ({type(error).__name__})"
        return Check(name, "failed", unreachable, "Check the address, and that the web server is running.")
    said = answer.headers.get("X-Pfa-Flux", "")
    if said == "down":
        return Check(name, "failed", "the web server answers, but does not reach the pixel", REACH)
    if (answer.status, answer.headers.get("Content-Length")) != (200, str(len(GIF))):
        advice = "Put the output of pfa-flux nginx into this site's server { }."
        return Check(name, "failed", f"{url} answers {answer.status}, unlike the pixel", advice)
    return Check(name, "ok", "the web server reaches the pixel")
