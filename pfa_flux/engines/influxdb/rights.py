"""What a server's refusal means: it does not know the token, or which right the token lacks, and who needs that."""

from __future__ import annotations

import re
from typing import NamedTuple

from pfa_flux.errors import AccessDeniedError

DENIED = re.compile(
    r"unauthori[sz]ed|not authori[sz]ed|authorization failed|insufficient permissions|forbidden|"
    r"requires (?:READ|WRITE)\b",
    re.I,
)
"""Words of a refusal for want of a right, which come with status 500, too."""
_UNKNOWN_2 = re.compile(r"^unauthori[sz]ed(?: access)?$", re.I)
_UNKNOWN_1 = re.compile(r"authorization failed|unable to parse authentication credentials", re.I)
_NAMED = re.compile(r"requires ((?:READ|WRITE|ALL PRIVILEGES)(?: (?:on|for) [^;]+)?|admin privilege)", re.I)

_UPGRADED = (
    " InfluxDB 2 takes an API token, and no user:password: influxd upgrade keeps the users of 1.x for its compatible "
    "API alone. Make a token with influx auth create."
)


class Right(NamedTuple):
    """A right.

    Attributes:
        name: what it is called.
        needed: the commands that need it, with their verb.
        without: what can be done without it.
    """

    name: str
    needed: str
    without: str

    def hint(self, named: str = "") -> str:
        """What is missing, for what it is needed, and what goes without it; `named` as the server calls it."""
        return f"The token lacks {named or self.name}. {self.needed} it. {self.without}"


READ = Right(
    "the right to read the bucket",
    "blocked-ratio, report, view, task status and task verify need",
    "serve, which only writes, goes without.",
)
WRITE = Right(
    "the right to write the bucket",
    "serve needs it on the raw bucket, and install-task, task backfill and task verify --repair on the rollup bucket: "
    "they need",
    "blocked-ratio, report, view and task verify go without.",
)
TASKS = Right(
    "the right to read and write tasks",
    "install-task, task plan, runs, logs, run, enable, disable and remove need",
    "Figures, task verify, backfill and repair go without, and with --backend runner pfa-flux runs the tasks itself.",
)
BUCKETS = Right(
    "the right to make buckets (on 1.x that of an administrator)",
    "Only --create-buckets needs",
    "Make the bucket beforehand, and everything goes without.",
)
ORGS = Right("the right to read organisations", "Nobody needs", "Name the organisation with PFA_FLUX_ORG.")


def denied(url: str, what: str, words: str, *, token: bool, pair: bool) -> AccessDeniedError:
    """The error of a refusal.

    Args:
        url: the server's address.
        what: what was asked.
        words: the server's.
        token: one was given.
        pair: it has the form user:password.
    """
    refused = f"{url} refuses {what}: {words}"
    if not token:
        return AccessDeniedError(
            refused, "Give a token with PFA_FLUX_TOKEN or PFA_FLUX_TOKEN_FILE (user:password on 1.x)."
        )
    if _UNKNOWN_2.search(words):
        more = _UPGRADED if pair else ""
        return AccessDeniedError(
            f"{url} does not know the token ({words})",
            f"Check the token (PFA_FLUX_TOKEN or PFA_FLUX_TOKEN_FILE); influx auth list shows those there are.{more}",
        )
    if _UNKNOWN_1.search(words):
        return AccessDeniedError(
            f"{url} does not know the user, or the password is another ({words})",
            "Check the token (PFA_FLUX_TOKEN or PFA_FLUX_TOKEN_FILE): on 1.x it is user:password.",
        )
    named = _NAMED.search(words)
    return AccessDeniedError(refused, _right(what, words).hint(named[1] if named else ""))


def _right(what: str, words: str) -> Right:
    """The right that a request needs."""
    method, _, path = what.partition(" ")
    if "/tasks" in path:
        return TASKS
    if "CREATE " in words or "DROP " in words or (method != "GET" and path.startswith("/api/v2/buckets")):
        return BUCKETS
    if path.startswith(("/api/v2/write", "/api/v2/delete")) or "DELETE " in words:
        return WRITE
    return ORGS if path.startswith("/api/v2/orgs") else READ
