"""Whether a site's own web server reaches the pixel, asked as a browser would, with a request that counts nothing."""

from __future__ import annotations

import urllib3

from pfa_flux.engines.base import Check
from pfa_flux.pixel.counter import GIF
from pfa_flux.settings import Settings

_SECONDS = 12.0
"""A little more than the nginx that pfa-flux prints waits for the pixel."""
REACH = (
    "Is pfa-flux serve up? Then the web server may not reach it: rights of each directory on the way to the socket "
    "(namei -l), or SELinux (setsebool -P httpd_can_network_connect on). By design it logs nothing of that: set "
    "error_log in the location of the pixel for as long as you look."
)
"""What to do where the web server does not reach the pixel."""


def look_at(front: str, settings: Settings) -> Check:
    """Ask a site's web server for the pixel.

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
        found = f"{url} cannot be reached ({type(error).__name__})"
        return Check(name, "failed", found, "Check the address, and that the web server is up.")
    said = answer.headers.get("X-Pfa-Flux", "")
    if said == "down":
        return Check(name, "failed", "the web server answers, and does not reach the pixel", REACH)
    if (answer.status, answer.headers.get("Content-Length")) != (200, str(len(GIF))):
        advice = "Put what pfa-flux nginx prints into this site's server { }."
        return Check(name, "failed", f"{url} answers {answer.status}, and not as the pixel does", advice)
    return Check(name, "ok", "the web server reaches the pixel")
