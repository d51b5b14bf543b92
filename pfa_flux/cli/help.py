"""What `--help` shows beside the docstrings: a few words for each command, examples, and what options take."""

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
    "doctor": "Check that all of it works.",
    "demo": "See it work on simulated visits.",
    "blocked-ratio": "The share, with its interval.",
    "report": "The share as one HTML file.",
    "digest": "A week as text, for cron and mail.",
    "view": "The share as a live page.",
    "serve": "Answer the pixel, and count.",
    "nginx": "Print nginx's configuration.",
    "systemd": "Print systemd's unit.",
    "tags": "Print the tags of the pages.",
    "quarantine": "Hits that InfluxDB refused.",
    "install-task": "Install the 15-minute tasks.",
    "task": "The tasks: status, gaps, repair.",
}
"""By command, so short that an overview of 60 columns cuts none."""

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
    "serve": (
        "  pfa-flux serve",
        "  pfa-flux serve --listen unix:/run/pfa-flux/pixel.sock",
    ),
}


def examples(command: str = "") -> str:
    """Examples of a command, as lines that are not wrapped; of the whole without one."""
    return "\n".join(("\b", *([] if not command else ["Examples:"]), *EXAMPLES[command]))


def kind_name(kind: Any) -> str:
    """What an option takes: the members of an enumeration, or a kind; nothing of a flag."""
    given = [each for each in typing.get_args(kind) if each is not types.NoneType]
    if given:
        return kind_name(given[0])
    if kind is bool:
        return ""
    if issubclass(kind, enum.Enum):
        return "|".join(member.value for member in kind)
    return {int: "NUMBER", Path: "FILE"}.get(kind, "TEXT")


def with_kinds(command: Callable[..., None]) -> Callable[..., None]:
    """Let the help of a command's options say what they take, and not of which Python type it is."""
    options = inspect.signature(command, eval_str=True).parameters.values()
    for option in options:
        kind, info = typing.get_args(option.annotation)[:2]
        info.metavar = info.metavar or kind_name(kind) or None
    # As text they would be read anew.
    command.__annotations__ = {option.name: option.annotation for option in options}
    return command
