"""How many requests were prefetches: the pixel keeps them beside hits, and every journal passes them on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pfa_flux import Analytics, Settings, settings
from pfa_flux.engines.sqlite import Embedded
from pfa_flux.helper.delivery import Delivery
from pfa_flux.helper.housekeeper import purge
from pfa_flux.journal.embedded import StoreJournal
from pfa_flux.journal.spool import Spool, SpoolReader
from pfa_flux.pixel.hit import View
from pfa_flux.pixel.keeping import Busy
from pfa_flux.pixel.pages import Page
from pfa_flux.settings.pixel import PixelSettings
from tests.asking import ask
from tests.data import DAY, HOUR, MINUTE, T0, hit, load
from tests.engines.plugin import MakeWorkspace
from tests.load import get, send
from tests.prefetching import ONION, PREFETCH, PREFETCHES, begins, numbers, prefetched, said
from tests.socketless import Site
from tests.stored import HITS, total, until
from tests.test_shipping import pixel
from tests.upgrading import BOTH, asked, assert_answer, copied, expected, opened

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
        assert send(server.listen, [get("/", "a.example", **PREFETCH)] * 7).why == {"prefetch": 7}
    with server:
        until(lambda: server.metrics()["journal_rows"] == 0, "an empty spool")
        assert server.metrics()["damaged_hits_total"] == 0
    assert numbers(workspace) == {"a.example": 7}
    hits = [each for each in was["waiting"] if each[0] == "hit"]
    assert total(workspace) == len(hits)
