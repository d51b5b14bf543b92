"""The systemd unit of `pfa-flux serve`: the unit in docs/systemd, adapted to this installation.

https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from urllib.parse import urlsplit

from pfa_flux.settings import NO_PROXY, Settings

NAME = "pfa-flux.service"
STATE = Path("/var/lib/pfa-flux")
"""Data directory of a service with its own user: %S/pfa-flux in the unit."""

_COMMAND = "/usr/local/bin/pfa-flux serve --listen unix:%t/pfa-flux/pixel.sock"
_OWN_USER = ("DynamicUser=", "StateDirectory=", "StateDirectoryMode=")
_OF_USER = (
    *(
        "[",
        "Description=",
        "# It says",
        "Type=",
        "Environment=PFA_FLUX_DATA_DIR",
        "ExecStart=",
        "# It ends",
        "KillMode=",
    ),
    *("TimeoutStopSec=", "Restart=", "RestartSec=", "UMask=", "LimitCORE=", "MemoryMax=", "TasksMax="),
    *("RestrictAddressFamilies=", "NoNewPrivileges=", "RestrictNamespaces=", "RestrictRealtime=", "RestrictSUIDSGID="),
    *("LockPersonality=", "MemoryDenyWriteExecute=", "SystemCallArchitectures=", "WantedBy="),
)
"""Lines of the unit that also work in a user's systemd."""
_PLAIN = re.compile(r"[A-Za-z0-9/._:@+,=-]+")


@dataclass(frozen=True, slots=True)
class Place:
    """What the unit must know about the installation.

    Attributes:
        command: the installed `pfa-flux`.
        config: its settings file.
        token_file: its token file; None without one.
        user: user that runs `serve` if the data is not in `STATE`.
    """

    command: Path
    config: Path
    token_file: Path | None
    user: str


def unit(settings: Settings, place: Place) -> str:
    """The unit. It has its own user if the data is in `STATE`; otherwise the data's owner runs it."""
    serve = f"{_word(place.command)} serve --config {_word(place.config)}"
    lines = _template().read_text(encoding="utf-8").replace(_COMMAND, serve).splitlines()
    reached = (*settings.urls, *settings.write_urls, "" if settings.proxy == NO_PROXY else settings.proxy)
    allowed = dict.fromkeys(line for url in reached for line in _allowed(url))
    lines = _after(lines, "IPAddressAllow=", list(allowed))
    if settings.data_dir == STATE:
        if place.token_file is not None:
            credential = f"LoadCredential=token:{_escaped(place.token_file)}"
            shown = [credential if line.startswith("#LoadCredential=") else line for line in lines]
            lines = [
                line.removeprefix("#") if line.startswith("#Environment=PFA_FLUX_TOKEN") else line for line in shown
            ]
        return "\n".join((*lines, ""))
    lines = [
        line for line in lines if not line.startswith((*_OWN_USER, "#LoadCredential=", "#Environment=PFA_FLUX_TOKEN"))
    ]
    lines = [line for line in lines if line != "# With InfluxDB; root alone needs to be able to read the file."]
    own = {
        "User=pfa-flux": f"User={place.user}\nReadWritePaths={_word(settings.data_dir)}",
        "Environment=PFA_FLUX_DATA_DIR=%S/pfa-flux": f"Environment={_word(f'PFA_FLUX_DATA_DIR={settings.data_dir}')}",
        "ProtectHome=yes": "ProtectHome=read-only",
    }
    return "\n".join((*(own.get(line, line) for line in lines), ""))


def user_unit(settings: Settings, place: Place) -> str:
    """The unit for a user's own systemd, which offers less isolation."""
    own = {
        f"ExecStart={_COMMAND}": f"ExecStart={_word(place.command)} serve --config {_word(place.config)}",
        "WantedBy=multi-user.target": "WantedBy=default.target",
        "Environment=PFA_FLUX_DATA_DIR=%S/pfa-flux": f"Environment={_word(f'PFA_FLUX_DATA_DIR={settings.data_dir}')}",
    }
    lines = [line for line in _template().read_text(encoding="utf-8").splitlines() if line.startswith(_OF_USER)]
    text = "\n".join((*(own.get(line, line) for line in lines), ""))
    return text.replace("\n[", "\n\n[")


def _template() -> Traversable:
    installed = files("pfa_flux") / "_systemd"
    root: Traversable = installed if installed.is_dir() else Path(__file__).parents[2] / "docs" / "systemd"
    return root / NAME


def _after(lines: Sequence[str], start: str, more: Sequence[str]) -> list[str]:
    at = next(i for i, line in enumerate(lines) if line.startswith(start))
    return [*lines[: at + 1], *more, *lines[at + 1 :]]


def _allowed(url: str) -> list[str]:
    """Lines that allow the addresses of a server on another machine."""
    host = urlsplit(url).hostname
    if not host:
        return []
    try:
        addresses = {str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return [f"# The address of {host}:", "#IPAddressAllow="]
    return [f"IPAddressAllow={each}" for each in sorted(addresses) if not ipaddress.ip_address(each).is_loopback]


def _escaped(word: object) -> str:
    """A text with the characters escaped that systemd would expand."""
    return str(word).replace("\\", "\\\\").replace("%", "%%").replace("$", "$$")


def _word(word: object) -> str:
    text = _escaped(word)
    return text if _PLAIN.fullmatch(text) else '"' + text.replace('"', '\\"') + '"'
