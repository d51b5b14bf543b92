"""The house: imports run one way, from room to room and from file to file, and the picture of it is true."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_SPEC = importlib.util.spec_from_file_location("rooms", ROOT / "docs" / "rooms.py")
assert _SPEC is not None
assert _SPEC.loader is not None
rooms = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(rooms)

ORDER = (
    *(
        "errors",
        "deprecated",
        "foreign",
        "schema",
        "times",
        "files",
        "registry",
        "names",
        "shown",
        "settings",
        "arguments",
    ),
    *("engines", "windows", "copying", "tasks", "ratio", "present", "analytics", "public"),
    *("pixel", "journal", "helper", "serve", "demo", "setup", "doctor", "view", "cli", "start"),
)
"""A room imports from those before it."""
MODULES = rooms.modules()
GRAPH = {module: rooms.imports(path, MODULES) for module, path in MODULES.items() if module != "pfa_flux"}


def test_every_room_has_its_place() -> None:
    assert set(ORDER) == {rooms.room(module) for module in GRAPH}


def test_imports_run_one_way() -> None:
    wrong = [
        f"{module} imports {other}"
        for module, others in GRAPH.items()
        for other in others
        if ORDER.index(rooms.room(other)) > ORDER.index(rooms.room(module))
    ]
    assert wrong == []


def test_no_file_imports_another_that_leads_back_to_it() -> None:
    assert rooms.circles(GRAPH) == []


def test_a_circle_is_seen() -> None:
    assert rooms.circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a", "e"}}) == [["a", "b", "c"]]
    assert rooms.circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("room", ["ratio", "windows", "engines", "tasks", "pixel", "journal"])
def test_what_computes_knows_nothing_of_looks(room: str) -> None:
    looks = {"rich", "typer", "matplotlib", "html", "pandas"}
    found = {
        f"{path}: {line}"
        for path in (ROOT / "pfa_flux" / room).rglob("*.py")
        for line in map(str.strip, path.read_text(encoding="utf-8").splitlines())
        if line.startswith(("import ", "from ")) and line.split()[1].partition(".")[0] in looks
    }
    assert found == set()


def test_only_the_command_line_imports_typer() -> None:
    importing = {
        path.relative_to(ROOT / "pfa_flux").parts[0]
        for path in (ROOT / "pfa_flux").rglob("*.py")
        if any(line.strip().startswith(("import typer", "from typer")) for line in path.read_text().splitlines())
    }
    assert importing == {"cli"}


def test_the_picture_of_the_rooms_is_made_from_this_code() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs/rooms.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
