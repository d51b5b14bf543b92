"""What an engine is: all of the Protocol, one file and one registration, and nobody asks which one it is."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import pytest

import pfa_flux
from pfa_flux import InvalidValueError, SettingsError, registry, settings
from pfa_flux.doctor.checks import examine
from pfa_flux.engines.base import Engine
from pfa_flux.serve.server import serve
from tests import memory_engine
from tests.contract import LASTING, Target, analytics, fill, workspace_of
from tests.data import DAY, HOUR, T0, hit, load
from tests.engines.plugin import MakeWorkspace

ROOT = Path(pfa_flux.__file__).parent
MODULES = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in ROOT.rglob("*.py")}


def test_nobody_asks_what_an_engine_or_a_journal_is() -> None:
    named = {"Embedded", "Store", "Server", "InfluxDB1", "InfluxDB2", "Engine", "Spool", "StoreJournal", "JournalFile"}
    asked = [
        f"{module}:{node.lineno}"
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") in {"isinstance", "issubclass"}
        and named & {getattr(part, "id", getattr(part, "attr", "")) for part in ast.walk(node.args[1])}
    ]
    assert asked == []


def test_the_labels_of_windows_are_the_business_of_one_module() -> None:
    """Nobody else adds or takes a nanosecond; the store's file keeps labels, and says so where it takes them."""
    shifting = sorted(module for module, path in MODULES.items() if ".shift" in path.read_text())
    assert shifting == [
        "pfa_flux.engines.ask",
        "pfa_flux.engines.influxdb.languages.influxql",
        "pfa_flux.engines.influxdb.retype",
        "pfa_flux.engines.influxdb.server",
        "pfa_flux.engines.sqlite.engine",
    ]


@pytest.mark.parametrize("target", LASTING, ids=str)
def test_every_engine_has_all_of_the_protocol(target: Target, make_workspace: MakeWorkspace) -> None:
    with analytics(workspace_of(target, make_workspace), T0) as made:
        assert isinstance(made.engine, Engine)
        assert set(made.engine.dialects) <= set(registry.dialects())


def test_the_test_engine_is_known_by_its_address_and_dialect(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(memory_engine.NAME)
    fill(workspace, T0, [hit(T0), hit(T0 + 1), load(T0)])
    with analytics(workspace, T0 + DAY) as made:
        answer = made.blocked_ratio(dialect="python")
        assert (answer.engine, answer.dialect, [(r.hits, r.js) for r in answer]) == ("memory", "python", [(2, 1)])
        with pytest.raises(InvalidValueError, match=r"Use one of auto, join, union, influxql, sqlite, python"):
            made.blocked_ratio(dialect="latin")
        with pytest.raises(pfa_flux.CapabilityError, match=r"memory engine has no dialect 'join' .*Flux 0.172"):
            made.blocked_ratio(dialect="join")


def test_the_report_and_doctor_work_on_the_test_engine(make_workspace: MakeWorkspace) -> None:
    workspace, now = make_workspace(memory_engine.NAME), time.time_ns()
    fill(workspace, now, [*(hit(now - n * HOUR) for n in range(1, 40)), *(load(now - n * HOUR) for n in range(1, 20))])
    with analytics(workspace, now) as made:
        made.task().install()
        html, has_data = made.report(start="2d")
        found, error = examine(made.settings, now)
    assert has_data
    assert "<b>39</b>" in html
    assert "memory, query language python" in html
    assert error is None
    assert [check.status for check in found if check.name in {"engine", "task", "newest hit"}] == ["ok"] * 3


def test_a_pixel_that_an_engine_has_no_place_for_does_not_start(make_workspace: MakeWorkspace) -> None:
    own = settings.load(make_workspace(memory_engine.NAME).settings(), environ={})
    with pytest.raises(SettingsError, match=r"the pixel cannot write to memory://"):
        serve(own)


def test_an_address_that_no_engine_has_is_refused() -> None:
    with pytest.raises(SettingsError, match="url is not an http or https or memory address"):
        settings.load({"url": "ftp://example.com"}, environ={})
