"""Settings for the network: addresses of servers and clusters, the proxy, and the options of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pfa_flux import registry
from pfa_flux.errors import SettingsError
from pfa_flux.settings.checks import choice, positive_int
from pfa_flux.settings.problems import Problems
from pfa_flux.settings.secret import CONTROL

if TYPE_CHECKING:
    from pfa_flux.settings import Settings

LISTS: Mapping[str, str] = {"url": "other_urls", "write_url": "other_write_urls"}
"""Keys that take several addresses, and the attributes for all but the first."""
RECIPIENTS = ("url", "write_url", "kapacitor_url", "proxy")
"""Keys with the addresses that receive a token, or that pass it on."""
NO_PROXY = "none"
"""Value of `proxy` for no proxy, even if the environment names one."""
CONSISTENCIES = ("any", "one", "quorum", "all")
"""How many nodes of a cluster must have a write before the cluster confirms it."""
_MOST_COPIES = 100


def addresses(value: object, source: str, key: str) -> tuple[str, ...]:
    """Addresses from a list, or from a string with commas between them, each once.

    Raises:
        SettingsError: the value has another type, or an address is empty or contains a control character.
    """
    if isinstance(value, str):
        # An empty string means no address.
        urls = [part.strip() for part in value.split(",")] if value else []
    elif isinstance(value, list) and all(isinstance(each, str) for each in value):
        urls = value
    else:
        message = f"{source}: {key} is {type(value).__name__}, not a string or a list of strings"
        raise SettingsError(message, f'Write {key} = "…", or {key} = ["…", "…"].')
    if not all(urls):
        raise SettingsError(f"{source}: {key} has an empty address", f'Write {key} = ["http://a:8086", "…"].')
    if any(CONTROL.search(each) for each in urls):
        raise SettingsError(f"{source}: {key} contains a control character", "Type the value again.")
    return tuple(dict.fromkeys(urls))


def replication(value: object, source: str) -> int:
    """How many copies of each point a cluster keeps."""
    copies = positive_int(value, f"{source}: replication")
    if copies > _MOST_COPIES:
        raise SettingsError(f"{source}: replication is {copies}", "Write the number of copies, such as 2.")
    return copies


def consistency(value: object, source: str) -> str:
    """How many nodes must have a write before the cluster confirms it."""
    return choice(value, f"{source}: consistency", CONSISTENCIES)


def check(settings: Settings, problems: Problems) -> None:
    """Check the addresses, and the settings that belong to them."""
    for key in RECIPIENTS:
        with problems.of(key):
            for each in (getattr(settings, key), *getattr(settings, LISTS.get(key, ""), ())):
                _check_address(key, each)
    if settings.write_url and problems.none_of("url", "write_url"):
        with problems.of("write_url"):
            _check_relay(settings)
    if settings.kapacitor_url and not settings.url and problems.none_of("url", "kapacitor_url"):
        with problems.of("kapacitor_url"):
            raise SettingsError(
                "kapacitor_url is set, but url is not", "Set PFA_FLUX_URL to the InfluxDB 1.x of this Kapacitor."
            )
    if settings.client_key and not settings.client_cert:
        with problems.of("client_key"):
            raise SettingsError("client_key is set, but client_cert is not", "Set client_cert to the certificate.")


def _check_relay(settings: Settings) -> None:
    if registry.registration(settings.url).hits != "spool":
        raise SettingsError(
            "write_url is set, but url is not an InfluxDB address",
            "Set PFA_FLUX_URL to the database behind write_url.",
        )


def _check_address(key: str, value: str) -> None:
    if key == "proxy" and value in {"", NO_PROXY}:
        return
    if key == "url":
        registry.registration(value)
    try:
        parts = urlsplit(value)
        # Reading the port checks it.
        _ = parts.port
    except ValueError as error:
        raise SettingsError(f"{key} is not an address", "Write for example http://localhost:8086.") from error
    web = key != "url" or parts.scheme in {"http", "https"}
    if value and (not parts.hostname or (web and parts.scheme not in {"http", "https"})):
        raise SettingsError(f"{key} is not an http or https address", "Write for example http://localhost:8086.")
    if parts.username or parts.password:
        hint = (
            "Set HTTPS_PROXY or HTTP_PROXY instead."
            if key == "proxy"
            else "Put user:password into a file, and set token_file to its path."
        )
        raise SettingsError(f"{key} contains a user name or password", hint)


def shown(first: str, others: tuple[str, ...]) -> Any:
    """Addresses as `config check` shows them: one as a string, several as a list."""
    return (first, *others) if others else first
