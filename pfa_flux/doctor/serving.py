"""Checks that the pixel of the settings runs: it answers at its address, is healthy, and refuses no domain of yours."""

from __future__ import annotations

import errno
import fcntl
import http.client
import json
import os
import re
import socket
from pathlib import Path
from typing import Literal

from pfa_flux.engines.base import Check
from pfa_flux.engines.sqlite.store import LOCK_NAME
from pfa_flux.foreign import printable
from pfa_flux.journal.spool import SPOOL_LOCK, SPOOL_NAME
from pfa_flux.pixel import regulars
from pfa_flux.pixel.http import CHECK
from pfa_flux.ratio import phrasing
from pfa_flux.schema import BOTH, Side
from pfa_flux.settings import Settings
from pfa_flux.settings.pixel import PixelSettings, reached_at

_SECONDS = 5.0
_METRIC = re.compile(r"^pfa_flux_(\S+) (\S+)$", re.M)
_MANY = 0.02
"""Share of refused domains that is normal, because made-up Referers always occur."""
_START = "Start it: pfa-flux serve, or systemctl start pfa-flux.service."


def serving(settings: Settings) -> list[Check]:
    """Check the pixel of the settings, if it runs on this machine or has run here.

    Args:
        settings: the settings with its address.
    """
    pixel = settings.pixel
    try:
        status = _ask(pixel.listen, "HEAD", pixel.path)[0]
    except PermissionError:
        advice = "Run doctor as root, or as a user with access to the socket's directory."
        return [Check("serve", "skipped", f"you may not connect to {pixel.listen}", advice)]
    except (OSError, http.client.HTTPException) as error:
        return _silent(settings, error)
    if status != 200:
        if not _is_expected(settings):
            return []
        advice = f"Does pfa-flux serve listen there, with path = {pixel.path!r} under [pixel]?"
        return [Check("serve", "failed", f"{pixel.listen} answers {status} for {pixel.path}", advice)]
    return _told(pixel)


def _silent(settings: Settings, error: Exception) -> list[Check]:
    """The checks if nothing answers at the pixel's address."""
    silence = f"nothing answers at {settings.pixel.listen} ({_word(error)})"
    if not _is_expected(settings):
        return []
    if _is_held(settings.data_dir / (SPOOL_LOCK if settings.url else LOCK_NAME)):
        advice = "Write the address of the running pixel into the settings: listen and admin under [pixel]."
        return [Check("serve", "warning", f"{silence}; pfa-flux serve runs, but listens elsewhere", advice)]
    if not _has_run(settings.data_dir):
        elsewhere = "" if settings.url == "" else ", unless it runs on another machine"
        return [Check("serve", "skipped", f"{silence}; it has not run here yet", f"{_START.rstrip('.')}{elsewhere}.")]
    return [Check("serve", "failed", f"{silence}: page views are not counted", _START)]


def _is_expected(settings: Settings) -> bool:
    """A pixel should run here. With InfluxDB and no settings of a pixel, it may run on another machine."""
    return not settings.url or settings.pixel != PixelSettings() or _has_run(settings.data_dir)


def _has_run(folder: Path) -> bool:
    try:
        return any((folder / name).exists() for name in (SPOOL_NAME, regulars.NAME))
    except OSError:
        # The directory belongs to another user; another check reports that.
        return False


def _is_held(path: Path) -> bool:
    """Another process holds a lock, as a running `pfa-flux serve` does."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _word(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in {errno.ENOENT, errno.ECONNREFUSED}:
        return "no socket" if error.errno == errno.ENOENT else "connection refused"
    return printable(getattr(error, "strerror", None) or type(error).__name__)


def _told(pixel: PixelSettings) -> list[Check]:
    """The state that the pixel reports."""
    if not pixel.admin:
        return [Check("serve", "ok", f"answers at {pixel.listen}")]
    metrics = counts(pixel)
    if metrics is None:
        advice = f"Read the log of pfa-flux serve, and check what else uses {pixel.admin}."
        return [Check("serve", "warning", f"answers at {pixel.listen}; no /metrics at {pixel.admin}", advice)]
    hits, loads = (int(metrics.get(f'hits_total{{kind="{side.one}"}}', 0)) for side in BOTH)
    counted = f"{phrasing.counted(hits, Side.HITS.one)} and {phrasing.counted(loads, Side.LOADS.one)}"
    state = f"answers at {pixel.listen}; {counted} since its start"
    wrong = _unwell(pixel)
    status: Literal["failed", "ok"] = "failed" if wrong else "ok"
    advice = "docs/operations.md says what to do about each failure." if wrong else ""
    checks = [Check("serve", status, f"{state}; {wrong}" if wrong else state, advice)]
    refused = int(sum(metrics.get(f'rejected_total{{reason="{why}"}}', 0) for why in _REFUSED))
    if refused > _MANY * (hits + loads + refused):
        checks.append(Check("domains", "warning", f"{refused:,} page views were refused by domain", _REFUSED_ADVICE))
    return checks


_REFUSED = ("domain_not_allowed", "too_many_domains")
_REFUSED_ADVICE = (
    "Does domains under [pixel] have all names of your sites, with www and without? "
    "To check one: pfa-flux doctor https://www.example.com/"
)


def _unwell(pixel: PixelSettings) -> str:
    """What is wrong according to /healthz; empty if nothing is."""
    try:
        status, body = _ask(pixel.admin, "GET", "/healthz")
        health = json.loads(body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"/healthz cannot be read ({_word(error)})"
    if status == 200 or not isinstance(health, dict):
        return ""
    journal = str(health.get("journal", ""))
    wrong = [str(each) for each in health.get("wrong", [])] + ([journal] if journal.startswith("not ") else [])
    return printable("; ".join(wrong) or "it is about to end")


def counts(pixel: PixelSettings) -> dict[str, float] | None:
    """/metrics of the pixel, by name without the prefix; None if they cannot be read."""
    if not pixel.admin:
        return None
    try:
        status, body = _ask(pixel.admin, "GET", "/metrics")
        return {name: float(value) for name, value in _METRIC.findall(body)} if status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None


def _ask(address: str, method: str, path: str) -> tuple[int, str]:
    """Status and body of the answer at a listening address. The pixel does not count this request."""
    client = http.client.HTTPConnection("localhost", timeout=_SECONDS)
    client.sock = _connected(address)
    try:
        client.request(method, path, headers={"Sec-Purpose": CHECK, "Connection": "close"})
        answer = client.getresponse()
        return answer.status, answer.read(1 << 20).decode("utf-8", "replace")
    finally:
        client.close()


def _connected(address: str) -> socket.socket:
    if not address.startswith("unix:"):
        host, _, port = reached_at(address).rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS)
    made = socket.socket(socket.AF_UNIX)
    try:
        made.settimeout(_SECONDS)
        made.connect(address.removeprefix("unix:"))
    except OSError:
        made.close()
        raise
    return made
