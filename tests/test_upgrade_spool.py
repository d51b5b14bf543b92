"""Upgrading in place: every hit that waits in the spool of version 0.1 arrives once, and its quarantine is kept."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from tests.cli import pfa_flux
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace
from tests.load import get, send
from tests.pixel_server import PixelServer
from tests.stored import HITS, LOADS, points, until
from tests.test_upgrade_server import workspace_values
from tests.upgrading import (
    DOMAIN,
    WINDOW,
    copied,
    expected,
    late_windows,
    opened,
)


def test_what_0_1_put_into_quarantine_is_shown(tmp_path: Path) -> None:
    folder, said = copied("spool", tmp_path / "data"), expected("spool")
    shown = pfa_flux("quarantine", "--format", "json", "--data-dir", str(folder))
    assert (shown.code, shown.json) == (5, said["quarantine"])
    lines = pfa_flux("quarantine", "--lines", "--data-dir", str(folder))
    assert (lines.code, lines.out.splitlines()) == (0, said["quarantine_lines"])


def spooled(folder: Path, workspace: Workspace) -> PixelServer:
    """The pixel on a workspace, with the spool that 0.1 left."""
    server = PixelServer(folder, pixel={}, **dict[str, Any](workspace_values(workspace)))
    copied("spool", server.data_dir)
    return server


def arrived(workspace: Workspace) -> list[list[Any]]:
    """Hits and loads that the server holds, in the form of expected.json."""
    found = [
        [kind, row.get("scheme", "https"), row["domain"], row["page"], row["sess"], row["time"]]
        for kind, measurement in (("hit", HITS), ("load", LOADS))
        for row in points(workspace, measurement)
    ]
    return sorted(found)


def test_every_hit_that_waits_in_the_spool_of_0_1_arrives_once(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace, said = make_workspace("influxdb-2.7"), expected("spool")
    waiting = sorted(said["waiting"])
    server = spooled(tmp_path, workspace)
    with server:
        until(lambda: server.metrics()["journal_rows"] == 0, "an empty spool")
        assert server.metrics()["shipped_total"] == len(waiting) == 12
        assert server.metrics()["refused_points_total"] == 0
    assert arrived(workspace) == waiting
    # The next start ships new hits, and not those again that have arrived.
    with server:
        assert send(server.listen, [get("/after", DOMAIN)] * 2).counted == 2
        until(lambda: server.metrics()["shipped_total"] == 2, "the new hits shipped")
    assert [each for each in arrived(workspace) if each[2] != DOMAIN] == waiting
    assert len(arrived(workspace)) == len(waiting) + 2
    # All of them are late, so their windows are noted for repair.
    with opened(server.data_dir, time.time_ns(), **workspace_values(workspace)) as made:
        for what, kind in (("hits", "hit"), ("loads", "load")):
            ends = {each[5] // WINDOW * WINDOW + WINDOW for each in waiting if each[0] == kind}
            assert late_windows(made, what) == sorted(ends)  # type: ignore[arg-type]


def test_a_spool_of_0_1_survives_kill_9_while_it_is_shipped(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace, said = make_workspace("influxdb-2.7"), expected("spool")
    server, draw = spooled(tmp_path, workspace), random.Random(5)
    for _ in range(5):
        server.start()
        time.sleep(draw.uniform(0, 1.0))
        server.kill()
    with server:
        until(lambda: server.metrics()["journal_rows"] == 0, "an empty spool")
    assert arrived(workspace) == sorted(said["waiting"])


def test_what_0_1_put_into_quarantine_is_written_again(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace, said = make_workspace("influxdb-2.7"), expected("spool")
    folder = copied("spool", tmp_path / "data")
    env = {**workspace.env(), "PFA_FLUX_DATA_DIR": str(folder)}
    done = pfa_flux("quarantine", "--retry", env=env)
    assert (done.code, done.out) == (0, "")
    assert pfa_flux("quarantine", "--format", "json", env=env).json == []
    assert {each[5] for each in arrived(workspace)} == {
        int(line.rpartition(" ")[2]) for line in said["quarantine_lines"]
    }
    assert len(arrived(workspace)) == len(said["quarantine_lines"]) == 4
