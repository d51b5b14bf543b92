"""What a server's refusal means: an unknown token, or a missing right and the commands that need it."""

from __future__ import annotations

import re
from typing import NamedTuple

from pfa_flux.errors import AccessDeniedError

DENIED = re.compile(
    r"unauthori[sz]ed|not authori[sz]ed|authorization failed|insufficient permissions|forbidden|"
    r"requires (?:READ|WRITE)\b",
    re.I,
)
"""A refusal because of a missing right. Its status may also be 500."""
_UNKNOWN_2 = re.compile(r"^unauthori[sz]ed(?: access)?$", re.I)
_UNKNOWN_1 = re.compile(r"authorization failed|unable to parse authentication credentials", re.I)
_NAMED = re.compile(r"requires ((?:READ|WRITE|ALL PRIVILEGES)(?: (?:on|for) [^;]+)?|admin privilege)", re.I)

_UPGRADED = (
    " InfluxDB 2 needs an API token, not user:password: influxd upgrade keeps the users of 1.x only for the 1.x "
    "compatibility API. Create a token with influx auth create."
)


class Right(NamedTuple):
    """A right.

    Attributes:
        name: name of the right.
        needed: the commands that need the right, with their verb.
        without: what works without the right.
    """

    name: str
    needed: str
    without: str

    def hint(self, named: str = "") -> str:
        """The hint: what the token lacks, what needs it, and what works without it. `named` is the server's name."""
        return f"The token lacks {named or self.name}. {self.needed} it. {self.without}"


READ = Right(
    "the right to read the bucket",
    "blocked-ratio, report, view, task status and task verify need",
    "serve does not need it.",
)
WRITE = Right(
    "the right to write the bucket",
    "serve writes to the raw bucket, and install-task, task backfill and task verify --repair write to the rollup "
    "bucket: they need",
    "blocked-ratio, report, view and task verify do not need it.",
)
TASKS = Right(
    "the right to read and write tasks",
    "install-task, task plan, runs, logs, run, enable, disable and remove need",
    "Figures, task verify, backfill and repair do not need it. With --backend runner, pfa-flux runs the tasks itself.",
)
BUCKETS = Right(
    "the right to create buckets (on 1.x, an administrator's right)",
    "Only --create-buckets needs",
    "If you create the bucket yourself, pfa-flux does not need it.",
)
ORGS = Right(
    "the right to read organisations", "Only the search for the organisation needs", "Set PFA_FLUX_ORG instead."
)


def denied(url: str, what: str, message: str, *, token: bool, pair: bool) -> AccessDeniedError:
    """The error for a refusal.

    Args:
        url: the server's address.
        what: the request.
        message: the server's message.
        token: whether a token was given.
        pair: whether the token has the form user:password.
    """
    refused = f"{url} refuses {what}: {message}"
    if not token:
        return AccessDeniedError(
            refused, "Set a token with PFA_FLUX_TOKEN or PFA_FLUX_TOKEN_FILE (user:password on 1.x)."
        )
    if _UNKNOWN_2.search(message):
        more = _UPGRADED if pair else ""
        return AccessDeniedError(
            f"{url} does not know the token ({message})",
            f"Check the token (PFA_FLUX_TOKEN or PFA_FLUX_TOKEN_FILE). influx auth list shows all tokens.{more}",
        )
    if _UNKNOWN_1.search(message):
        return AccessDeniedError(
            f"{url} does not know the user, or the password is wrong ({message})",
            "Check the token (PFA_FLUX_TOKEN or PFA_FLUX_TOKEN_FILE): on 1.x it is user:password.",
        )
    named = _NAMED.search(message)
    return AccessDeniedError(refused, _right(what, message).hint(named[1] if named else ""))


def _right(what: str, message: str) -> Right:
    """The right that a request needs."""
    method, _, path = what.partition(" ")
    if "/tasks" in path:
        return TASKS
    if "CREATE " in message or "DROP " in message or (method != "GET" and path.startswith("/api/v2/buckets")):
        return BUCKETS
    if path.startswith(("/api/v2/write", "/api/v2/delete")) or "DELETE " in message:
        return WRITE
    return ORGS if path.startswith("/api/v2/orgs") else READ
