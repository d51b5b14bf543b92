"""How answers fit a terminal: no figure is cut, long names lose their middle, and what is left out is said."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner

from pfa_flux.cli import app
from pfa_flux.cli.help import EXAMPLES, SUMMARIES
from pfa_flux.cli.task.show import unfolded
from pfa_flux.present.dates import short
from pfa_flux.present.sheet import Column, Sheet
from pfa_flux.present.terminal import shortened, table
from pfa_flux.times import parse_instant
from tests.contract import analytics, fill
from tests.data import DAY, HOUR, T0, hit, load
from tests.engines.plugin import MakeWorkspace

WIDTHS = [60, 80, 120, 200]
ONION = f"{'example' * 8}.onion"
PROGRAM = Path(sys.executable).with_name("pfa-flux")


def shown(result: object, width: int, *, terminal: bool = True) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=terminal, color_system=None, highlight=False).print(result)
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("by", [["domain"], ["network", "time"], ["page"], ["time"], ["domain", "page", "time"]])
def test_an_answer_fits_and_no_figure_is_cut(width: int, by: list[str], make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("embedded")
    long = "/blog/2026/11/a-rather-long-name-of-a-page-that-somebody-wrote"
    points = [
        make(T0 + n * HOUR + k, domain, page)
        for n in range(40)
        for k, domain in enumerate(("example.com", ONION, "example.i2p"))
        for page in ("/", long)
        for make in ((hit, load) if n % 3 else (hit,))
    ]
    fill(workspace, T0, points)
    with analytics(workspace, T0 + 2 * DAY) as made:
        answer = made.blocked_ratio(by=by, every="1h" if "time" in by else None, start="2d", compare=width > 100)
    lines = shown(answer, width)
    assert max(map(len, lines)) <= width
    figures = {f"{row.ratio * 100:.1f}%" for row in answer if row.ratio is not None} | {
        f"{row.hits:,}" for row in answer
    }
    whole = "\n".join(lines)
    assert all(figure in whole for figure in figures)
    if by == ["domain"] and width > 60:
        assert ".onion" in whole
    if "domain" in by and width == 60:
        assert "…" in whole
        assert ONION not in whole
    columns = ("hits", "ratio", *(("JS loads", "95% interval") if width == 200 else ()))
    assert all(column in whole for column in columns)
    left_out = [name for name in ("JS loads", "blocked", "95% interval") if name not in lines[1]]
    assert (f"No room for: {', '.join(left_out)}." in whole) or not left_out or "previous" in whole


@pytest.mark.parametrize("width", WIDTHS)
def test_a_pipe_gets_names_as_a_whole(width: int, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("embedded")
    fill(workspace, T0, [hit(T0, ONION)])
    with analytics(workspace, T0 + HOUR) as made:
        answer = made.blocked_ratio(start="1d")
    assert ONION in str(answer)
    assert ONION in answer.to_csv()
    assert ONION in answer.to_json()
    assert "…" not in str(answer)
    assert any("…" in line for line in shown(answer, 60))
    del width


def test_a_long_name_keeps_its_ends() -> None:
    assert shortened(ONION, 20) == "exampleexamp…e.onion"
    assert shortened("example.com", 11) == "example.com"
    assert all(len(shortened("x" * 80, width)) == width for width in range(3, 80))


def test_what_finds_no_room_is_named() -> None:
    sheet = Sheet(
        (Column("domain", "key"), Column("hits", "number"), Column("JS loads", "number", 4)), [("a" * 30, "1", "2")]
    )
    console = Console(width=24, file=io.StringIO(), force_terminal=True, color_system=None)
    lines = shown(table(console, sheet, 24), 24)
    assert lines[-1].strip() == "No room for: JS loads." or lines[-2].strip() == "No room for: JS loads."


def instants(*texts: str) -> list[int]:
    return [parse_instant(text, 0) for text in texts]


@pytest.mark.parametrize(
    ("zone", "texts", "names"),
    [
        ("UTC", ("2026-01-12T00:00:00Z", "2026-01-13T00:00:00Z"), ["12 Jan", "13 Jan"]),
        ("UTC", ("2026-01-12T00:00:00Z", "2026-01-12T01:00:00Z"), ["12 Jan, 00:00", "12 Jan, 01:00"]),
        ("UTC", ("2025-12-31T00:00:00Z", "2026-01-01T00:00:00Z"), ["31 Dec 2025", "1 Jan 2026"]),
        (
            "Europe/Berlin",
            ("2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"),
            ["25 Oct, 02:00 CEST", "25 Oct, 02:00 CET"],
        ),
    ],
)
def test_times_are_written_as_people_write_them(zone: str, texts: tuple[str, ...], names: list[str]) -> None:
    assert short(instants(*texts), ZoneInfo(zone)) == names


def test_a_script_in_a_log_has_its_lines() -> None:
    line = '2026-01-12T00:00:00Z Started task from script: "option task = {}\\n\\nfrom(bucket: \\"a\\")"'
    assert unfolded(line) == [
        "2026-01-12T00:00:00Z Started task from script:",
        "option task = {}",
        "",
        'from(bucket: "a")',
    ]
    assert unfolded("trigger_task_run: success") == ["trigger_task_run: success"]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_overview_cuts_no_description(width: int) -> None:
    done = subprocess.run([PROGRAM, "--help"], env={"COLUMNS": str(width)}, capture_output=True, text=True, check=True)
    assert "..." not in done.stdout.partition("Commands:")[2]
    assert max(map(len, done.stdout.splitlines())) <= width
    for name, words in SUMMARIES.items():
        assert f"{name} " in done.stdout
        assert words in done.stdout


@pytest.mark.parametrize("width", WIDTHS)
def test_the_help_of_no_command_is_wider_than_the_terminal(width: int) -> None:
    group = get_command(app)
    commands = [[name] for name in group.commands if name not in {"task", "config"}]  # type: ignore[attr-defined]
    commands += [["task", name] for name in group.commands["task"].commands]  # type: ignore[attr-defined]
    runner = CliRunner()
    for words in [*commands, ["config", "check"]]:
        shown = runner.invoke(app, [*words, "--help"], terminal_width=width).output
        assert "--help" in shown
        # A command that can be copied is not broken.
        lines = [line for line in shown.splitlines() if width > 60 or not line.startswith("    pfa-flux ")]
        assert max(map(len, lines)) <= width, words


def test_every_command_has_a_summary_and_every_example_is_understood() -> None:
    group = get_command(app)
    assert set(SUMMARIES) == set(group.commands)  # type: ignore[attr-defined]
    lines = [line.strip() for lines in EXAMPLES.values() for line in lines if line.strip().startswith("pfa-flux")]
    assert len(lines) > 10
    for line in lines:
        program, name, *words = shlex.split(line.partition(" | ")[0])
        command = group.commands[name]  # type: ignore[attr-defined]
        if hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        command.make_context(name, words, resilient_parsing=False)
        assert program == "pfa-flux"


def test_no_option_names_a_type_of_python() -> None:
    for command in ("blocked-ratio", "report", "serve", "init", "install-task", "doctor"):
        done = subprocess.run([PROGRAM, command, "--help"], capture_output=True, text=True, check=True)
        assert re.findall(r"--[a-z-]+ <.*?>", done.stdout) == []
