"""How many requests were prefetches: kept beside hits, never as one, and told of in the answer where they matter."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pfa_flux import Analytics, BlockedRatio, Point, Settings, connect, settings
from pfa_flux.engines.sqlite import Embedded
from pfa_flux.helper.delivery import Delivery
from pfa_flux.helper.housekeeper import purge
from pfa_flux.journal.embedded import StoreJournal
from pfa_flux.journal.spool import Spool, SpoolReader
from pfa_flux.pixel.hit import View
from pfa_flux.pixel.keeping import Busy
from pfa_flux.pixel.pages import Page
from pfa_flux.settings.pixel import PixelSettings
from tests.cli import pfa_flux
from tests.contract import TARGETS, Target, analytics, fill, ordinarily, workspace_of
from tests.data import DAY, HOUR, MINUTE, T0, hit, load
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace
from tests.load import get, send
from tests.oracle import network
from tests.pixel_server import PixelServer
from tests.smuggling import Site
from tests.stored import HITS, points, total, until
from tests.test_biases import never_shown
from tests.test_pixel import ask
from tests.test_shipping import pixel
from tests.upgrading import BOTH, asked, assert_answer, copied, expected, opened
from tests.walks import a_world

PREFETCHES = "pfa_flux_prefetches"
ONION = "abcdefghijklmnop.onion"
_PREFETCH = {"Sec_Purpose": "prefetch;prerender"}
targets = pytest.mark.parametrize("target", ordinarily(TARGETS), ids=str)


def prefetched(time: int, number: int, domain: str = "example.com", *, sess: str = "a") -> Point:
    return Point(PREFETCHES, {"domain": domain, "sess": sess}, "count", number, time)


def said(answer: BlockedRatio) -> str:
    """What the answer says of prefetches; empty where it says nothing."""
    return next((each.message for each in answer.warnings if each.code == "prefetches"), "")


def begins(number: int, hits: int) -> str:
    """How it begins."""
    share = round(100 * number / (number + hits))
    words = f"{hits:,} hits" if hits != 1 else "1 hit"
    return f"{share}% of the requests for the pixel were prefetches or previews ({number:,} beside {words})"


def numbers(workspace: Workspace) -> dict[str, int]:
    """What a server has stored, by domain: of one minute or, where another has begun, of two."""
    found: Counter[str] = Counter()
    for row in points(workspace, PREFETCHES):
        found[row["domain"]] += row["count"]
    return dict(found)


# In the pixel.


def prefetch(path: str = "/count.gif", domain: str = "a.example", *more: bytes) -> bytes:
    return ask(path, f"https://{domain}/x", b"Sec-Purpose: prefetch", *more)


def kept(site: Site) -> dict[str, int]:
    """Numbers that are in its journal, by domain."""
    return {view.domain: int(view.page) for view in site.journal.views if view.kind == "prefetch"}


def site(**given: Any) -> Site:
    return Site(PixelSettings(**given))


def test_prefetches_are_kept_by_domain_and_only_of_domains_that_count() -> None:
    own = site(domains=("a.example", "*.b.example"), load_path="/load.gif")
    answers = own.client().send(
        *[prefetch()] * 3,
        prefetch("/load.gif"),
        prefetch(domain="c.example"),
        # Domains below another are the client's to make up, until there is a hit of one.
        prefetch(domain="x.b.example"),
        ask(referer="https://y.b.example/"),
        *[prefetch(domain="y.b.example")] * 2,
        ask(referer="https://a.example/x"),
    )
    # They are answered as before, at once.
    assert [each.headers.get("X-Pfa-Flux") for each in answers].count("prefetch") == 8
    assert own.pixel.rejected == {"prefetch": 8}
    assert kept(own) == {}
    own.pixel.keep_prefetches(last=True)
    assert kept(own) == {"a.example": 3, "y.b.example": 2}
    assert own.pixel.counted == {"hit": 2, "load": 0}
    own.pixel.keep_prefetches(last=True)
    assert len(own.journal.views) == 4


@pytest.mark.parametrize(
    ("more", "given"),
    [
        (b"Sec-GPC: 1", {"opt_out": ("gpc",)}),
        (b"DNT: 1", {"opt_out": ("dnt",)}),
        (b"X-Pfa-Skip: own", {}),
        (b"Sec-Fetch-Dest: document", {}),
    ],
)
def test_what_would_not_have_been_a_hit_is_not_kept_as_a_prefetch_either(more: bytes, given: dict[str, Any]) -> None:
    own = site(domains=("a.example",), **given)
    own.client().send(prefetch("/count.gif", "a.example", more))
    own.pixel.keep_prefetches(last=True)
    assert kept(own) == {}


def test_prefetches_are_kept_once_a_minute_and_wait_for_a_journal_that_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    own = site(domains=("a.example",))
    own.client().send(prefetch())
    own.pixel.keep_prefetches()
    assert kept(own) == {}
    own.pixel.pages.minute += 1
    for error in (Busy(), OSError("full")):
        with monkeypatch.context() as patch:

            def fails(*_: object, error: Exception = error) -> None:
                raise error

            patch.setattr(own.journal, "commit", fails)
            own.pixel.keep_prefetches()
    own.pixel.on_hold = True
    own.pixel.keep_prefetches()
    assert kept(own) == {}
    own.pixel.on_hold = False
    own.client().send(prefetch())
    own.pixel.keep_prefetches()
    assert kept(own) == {"a.example": 2}
    own.client().send(prefetch())
    own.pixel.keep_prefetches()
    assert [view.page for view in own.journal.views] == ["2"]


def test_numbers_that_wait_for_the_journal_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pfa_flux.pixel.prefetches._MOST_DOMAINS", 2)
    own = site(domains=("a.example", "b.example", "c.example"))
    for domain in ("a.example", "b.example", "c.example", "a.example"):
        own.client().send(prefetch(domain=domain))
    own.pixel.keep_prefetches(last=True)
    assert kept(own) == {"a.example": 2, "b.example": 1}


# In the journals.


def test_numbers_are_read_from_the_spool_as_they_were_kept_and_twice_the_same(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "normal", 1 << 30)
    with closing(SpoolReader(tmp_path)) as reader:
        pages = [Page(View("prefetch", "-", domain, number)) for domain, number in (("a.example", "3"), (ONION, "41"))]
        spool.commit(pages, T0)
        (first,) = reader.after(0, 10)
        assert (first.views, first.damaged) == ([page.view for page in pages], None)
        assert reader.after(0, 10) == [first]
        # The same numbers again need no page of their own, also when the first have been tidied away.
        for _ in range(2):
            spool.taken_over(first.seq)
            spool.tick()
            spool.tidy([])
            spool.commit([Page(page.view) for page in pages], T0 + MINUTE)
            (first,) = reader.after(first.seq, 10)
            assert (first.views, first.damaged) == ([page.view for page in pages], None)
    spool.close()


def test_what_is_no_number_is_damaged_and_not_shipped(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "normal", 1 << 30)
    spool.commit([Page(View("prefetch", "-", "a.example", "x"))], T0)
    with closing(SpoolReader(tmp_path)) as reader:
        (found,) = reader.after(0, 10)
    spool.close()
    assert (found.views, found.damaged is not None) == ([None], True)


class _Writer:
    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, bucket: str, lines: Iterable[str]) -> int:
        del bucket
        self.written += lines
        return 0


class _Notes:
    def moved(self) -> set[tuple[str, str]]:
        return {(f"{HITS},", "0a")}


def test_a_store_that_wants_hits_in_another_form_gets_numbers_in_their_own() -> None:
    writer = _Writer()
    delivery = Delivery(Settings(), writer, _Notes())  # type: ignore[arg-type]
    delivery._other.add((f"{HITS},", T0 // HOUR))
    delivery.write([f"{HITS},domain=a,page=/,sess=0a count=1i {T0}", f"{PREFETCHES},domain=a,sess=0a count=7i {T0}"])
    assert writer.written == [
        f"{HITS},domain=a,epoch=0a,page=/ count=1.0 {T0}",
        f"{PREFETCHES},domain=a,sess=0a count=7i {T0}",
    ]


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return settings.load({"data_dir": str(tmp_path / "data")}, environ={})


def select(own: Settings, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(own.data_dir / "pfa-flux.sqlite3")) as connection:
        return connection.execute(sql).fetchall()


def test_numbers_of_the_embedded_store_expire_like_raw_rows(own: Settings) -> None:
    journal = StoreJournal(own)
    for day in range(40):
        journal.commit([Page(View("hit", "https", "example.com", "/"))], T0 + day * DAY)
        journal.commit([Page(View("prefetch", "-", "example.com", "5"))], T0 + day * DAY)
    journal.close()
    now = T0 + 40 * DAY
    with closing(Embedded(own)) as store:
        assert purge(store, own, now, 10**9) == 10
        assert select(own, "SELECT count(*), min(time) / 86400000000000 FROM prefetch") == [(30, T0 // DAY + 10)]
        assert select(own, "SELECT count(*) FROM raw") == [(30,)]
        # The series of what is left stay.
        assert store.remove_unused_series(10**9) == 0
    with Analytics(own, clock=lambda: now) as made:
        assert said(made.blocked_ratio(start="60d")).startswith(begins(150, 40))
        assert said(made.blocked_ratio(start="7d")).startswith(begins(35, 7))


def test_many_numbers_expire_a_few_at_a_time(own: Settings) -> None:
    with closing(Embedded(own)) as store:
        store.write(own.raw_bucket, [prefetched(T0 + n // 2, 1, sess="ab"[n % 2]) for n in range(9_000)])
        assert select(own, "SELECT count(*) FROM prefetch") == [(9_000,)]
        purge(store, own, T0 + 40 * DAY, 10**9)
        assert select(own, "SELECT count(*) FROM prefetch") == [(0,)]
        store.write(own.raw_bucket, [prefetched(T0 + 39 * DAY, 1)])
        store.drop_bucket(own.raw_bucket)
        assert select(own, "SELECT count(*) FROM prefetch") == [(0,)]


# Stores of before.


def as_format_5(own: Settings) -> None:
    """Make a store one of format 5, which knew nothing of prefetches."""
    with closing(sqlite3.connect(own.data_dir / "pfa-flux.sqlite3")) as connection:
        connection.executescript("DROP TABLE prefetch; PRAGMA user_version = 5")


def test_a_store_of_format_5_keeps_its_proofs_and_gets_numbers_in_place(own: Settings) -> None:
    now = T0 + 3 * DAY
    with Analytics(own, clock=lambda: now) as made:
        made.write([make(T0 + n * HOUR) for n in range(60) for make in (hit, load)])
        for what in BOTH:
            made.task(what).install()
            made.task(what).run_due()
        before = made.blocked_ratio(start="3d")
    assert before.source == "raw+rollup"
    as_format_5(own)
    content = select(own, "SELECT * FROM proved"), select(own, "SELECT * FROM day")
    with Analytics(own, clock=lambda: now) as made:
        after = made.blocked_ratio(start="3d")
        assert (after.rows, after.source, said(after)) == (before.rows, before.source, "")
    assert select(own, "PRAGMA user_version") == [(5,)]
    journal = StoreJournal(own)
    journal.commit([Page(View("prefetch", "-", "example.com", "60"))], T0 + DAY)
    journal.close()
    assert select(own, "PRAGMA user_version") == [(6,)]
    assert (select(own, "SELECT * FROM proved"), select(own, "SELECT * FROM day")) == content
    with Analytics(own, clock=lambda: now) as made:
        after = made.blocked_ratio(start="3d")
        assert (after.rows, after.source) == (before.rows, before.source)
        assert said(after).startswith(begins(60, 60))


def test_a_store_of_0_1_gets_numbers_in_place_and_says_the_same_figures(tmp_path: Path) -> None:
    folder, was = copied("embedded", tmp_path / "data"), expected("embedded")
    each = was["answers"][0]
    with opened(folder, was["now"]) as made:
        answer = asked(made, each["ask"])
        assert "prefetches" not in {warning["code"] for warning in answer["warnings"]}
    journal = StoreJournal(settings.load({"data_dir": str(folder)}, environ={}))
    journal.commit([Page(View("prefetch", "-", "example.com", "1000000"))], T0 + DAY)
    journal.close()
    with opened(folder, was["now"]) as made:
        answer = asked(made, each["ask"])
        assert_answer(answer, each["answer"])
        assert "prefetches" in {warning["code"] for warning in answer["warnings"]}


def test_a_pixel_goes_on_with_the_spool_of_0_1_and_ships_numbers(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace, was = make_workspace("influxdb-2.7"), expected("spool")
    server = pixel(tmp_path, workspace, domains=["a.example"])
    copied("spool", server.data_dir)
    with server:
        assert send(server.listen, [get("/", "a.example", **_PREFETCH)] * 7).why == {"prefetch": 7}
    with server:
        until(lambda: server.metrics()["journal_rows"] == 0, "an empty spool")
        assert server.metrics()["damaged_hits_total"] == 0
    assert numbers(workspace) == {"a.example": 7}
    hits = [each for each in was["waiting"] if each[0] == "hit"]
    assert total(workspace) == len(hits)


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
        *[get("/a", **_PREFETCH)] * 12,
        *[get("/never-seen", X_Purpose="preview")] * 3,
        *[get("/", "example.i2p")] * 9,
        get("/", "example.i2p", Purpose="prefetch"),
        *[get("/", "elsewhere.example", **_PREFETCH)] * 5,
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
