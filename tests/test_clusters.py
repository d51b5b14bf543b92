"""openGemini, and what clusters and servers without DELETE have in common: strays become 0, parts are no answer."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pfa_flux import Analytics, PartialAnswerError, Point, settings
from pfa_flux.schema import Side
from pfa_flux.windows.store_check import check_store
from tests.cli import pfa_flux
from tests.contract import analytics, fill
from tests.data import HOUR, MINUTE, T0
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace
from tests.engines.servers import Server
from tests.gemini import Gemini
from tests.ledger import NOW, codes, figures, from_rollups, passes, rollup_row, views
from tests.load import send
from tests.pixel_server import PixelServer
from tests.stored import total, until
from tests.test_shipping import pages

WINDOW = 15 * MINUTE


@contextmanager
def reached(workspace: Workspace, url: str) -> Iterator[Workspace]:
    """The workspace by another address; what tests put there goes to the server itself."""
    real = workspace.server
    server: Server = copy.copy(real)
    server.url = url
    workspace.server = server
    try:
        yield workspace
    finally:
        workspace.server = real


def strays(made: Analytics) -> list[Point]:
    """Rows that have no business in the rollup bucket: with a further tag, of a page without hits, beside the edges."""
    at = T0 + 2 * HOUR + WINDOW
    return [
        *(rollup_row(made, Side.HITS, T0 + n * HOUR + WINDOW, 2, host="kapacitor") for n in range(0, 40, 3)),
        rollup_row(made, Side.HITS, at, 7, page="/never"),
        rollup_row(made, Side.LOADS, at, 3, page="/never"),
        rollup_row(made, Side.HITS, at - MINUTE, 5),
    ]


def answers(made: Analytics) -> list[object]:
    """What rollups say, by every key, with its warnings."""
    by = (["domain"], ["page"], ["domain", "page"], ["time"])
    return [(str(found), found.warnings) for found in (from_rollups(made, by=keys) for keys in by)]


URLS = os.environ.get("PFA_FLUX_TEST_OPENGEMINI_URLS", "")
"""Addresses of a real cluster, with commas between."""

if URLS:

    def test_the_same_on_a_real_cluster() -> None:
        server = Server("opengemini", "", "named in the environment", URLS.partition(",")[0])
        with closing(Workspace(server)) as workspace:
            fill(workspace, NOW, views())
            server.url = URLS
            until(lambda: counted(workspace) == 120, "all is shown")
            with analytics(workspace, NOW) as made:
                check_store(made.engine, workspace.rollup)
                check_repair(made)
            server.url = URLS.partition(",")[0]


def counted(workspace: Workspace) -> int:
    """Page views that the workspace shows, of both sides."""
    with analytics(workspace, NOW) as made:
        (row,) = made.blocked_ratio(start=T0, stop=NOW, by="none", source="raw")
        return row.hits + row.js


@pytest.mark.slow
def test_a_cluster_that_shows_points_late_is_repaired_as_well(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-1.8")
    fill(workspace, NOW, views())
    real = workspace.server.url
    with Gemini(real) as gemini, reached(workspace, gemini.url), analytics(workspace, NOW) as made:
        found = check_store(made.engine, workspace.rollup)
        assert (found.delay >= 2.0, found.deletes, found.faults) == (True, False, ())
        check_repair(made, gemini.settle)


def check_repair(made: Analytics, settle: Callable[[], None] = lambda: None) -> None:
    """Strays are found, made nothing, and stay so, for whoever looks and however."""
    passes(made)
    settle()
    right = answers(made)
    made.engine.write(made.settings.rollup_bucket, strays(made))
    settle()
    assert from_rollups(made, by=["page"]).rows != ()
    hits, loads = made.task(backend="runner"), made.task("loads", backend="runner")
    assert (hits.verify(T0, NOW).clean, loads.verify(T0, NOW).clean) == (False, False)
    assert hits.repair(T0, NOW)[0].count == 16
    assert loads.repair(T0, NOW)[0].count == 1
    for task in (hits, loads):
        assert task.verify(T0, NOW).clean
        assert task.gaps(T0, NOW).state == "complete"
    settle()
    assert figures(from_rollups(made)) == [(80, 40)]
    assert answers(made) == right
    assert "rollup_unproved" not in codes(from_rollups(made))
    assert {row.key["page"] for row in made.pages(start=T0, stop=NOW)} == {"/0", "/1", "/2"}
    # A stray that comes again is found again, and one at the place of a 0 as well.
    made.engine.write(made.settings.rollup_bucket, strays(made)[:2])
    assert hits.verify(T0, NOW).count == 2
    assert hits.repair(T0, NOW)[0].count == 2
    assert hits.verify(T0, NOW).clean
    settle()
    assert answers(made) == right


def test_a_cluster_without_delete_is_repaired_and_keys_of_strays_stay_out_of_answers(
    make_workspace: MakeWorkspace,
) -> None:
    workspace = make_workspace("influxdb-1.8")
    fill(workspace, NOW, views())
    with (
        Gemini(workspace.server.url, delay=0) as gemini,
        reached(workspace, gemini.url),
        analytics(workspace, NOW) as made,
    ):
        assert (made.engine.capabilities.engine, made.engine.capabilities.version) == ("influxdb1", "1.5.2")
        check_repair(made)
        assert any(text.startswith("DELETE") for text in gemini.statements)


def test_rows_that_a_delete_would_not_leave_alone_become_nothing(make_workspace: MakeWorkspace) -> None:
    # InfluxDB 1.8's DELETE knows no retention policies, and another one has the same measurements.
    workspace = make_workspace("influxdb-1.8")
    fill(workspace, NOW, views())
    database, _, _ = workspace.rollup.partition("/")
    workspace.client.influxql(f'CREATE RETENTION POLICY "other" ON "{database}" DURATION 0s REPLICATION 1')
    with analytics(workspace, NOW) as made:
        others = strays(made)[:6]
        made.engine.write(f"{database}/other", others)
        check_repair(made)
        kept = workspace.client.influxql('SELECT count(hitcount) FROM "other"."pf_analytics_pixel"', db=database)
        assert [row["count"] for row in kept] == [6]


def test_answers_are_partial_while_a_node_is_gone(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-1.8")
    fill(workspace, NOW, views())
    with (
        Gemini(workspace.server.url, delay=0) as gemini,
        reached(workspace, gemini.url),
        analytics(workspace, NOW) as made,
    ):
        passes(made)
        task, right = made.task(backend="runner"), answers(made)
        gemini.lost = {"127.0.0.2:8400"}
        found = made.blocked_ratio(start="2d", source="raw")
        assert found.warnings[0].code == "partial_data"
        assert "A node of its cluster may be down" in found.warnings[0].message
        assert made.hits(start="2d").warnings[0].code == "partial_data"
        for act in (task.verify, task.gaps, task.backfill):
            with pytest.raises(PartialAnswerError, match="nothing was changed"):
                act(T0, NOW)
        # One that is lost in the middle: the first questions were answered in full.
        gemini.lost, gemini.lose_after = set(), 3
        with pytest.raises(PartialAnswerError):
            task.verify(T0, NOW)
        assert gemini.lost == {"127.0.0.3:8400"}
        gemini.lost = set()
        # Whether it was there all the time is not known of the questions that were asked meanwhile.
        assert task.verify(T0, NOW).clean
        assert answers(made) == right
        assert task.gaps(T0, NOW).state == "complete"


def test_buckets_are_made_on_a_cluster(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-1.8")
    with Gemini(workspace.server.url, delay=0) as gemini, reached(workspace, gemini.url):
        values = {**workspace.settings(), "replication": "2"}
        name = f"{workspace.rollup.partition('/')[0]}_more"
        with Analytics(settings.load(values, environ={})) as made:
            can = made.engine.capabilities
            assert (can.engine, can.title) == ("influxdb1", f"openGemini {can.version}")
            assert made.blocked_ratio().store.title == f"openGemini {can.version}"
            made.engine.create_bucket(f"{name}/analytics")
            assert made.engine.has_bucket(f"{name}/analytics")
            policies = made.engine.statement(f'SHOW RETENTION POLICIES ON "{name}"', {})  # type: ignore[attr-defined]
            assert {row["name"]: row["replicaN"] for row in policies} == {"autogen": 2, "analytics": 2}
            made.engine.drop_bucket(f"{name}/analytics")
            made.engine.statement(f'DROP DATABASE "{name}"', {})  # type: ignore[attr-defined]
        assert not any(" INF" in text for text in gemini.statements)


@pytest.mark.slow
def test_the_whole_on_a_cluster_that_shows_points_late(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace("influxdb-1.8")
    with Gemini(workspace.server.url) as gemini:
        env = {**workspace.env(), "PFA_FLUX_URL": gemini.url}
        given: dict[str, Any] = {k: v for k, v in workspace.settings().items() if k not in {"data_dir", "url"}}
        with PixelServer(tmp_path, url=gemini.url, **given) as server:
            assert send(server.listen, pages(50)).counted == 50
            until(lambda: total(workspace) == 50, "all in the database")
        gemini.settle()
        told = pfa_flux("install-task", "--hits-only", "--backend", "runner", env=env)
        assert told.code == 0, told.err
        checked = pfa_flux("doctor", env=env)
        assert "shows points after" in checked.out
        assert "does not delete" in checked.out
        for command in (("task", "run"), ("task", "backfill"), ("task", "verify"), ("task", "status")):
            done = pfa_flux(*command, "--hits-only", "--backend", "runner", env=env)
            assert done.code == 0, (command, done.out, done.err)
        figure = pfa_flux("blocked-ratio", "--by", "none", "--format", "json", env=env)
        assert [row["hits"] for row in figure.json["rows"]] == [50]
