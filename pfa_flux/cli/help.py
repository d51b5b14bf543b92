"""Content of `--help` besides docstrings: a short text for each command, examples, and values of options."""

from __future__ import annotations

import enum
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SUMMARIES: Mapping[str, str] = {
    "init": "Set up: settings, tasks, nginx, pages.",
    "config": "The settings.",
    "doctor": "Check the whole installation.",
    "demo": "Try it on simulated visits.",
    "blocked-ratio": "The ratio, with its interval.",
    "report": "The ratio as one HTML file.",
    "digest": "A week as text, for cron and mail.",
    "view": "The ratio as a live page.",
    "dashboard": "For Grafana and InfluxDB 2.",
    "serve": "Serve the pixel, and count.",
    "nginx": "Print the nginx configuration.",
    "systemd": "Print the systemd unit.",
    "tags": "Print the tags for your pages.",
    "quarantine": "Hits that InfluxDB refused.",
    "copy": "Move to another store.",
    "install-task": "Install the 15-minute tasks.",
    "task": "The tasks: status, gaps, repair.",
}
"""By command, short enough for an overview of 60 columns."""

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "": (
        "Set up:",
        "  pfa-flux init",
        "  pfa-flux doctor",
        "Ask:",
        "  pfa-flux blocked-ratio --site blog --start 7d",
        "  pfa-flux view",
        "Look after the data:",
        "  pfa-flux task status",
        "  pfa-flux task repair",
    ),
    "blocked-ratio": (
        "  pfa-flux blocked-ratio --domain example.com",
        "  pfa-flux blocked-ratio --site blog --by network --start 30d",
        "  pfa-flux blocked-ratio --by time --every 1d --start 2026-11",
        "  pfa-flux blocked-ratio --by page --format csv",
    ),
    "digest": ("  pfa-flux digest --site blog | mail -s Digest me@example.com",),
    "report": ("  pfa-flux report --site blog --start 30d --out report.html",),
    "copy": (
        "  pfa-flux copy --to influxdb.toml --dry-run",
        "  pfa-flux copy --to influxdb.toml",
        "  pfa-flux copy --to influxdb.toml --start 2d",
    ),
    "serve": (
        "  pfa-flux serve",
        "  pfa-flux serve --listen unix:/run/pfa-flux/pixel.sock",
    ),
}


def examples(command: str = "") -> str:
    """Examples of a command as unwrapped lines; without a command, examples of the program."""
    return "\n".join(("\b", *([] if not command else ["Examples:"]), *EXAMPLES[command]))


def kind_name(kind: Any) -> str:
    """Values of an option: members of an enumeration, or a kind; empty for a flag."""
    given = [each for each in typing.get_args(kind) if each is not types.NoneType]
    if given:
        return kind_name(given[0])
    if kind is bool:
        return ""
    if issubclass(kind, enum.Enum):
        return "|".join(member.value for member in kind)
    return {int: "NUMBER", Path: "FILE"}.get(kind, "TEXT")


def with_kinds(command: Callable[..., None]) -> Callable[..., None]:
    """Make the help of options name their values instead of Python types."""
    options = inspect.signature(command, eval_str=True).parameters.values()
    for option in options:
        kind, info = typing.get_args(option.annotation)[:2]
        info.metavar = info.metavar or kind_name(kind) or None
    # Text would be parsed again.
    command.__annotations__ = {option.name: option.annotation for option in options}
    return command
