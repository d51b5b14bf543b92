"""The answer of a server, and the error for an answer that InfluxDB would not give."""

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

ANSWER_HINT = "Check PFA_FLUX_URL, and any proxy in front of InfluxDB."


class MalformedAnswerError(NotInfluxDBError):
    """The path exists, but the answer is not in InfluxDB's format."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: its status, headers and text."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            NotInfluxDBError: the body is not a JSON object.
        """
        try:
            body = json.loads(self.text)
        except (ValueError, RecursionError) as error:
            raise MalformedAnswerError("the server's answer is not JSON", ANSWER_HINT) from error
        if not isinstance(body, dict):
            raise MalformedAnswerError("the server's answer is not a JSON object", ANSWER_HINT)
        return body

    def listed(self, key: str, *, required: bool = True) -> list[dict[str, Any]]:
        """The list of objects under a key in the body. If the key is not required, a missing list is empty.

        Raises:
            NotInfluxDBError: there is no such list.
        """
        body = self.json()
        objects = body.get(key) or [] if key in body or not required else None
        if not isinstance(objects, list) or not all(isinstance(each, dict) for each in objects):
            raise MalformedAnswerError(f"the server's answer has no list {key!r}", ANSWER_HINT)
        return objects


@contextmanager
def understood(what: str) -> Iterator[None]:
    """A context or decorator for code that reads an answer. It turns errors about the answer's format into ours.

    Raises:
        NotInfluxDBError: something is missing from the answer, or has another type.
    """
    try:
        yield
    except (PfaFluxError, OSError, ApiException, urllib3.exceptions.HTTPError, FluxQueryException):
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, csv.Error) as error:
        raise MalformedAnswerError(f"{what} is not in InfluxDB's format", ANSWER_HINT) from error


def relay_of(ping: Response) -> str:
    """Name and version of the relay that answered `/ping`. Empty if it was not a relay."""
    if ping.headers.get("X-Influxdb-Build", "").lower() != "telegraf":
        return ""
    version = re.match(r"(?:Telegraf )?v?(\d[\w.+-]{0,40})", ping.headers.get("X-Influxdb-Version", ""))
    return f"Telegraf {version[1]}" if version else "Telegraf"
