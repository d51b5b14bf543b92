"""Texts of `--help` besides docstrings: a summary of each command, examples, and the values of options."""

from __future__ import annotations

import enum
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SUMMARIES: Mapping[str, str] = {
    "init": "Set up settings, tasks, nginx, pages.",
    "config": "Check the settings.",
    "doctor": "Check the whole installation.",
    "demo": "Try it on simulated visits.",
    "blocked-ratio": "Show the ratio and its interval.",
    "report": "Write the ratio as one HTML file.",
    "digest": "Sum up a week, for cron and mail.",
    "view": "Serve the ratio as a live page.",
    "dashboard": "For Grafana and InfluxDB 2.",
    "serve": "Serve the pixel and count hits.",
    "nginx": "Print the nginx configuration.",
    "systemd": "Print the systemd unit.",
    "tags": "Print the tags for your pages.",
    "quarantine": "Show hits that InfluxDB refused.",
    "copy": "Copy the data to another store.",
    "install-task": "Install the 15-minute tasks.",
    "task": "Show, check and repair the tasks.",
}
"""Summaries of the commands. They fit the overview at 60 columns."""

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "": (
        "Set up:",
        "  pfa-flux init",
        "  pfa-flux doctor",
        "Show the ratio:",
        "  pfa-flux blocked-ratio --site blog --start 7d",
        "  pfa-flux view",
        "Check and repair the data:",
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
    """Make the help of options name their values rather than Python types."""
    options = inspect.signature(command, eval_str=True).parameters.values()
    for option in options:
        kind, info = typing.get_args(option.annotation)[:2]
        info.metavar = info.metavar or kind_name(kind) or None
    # Annotations as text would be parsed again.
    command.__annotations__ = {option.name: option.annotation for option in options}
    return command
