"""Prefetches in answers: told of where they matter, on every engine, and never counted as hits."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pfa_flux import Analytics, Settings, connect, settings
from tests.cli import pfa_flux
from tests.contract import Target, analytics, fill, workspace_of
from tests.data import DAY, HOUR, MINUTE, T0, hit, load
from tests.engines.plugin import MakeWorkspace
from tests.load import get, send
from tests.oracle import network
from tests.pixel_server import PixelServer
from tests.prefetching import ONION, PREFETCH, PREFETCHES, begins, numbers, prefetched, said, targets
from tests.stored import HITS, points, total, until
from tests.test_biases import never_shown
from tests.test_shipping import pixel
from tests.upgrading import BOTH
from tests.walks import a_world


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return settings.load({"data_dir": str(tmp_path / "data")}, environ={})


# In answers, on every engine.

_NUMBERS = (
    *(prefetched(T0 + n * HOUR, 3 + n % 4, sess="ab"[n % 2]) for n in range(24)),
    *(prefetched(T0 + n * HOUR + 1, 2, ONION) for n in range(0, 24, 3)),
    # Two writers in the same instant, and one of them sent again.
    *(prefetched(T0 + 7 * HOUR + 9, 5, sess=sess) for sess in "aba"),
    *(prefetched(T0 + n * HOUR + 2, 1, "www.example.com.") for n in range(2)),
    *(prefetched(at, 1000, "edge.example") for at in (T0 - 1, T0 + DAY, T0 + DAY + 1)),
)
_VIEWS = (
    *(hit(T0 + n * MINUTE, page=f"/{n % 3}") for n in range(700)),
    *(load(T0 + n * MINUTE, page=f"/{n % 3}") for n in range(0, 700, 2)),
    *(hit(T0 + n * MINUTE, ONION) for n in range(200)),
    *(hit(T0 + n * MINUTE, "www.example.com") for n in range(30)),
    *(hit(T0 + n * MINUTE, "edge.example") for n in range(30)),
)


def oracle(start: int, stop: int, domains: Iterable[str] = (), networks: Iterable[str] = ()) -> tuple[int, int]:
    """Prefetches and hits of a range, counted in plain Python."""
    stored = {(p.measurement, tuple(p.tags.items()), p.time): p for p in (*_NUMBERS, *_VIEWS)}.values()
    chosen = []
    for p in stored:
        domain = p.tags["domain"].rstrip(".")
        if (
            start <= p.time < stop
            and (not domains or domain in domains)
            and (not networks or network(domain) in networks)
        ):
            chosen.append(p)
    return tuple(sum(int(p.value) for p in chosen if p.measurement == name) for name in (PREFETCHES, HITS))  # type: ignore[return-value]


_ASKED: tuple[dict[str, Any], ...] = (
    {},
    {"by": ["time"], "every": "1h"},
    {"by": ["page"]},
    {"domains": ["example.com"]},
    {"domains": [ONION, "www.example.com"]},
    {"networks": ["tor"]},
    {"networks": ["clearnet"], "by": ["network"]},
    {"start": T0 + 5 * HOUR, "stop": T0 + 8 * HOUR},
    {"start": T0 + 3 * HOUR + 1, "stop": T0 + 7 * HOUR + 9},
    {"start": T0 + 30 * MINUTE, "stop": T0 + 50 * MINUTE},
    {"domains": ["edge.example"]},
    {"domains": ["unknown.example"]},
    {"start": T0 - DAY, "stop": T0 - 2},
)


@targets
def test_the_share_of_prefetches_is_of_the_answers_range_and_domains(
    target: Target, make_workspace: MakeWorkspace
) -> None:
    workspace = workspace_of(target, make_workspace)
    fill(workspace, T0, [*_VIEWS, *_NUMBERS])
    told = 0
    with analytics(workspace, T0 + 2 * DAY) as made:
        for given in _ASKED:
            span = {"start": T0, "stop": T0 + DAY, **given}
            filters = {key: given[key] for key in ("domains", "networks") if key in given}
            number, hits = oracle(span["start"], span["stop"], **filters)
            answer = made.blocked_ratio(**span, dialect=target.dialect)
            assert answer.total.hits == hits
            if number > 0.1 * (number + hits):
                assert said(answer).startswith(begins(number, hits)), given
                assert "prefetches" in answer.doubts
                told += 1
            else:
                assert said(answer) == "", given
        # Prefetches of a page are not known.
        assert said(made.blocked_ratio(pages=["/1"], start=T0, stop=T0 + DAY, dialect=target.dialect)) == ""
    assert 5 < told < len(_ASKED) - 3


@targets
def test_a_store_without_prefetches_says_nothing_of_them(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    fill(workspace, T0, _VIEWS)
    with analytics(workspace, T0 + 2 * DAY) as made:
        assert said(made.blocked_ratio(start=T0, stop=T0 + DAY, dialect=target.dialect)) == ""
        assert made.engine.partial_answers == 0


@pytest.mark.parametrize("number", [10, 11])
def test_a_tenth_or_less_is_not_told_of(own: Settings, number: int) -> None:
    with Analytics(own, clock=lambda: T0 + DAY) as made:
        made.write([*(hit(T0 + n) for n in range(90)), prefetched(T0, number)])
        assert bool(said(made.blocked_ratio())) == (number > 10)


@pytest.mark.parametrize("engine", ["influxdb-1.8", "influxdb-2.7", "embedded"])
def test_tasks_gaps_and_proofs_know_nothing_of_prefetches(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(engine, backend="runner")
    now = T0 + 2 * DAY
    # In windows of their own, too.
    numbers = [*_NUMBERS, *(prefetched(T0 + DAY + n * HOUR, 50) for n in range(12))]
    fill(workspace, now, [*_VIEWS, *numbers])
    with analytics(workspace, now) as made:
        for what in BOTH:
            task = made.task(what)
            task.backfill(T0 - DAY, now)
            assert task.gaps(T0 - DAY).missing == ()
            assert task.verify(T0 - DAY, now).clean
        raw = made.blocked_ratio(start=T0, stop=now, source="raw")
        rollup = made.blocked_ratio(start=T0, stop=now, source="rollup")
        assert rollup.rows == raw.rows
        # Whatever hits are read from, prefetches are known as long as they are kept.
        assert said(rollup) == said(raw) != ""
        domains = {row.key["domain"] for row in made.domains(start=T0 - DAY, stop=now).rows}
        assert domains == {"example.com", "www.example.com", ONION, "edge.example"}


def test_an_engine_that_refuses_the_question_has_none(
    make_workspace: MakeWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace("influxdb-1.8")
    fill(workspace, T0, [*_VIEWS, *_NUMBERS])
    with analytics(workspace, T0 + 2 * DAY) as made:
        right = made.blocked_ratio(start=T0, stop=T0 + DAY)
        assert said(right)
        statement = type(made.engine).statement  # type: ignore[attr-defined]

        def refusing(self: object, text: str, query: object) -> object:
            return statement(self, "nonsense" if PREFETCHES in text else text, query)

        monkeypatch.setattr(type(made.engine), "statement", refusing)
        answer = made.blocked_ratio(start=T0, stop=T0 + DAY)
        assert (answer.rows, said(answer)) == (right.rows, "")


# The whole, as it is run.


@pytest.mark.parametrize("engine", [pytest.param("influxdb-1.8", marks=pytest.mark.slow), "influxdb-2.7", "embedded"])
def test_prefetches_of_a_pixel_are_in_the_answer_to_the_number(
    engine: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"domains": ["example.com", "example.i2p"]}
    if engine == "embedded":
        server, env = PixelServer(tmp_path, pixel=given), {}
        env["PFA_FLUX_CONFIG"] = str(server.config)
    else:
        workspace = make_workspace(engine)
        server, env = pixel(tmp_path, workspace, **given), workspace.env()
    requests = [
        *[get("/a")] * 30,
        *[get("/a", **PREFETCH)] * 12,
        *[get("/never-seen", X_Purpose="preview")] * 3,
        *[get("/", "example.i2p")] * 9,
        get("/", "example.i2p", Purpose="prefetch"),
        *[get("/", "elsewhere.example", **PREFETCH)] * 5,
    ]
    with server:
        sent = send(server.listen, requests)
        assert (sent.counted, sent.why) == (39, {"prefetch": 21})
    # Of a page that nobody has looked at nothing is kept.
    assert not any(b"/never-seen" in path.read_bytes() for path in server.data_dir.iterdir())
    if engine != "embedded":
        # What was kept at the end is shipped by the next, and once; whatever is killed in between.
        server.start()
        server.kill()
        with server:
            until(lambda: server.metrics()["journal_rows"] == 0, "an empty spool")
        found = points(workspace, PREFETCHES)
        assert {frozenset(row) for row in found} == {frozenset({"time", "count", "domain", "sess"})}
        assert numbers(workspace) == {"example.com": 15, "example.i2p": 1}
        assert {row["sess"] for row in found} == {row["sess"] for row in points(workspace)}
        assert total(workspace) == 39
    for domain, number, hits in (("", 16, 39), ("example.com", 15, 30), ("example.i2p", 1, 9)):
        chosen = ("--domain", domain) if domain else ()
        answer = pfa_flux("blocked-ratio", "--start", "1h", "--format", "json", *chosen, env=env).json
        assert answer["total"]["hits"] == hits
        codes = {each["code"]: each["message"] for each in answer["warnings"]}
        if number == 1:
            assert "prefetches" not in codes
        else:
            assert codes["prefetches"].startswith(begins(number, hits))


@pytest.mark.slow
def test_a_page_that_a_browser_renders_in_advance_is_in_the_answer(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        never_shown(world)
        world.settle()
        world.pixel.stop()
        with connect(settings.load({}, environ={}, config=world.pixel.config)) as made:
            answer = made.blocked_ratio(start="1h")
    assert (answer.total.hits, answer.total.js) == (1, 1)
    assert said(answer).startswith(begins(1, 1))
