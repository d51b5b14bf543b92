"""An answer of a server, and what it is if it is not what InfluxDB would give."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import urllib3
from influxdb_client.client.flux_csv_parser import FluxQueryException
from influxdb_client.rest import ApiException

from pfa_flux.errors import NotInfluxDBError, PfaFluxError

ANSWER_HINT = "Check PFA_FLUX_URL, and what stands between here and InfluxDB."


class MalformedAnswerError(NotInfluxDBError):
    """What is asked for is there, and answers something else than InfluxDB would."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer with a status of 2xx."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> dict[str, Any]:
        """The body, parsed.

        Raises:
            NotInfluxDBError: it is no JSON object.
        """
        try:
            found = json.loads(self.text)
        except (ValueError, RecursionError) as error:
            raise MalformedAnswerError("the server's answer is no JSON", ANSWER_HINT) from error
        if not isinstance(found, dict):
            raise MalformedAnswerError("the server's answer is no JSON object", ANSWER_HINT)
        return found

    def listed(self, key: str, *, required: bool = True) -> list[dict[str, Any]]:
        """The objects that the body lists under a key, which may be missing where it is not required.

        Raises:
            NotInfluxDBError: there is no such list.
        """
        body = self.json()
        found = body.get(key) or [] if key in body or not required else None
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise MalformedAnswerError(f"the server's answer has no list {key!r}", ANSWER_HINT)
        return found


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Read an answer within, or in a function that this decorates: one of another shape is told in words.

    Raises:
        NotInfluxDBError: something is missing from it, or is of another type.
    """
    try:
        yield
    except (PfaFluxError, OSError, ApiException, urllib3.exceptions.HTTPError, FluxQueryException):
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, csv.Error) as error:
        raise MalformedAnswerError(f"{what} is not what InfluxDB would give", ANSWER_HINT) from error


def relay_of(ping: Response) -> str:
    """What an answer to `/ping` says to be no database but to pass writes on, with its version; else empty."""
    if ping.headers.get("X-Influxdb-Build", "").lower() != "telegraf":
        return ""
    version = re.match(r"(?:Telegraf )?v?(\d[\w.+-]{0,40})", ping.headers.get("X-Influxdb-Version", ""))
    return f"Telegraf {version[1]}" if version else "Telegraf"
