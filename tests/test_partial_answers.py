"""A store that answers in part and says so: figures carry a warning, and nothing is proved or changed by it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pfa_flux import Analytics, BucketNotFoundError, NotInfluxDBError, PartialAnswerError, Point, QueryError, settings
from pfa_flux.cli.exits import exit_code
from pfa_flux.engines.influxdb import answers
from pfa_flux.engines.sqlite.engine import Embedded
from pfa_flux.helper.housekeeper import purge
from pfa_flux.times import NS as SECOND
from tests.cli import pfa_flux
from tests.contract import analytics, fill
from tests.data import DAY, HOUR, MINUTE, T0, hit, load
from tests.engines import Workspace, start
from tests.engines.plugin import MakeWorkspace, Pool
from tests.meddling import Meddling

LIMIT = 100
"""Rows at which the server cuts an answer: fewer than windows in the 30 hours of `many`."""
SERIES = {"name": "m", "tags": {"page": "/"}, "columns": ["time", "n"], "values": [[1, 2]]}
ROW = {"measurement": "m", "page": "/", "time": 1, "n": 2}


def body(*results: dict[str, Any]) -> str:
    return "".join(json.dumps({"results": [{"statement_id": 0, **result}]}) + "\n" for result in results)


@pytest.mark.parametrize(
    ("text", "partial"),
    [
        (body({"series": [SERIES]}), False),
        (body({"series": [SERIES], "partial": True}), True),
        (body({"series": [SERIES | {"partial": True}]}), True),
        (body({"series": [SERIES], "partial": False}), False),
        (body({"series": [SERIES, {"name": "m", "columns": ["time"], "error": "shard 3 is away"}]}), True),
        (body({"series": [SERIES], "messages": [{"level": "warning", "text": "a node was slow"}]}), False),
        (" \n" + body({"series": [SERIES]}) + "\n ", False),
    ],
)
def test_an_answer_is_partial_where_its_json_says_so(text: str, partial: bool) -> None:
    assert answers.read(text) == ([ROW], partial)


@pytest.mark.parametrize(
    ("chunks", "partial"),
    [
        ([{"series": [SERIES], "partial": True}, {"series": [SERIES]}], False),
        ([{"series": [SERIES | {"partial": True}], "partial": True}, {"series": [SERIES]}], False),
        ([{"series": [SERIES], "partial": True}, {"series": [SERIES], "partial": True}], True),
        ([{"series": [SERIES]}, {"series": [SERIES | {"partial": True}]}], True),
        ([{"series": [SERIES, {"error": "x"}], "partial": True}, {"series": [SERIES]}], True),
    ],
)
def test_of_chunks_the_last_says_whether_rows_are_missing(chunks: list[dict[str, Any]], partial: bool) -> None:
    assert answers.read(body(*chunks)) == ([ROW, ROW], partial)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (body({"error": "database not found: x"}), BucketNotFoundError),
        (body({"series": [SERIES], "partial": True}, {"error": "timeout"}), QueryError),
        ('{"error":"no such thing"}', QueryError),
        ("", NotInfluxDBError),
        ("<html>", NotInfluxDBError),
        ("[1]", NotInfluxDBError),
        (body({"series": [SERIES]}) + "{", NotInfluxDBError),
    ],
)
def test_what_is_no_answer_is_an_error(text: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        answers.read(text)


def test_a_statement_without_rows_is_whole() -> None:
    assert answers.read('{"results":[{"statement_id":0}]}') == ([], False)


@pytest.fixture(scope="module")
def cutting(pool: Pool) -> Iterator[Workspace]:
    """Buckets on an InfluxDB 1.8 whose max-row-limit cuts answers."""
    pool.get("influxdb-1.8")
    with start("influxdb-1.8", row_limit=LIMIT) as server, closing(Workspace(server)) as workspace:
        yield workspace


def many(now: int) -> list[Point]:
    """Hits of 400 pages in 30 hours up to four hours ago, so that windows, pages and rows are too many."""
    return [hit(now - 34 * HOUR + n * 270 * SECOND, page=f"/{n}") for n in range(4 * LIMIT)]


def rows_of(workspace: Workspace) -> list[dict[str, Any]]:
    """Number and sum of the downsampled rows, counted by the server itself: one row, which no limit cuts."""
    database, _, policy = workspace.rollup.partition("/")
    text = f'SELECT count(hitcount), sum(hitcount) FROM "{policy}"."pf_analytics_pixel"'
    return workspace.client.influxql(text, db=database)


def test_an_influxdb_that_cuts_answers_gives_warned_figures_and_repairs_nothing(cutting: Workspace) -> None:
    now = time.time_ns() // HOUR * HOUR - 3 * HOUR
    with analytics(cutting, now) as made:
        # Little enough to be answered in full: no warning, installed, proved.
        fill(cutting, now, [*(hit(now - HOUR + n) for n in range(50)), load(now - HOUR)])
        assert made.task().install().action == "created"
        made.task().run()
        assert made.task().verify(now - 2 * HOUR).clean
        assert made.blocked_ratio(start="2h").warnings[0].code != "partial_data"
        points = many(now)
        fill(cutting, now, points)
        fill(cutting, now, [load(p.time, page=p.tags["page"]) for p in points[: 3 * LIMIT]])
        fill(cutting, now, [hit(now - 3 * HOUR + n, page=f"/{n}") for n in range(2 * LIMIT)])
        right = rows_of(cutting)
        made.task().note_late([point.time for point in points])

        by_page = made.blocked_ratio(by=["page"], start="2d")
        assert sum(row.hits for row in by_page) < 50 + 6 * LIMIT
        assert by_page.warnings[0].code == "partial_data"
        assert "max-row-limit" in by_page.warnings[0].message
        for views in (
            made.hits(by=["page"], start="2d"),
            made.js_loads(by=["page"], start="2d"),
            made.pages(start="2d"),
            made.compare("page", start="2d"),
        ):
            assert [warning.code for warning in views.warnings].count("partial_data") == 1
        assert "partial_data" not in [warning.code for warning in made.hits(start="2h").warnings]
        assert "The store reported a partial answer" in made.report(start="2d")[0]
        # The period before is read in part; this one is whole.
        compared = made.blocked_ratio(by=["page"], start="2h", compare=True)
        assert [warning.code for warning in compared.warnings].count("partial_data") == 1
        assert "partial_data" not in [warning.code for warning in made.blocked_ratio(by=["page"], start="2h").warnings]

        task = made.task()
        for act in (task.verify, task.repair, task.backfill, task.gaps):
            with pytest.raises(PartialAnswerError, match="nothing was changed") as caught:
                act(now - 2 * DAY)
            assert exit_code(caught.value) == 4
        for act_on_all in (task.repair_all, task.run):
            with pytest.raises(PartialAnswerError):
                act_on_all()
        assert task.late_windows() != []
        assert rows_of(cutting) == right


@pytest.mark.slow
def test_the_command_ends_with_4_where_answers_are_cut(cutting: Workspace) -> None:
    now = time.time_ns()
    fill(cutting, now, many(now))
    env, before = cutting.env(), rows_of(cutting)
    with Analytics(settings.load(cutting.settings(), environ={})) as made:
        made.task().note_late([point.time for point in many(now)])
    for command in (["verify"], ["verify", "--repair"], ["backfill"], ["gaps"], ["repair"]):
        ended = pfa_flux("task", *command, env=env)
        assert ended.code == 4, command
        assert "reported a partial answer" in ended.err
        assert "max-row-limit" in ended.err
    assert rows_of(cutting) == before
    asked = pfa_flux("blocked-ratio", "--by", "page", "--start", "2d", "--format", "json", env=env)
    assert asked.code == 0
    assert asked.json["warnings"][0]["code"] == "partial_data"
    assert "warning: The store reported a partial answer" in asked.err


def test_an_installation_that_cannot_be_proved_in_full_is_taken_back(cutting: Workspace) -> None:
    now = time.time_ns() // HOUR * HOUR - 6 * HOUR
    with closing(Workspace(cutting.server)) as workspace, analytics(workspace, now) as made:
        fill(workspace, now, [hit(now - 20 * MINUTE - n, page=f"/{n}") for n in range(2 * LIMIT)])
        with pytest.raises(PartialAnswerError):
            made.task().install()
        assert made.task().backend.find() == []


def without_a_domain(answer: Any) -> Any:
    """The answer as a cluster gives it whose dead node had the rows of a domain."""
    for result in answer["results"]:
        result["series"] = [s for s in result.get("series", []) if s.get("tags", {}).get("domain") != "b.example"]
    return answer


def in_the_last_chunk(answer: Any) -> str:
    whole = answer["results"][0].get("series", [])
    first, last = json.loads(json.dumps(answer)), without_a_domain(answer)
    first["results"][0] |= {"series": whole[:0], "partial": True}
    last["results"][0]["partial"] = True
    return f"{json.dumps(first)}\n{json.dumps(last)}\n"


def in_a_series(answer: Any) -> str:
    made = without_a_domain(answer)
    made["results"][0]["series"].append({"name": "x", "error": "store 2 is away"})
    return json.dumps(made)


def as_a_message(answer: Any) -> str:
    answer["results"][0]["messages"] = [{"level": "warning", "text": "store 2 was slow"}]
    return json.dumps(answer)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["influxdb-1.8", "influxdb-2.7"])
@pytest.mark.parametrize("said", [in_the_last_chunk, in_a_series], ids=lambda each: str(each.__name__))
def test_a_cluster_with_a_dead_node_repairs_no_good_windows_down(
    engine: str, said: Callable[[Any], str], make_workspace: MakeWorkspace
) -> None:
    workspace, now = make_workspace(engine, backend="runner"), time.time_ns() // HOUR * HOUR
    hits = [hit(now - 3 * HOUR + n * MINUTE, "b.example" if n % 3 == 0 else "a.example") for n in range(90)]
    fill(workspace, now, [*hits, *(load(now - 3 * HOUR + n * MINUTE, "a.example") for n in range(40))])
    with Meddling(workspace.server.url) as proxy:
        workspace.server.url, url = proxy.url, workspace.server.url
        try:
            with analytics(workspace, now) as made:
                made.task().install()
                made.task().run()
                whole = made.blocked_ratio(start="4h", by=())
                assert [(row.hits, row.js) for row in whole] == [(90, 40)]
                before = made.task().rollup.stored(0, now)
                proxy.answers = said
                partial = made.blocked_ratio(start="4h", by=())
                assert [(row.hits, row.js, row.status) for row in partial] == [(60, 40, "ok")]
                assert partial.warnings[0].code == "partial_data"
                task = made.task()
                for act in (task.verify, task.repair, task.backfill, task.status):
                    with pytest.raises(PartialAnswerError):
                        act(now - DAY)
                proxy.answers = as_a_message
                assert made.blocked_ratio(start="4h", by=()).warnings == whole.warnings
                assert task.verify(now - DAY).clean
                assert made.task().rollup.stored(0, now) == before
        finally:
            workspace.server.url = url


class Doubtful(Embedded):
    """A store each of whose answers is partial."""

    _said = count()

    @property
    def partial_answers(self) -> int:
        return next(self._said)


def test_no_raw_row_is_removed_by_partial_answers(tmp_path: Path) -> None:
    own = settings.load({"data_dir": str(tmp_path)}, environ={})
    with closing(Embedded(own)) as store:
        store.write(own.raw_bucket, [hit(T0 + n) for n in range(5)])
    with closing(Doubtful(own)) as store:
        with pytest.raises(PartialAnswerError, match=re.escape("nothing was changed")):
            purge(store, own, T0 + 90 * DAY, 1)
        assert len(store.select("SELECT 1 FROM raw")) == 5
    with closing(Embedded(own)) as store:
        assert purge(store, own, T0 + 90 * DAY, 1) == 5
