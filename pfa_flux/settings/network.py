"""Settings about the network: addresses of servers and clusters, a proxy, and what a cluster is asked for."""

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
"""Keys that take several addresses, and where all but the first are kept."""
RECIPIENTS = ("url", "write_url", "kapacitor_url", "proxy")
"""Keys that say where a token goes, and what it passes on the way."""
NO_PROXY = "none"
"""As the proxy: none, whatever the environment says."""
CONSISTENCIES = ("any", "one", "quorum", "all")
"""How many nodes of a cluster have to have a write before it is confirmed."""
_MOST_COPIES = 100


def addresses(value: object, source: str, key: str) -> tuple[str, ...]:
    """Addresses of a list, or of a string with commas between them, each once.

    Raises:
        SettingsError: it is neither, or one is empty or holds a control character.
    """
    if isinstance(value, str):
        # An empty one says that there is none.
        found = [part.strip() for part in value.split(",")] if value else []
    elif isinstance(value, list) and all(isinstance(each, str) for each in value):
        found = value
    else:
        words = f"{source}: {key} is {type(value).__name__}, not a string or a list of strings"
        raise SettingsError(words, f'Write {key} = "…", or {key} = ["…", "…"].')
    if not all(found):
        raise SettingsError(f"{source}: {key} names an empty address", f'Write {key} = ["http://a:8086", "…"].')
    if any(CONTROL.search(each) for each in found):
        raise SettingsError(f"{source}: {key} holds a control character", "Write it anew, and nothing else.")
    return tuple(dict.fromkeys(found))


def replication(value: object, source: str) -> int:
    """Copies that a cluster keeps of each point."""
    copies = positive_int(value, f"{source}: replication")
    if copies > _MOST_COPIES:
        raise SettingsError(f"{source}: replication is {copies}", "Write the number of copies, such as 2.")
    return copies


def consistency(value: object, source: str) -> str:
    """How many nodes have to have a write."""
    return choice(value, f"{source}: consistency", CONSISTENCIES)


def check(settings: Settings, problems: Problems) -> None:
    """Look at addresses, and compare them with each other and with what goes with them."""
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
                "kapacitor_url is set and url is not", "Name the InfluxDB 1.x behind it with PFA_FLUX_URL."
            )
    if settings.client_key and not settings.client_cert:
        with problems.of("client_key"):
            raise SettingsError("client_key is set and client_cert is not", "Name the certificate with client_cert.")


def _check_relay(settings: Settings) -> None:
    if registry.registration(settings.url).hits != "spool":
        raise SettingsError("write_url is set and url is no InfluxDB", "Name the database behind it with PFA_FLUX_URL.")


def _check_address(key: str, value: str) -> None:
    if key == "proxy" and value in {"", NO_PROXY}:
        return
    if key == "url":
        registry.registration(value)
    try:
        parts = urlsplit(value)
        # It is read here, because a bad one is an error only then.
        _ = parts.port
    except ValueError as error:
        raise SettingsError(f"{key} is no address", "Write for example http://localhost:8086.") from error
    web = key != "url" or parts.scheme in {"http", "https"}
    if value and (not parts.hostname or (web and parts.scheme not in {"http", "https"})):
        raise SettingsError(f"{key} is not an http or https address", "Write for example http://localhost:8086.")
    if parts.username or parts.password:
        where = "Give it in HTTPS_PROXY or HTTP_PROXY." if key == "proxy" else "Put it in token_file as user:password."
        raise SettingsError(f"{key} holds a user name or password", where)


def shown(first: str, others: tuple[str, ...]) -> Any:
    """Addresses as `config check` shows them: one as it is, several as a list."""
    return (first, *others) if others else first
