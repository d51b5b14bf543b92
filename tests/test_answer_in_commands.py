"""An answer on the command line: sentence, rows and total, and what there is where there is no data."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pfa_flux import Analytics, QueryError
from pfa_flux.cli.no_data import no_data
from pfa_flux.ratio.question import Options
from tests.cli import pfa_flux
from tests.contract import ENGINES_ONCE, Target, analytics, fill, ordinarily, workspace_of
from tests.data import DAY, HOUR, T0, hit, load
from tests.engines.plugin import MakeWorkspace

engines = pytest.mark.parametrize("target", ordinarily(ENGINES_ONCE), ids=str)
SPAN = ("--start", "2026-01-12", "--stop", "2026-01-13")
POINTS = [
    *(hit(T0 + i * HOUR) for i in range(20)),
    *(load(T0 + i * HOUR) for i in range(15)),
    *(hit(T0 + i * HOUR, domain="abc.onion") for i in range(10)),
    *(load(T0 + i * HOUR, domain="abc.onion") for i in range(4)),
    *(hit(T0 + i * HOUR, domain="abc.i2p") for i in range(5)),
]


@pytest.fixture
def store(make_workspace: MakeWorkspace) -> dict[str, str]:
    """Environment of an embedded store with the points in it."""
    workspace = make_workspace("embedded")
    fill(workspace, T0, POINTS)
    return workspace.env()


def test_a_table_is_a_sentence_then_rows_then_the_total(store: dict[str, str]) -> None:
    done = pfa_flux("blocked-ratio", *SPAN, env=store)
    assert done.out.splitlines()[0] == (
        "Of 35 page views of all domains, 12 Jan 2026 (UTC), 45.7% (30.5–61.8%) came without the JavaScript analytics. "
        "Embedded store, raw data."
    )
    assert [line.split()[:4] for line in done.out.splitlines()[1:]] == [
        [],
        ["domain", "hits", "JS", "loads"],
        ["abc.i2p", "5", "0", "5"],
        ["abc.onion", "10", "4", "6"],
        ["example.com", "20", "15", "5"],
        ["total", "35", "19", "16"],
    ]


def test_by_none_is_one_row_without_keys_equal_to_the_total(store: dict[str, str]) -> None:
    by_domain = pfa_flux("blocked-ratio", *SPAN, "--format", "json", env=store).json
    whole = pfa_flux("blocked-ratio", *SPAN, "--format", "json", "--by", "none", env=store).json
    assert whole["rows"] == [whole["total"]] == [by_domain["total"]]
    assert list(whole["total"]) == ["hits", "js", "blocked", "ratio", "ratio_low", "ratio_high", "status"]
    table = pfa_flux("blocked-ratio", *SPAN, "--by", "none", env=store).out.splitlines()
    assert [line.split()[:3] for line in table[1:]] == [[], ["hits", "JS", "loads"], ["35", "19", "16"]]


def test_csv_is_rows_alone(store: dict[str, str]) -> None:
    assert pfa_flux("blocked-ratio", *SPAN, "--format", "csv", "--by", "network", env=store).out == (
        "network,hits,js,blocked,ratio,ratio_low,ratio_high,status\n"
        "clearnet,20,15,5,0.25,0.10403761670894207,0.48898211359623234,ok\n"
        "i2p,5,0,5,1.0,0.39358126626966516,1.0,no_js\n"
        "tor,10,4,6,0.6,0.2740614255320867,0.8563185018753979,ok\n"
    )


def test_json_names_the_store_and_the_settings_file(store: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "pfa-flux.toml"
    config.write_text('tz = "Europe/Berlin"\n')
    found = pfa_flux("blocked-ratio", *SPAN, "--format", "json", "--config", str(config), env=store).json
    assert found["store"] == {
        "engine": "embedded",
        "version": f"SQLite {sqlite3.sqlite_version}",
        "address": f"{store['PFA_FLUX_DATA_DIR']}/pfa-flux.sqlite3",
    }
    assert (found["config"], found["start"]) == (str(config), "2026-01-11T23:00:00Z")


def test_no_data_names_the_store_the_range_what_there_is_and_the_next_command(store: dict[str, str]) -> None:
    place = f"in {store['PFA_FLUX_DATA_DIR']}/pfa-flux.sqlite3 (no settings file)"
    there = (
        "found: abc.i2p, abc.onion and example.com; first hit 2026-01-12 00:00, last 2026-01-12 19:00; "
        "first JS load 2026-01-12 00:00, last 2026-01-12 14:00 (UTC)"
    )

    def told(*asked: str) -> list[str]:
        done = pfa_flux("blocked-ratio", *asked, "--format", "csv", env=store)
        assert done.code == 3
        return done.err.splitlines()

    assert told("--domain", "Exmple.com", *SPAN) == [
        f"no data for exmple.com, 12 Jan 2026 (UTC), {place}",
        there,
        "exmple.com has no data; did you mean --domain example.com?",
        "try: pfa-flux blocked-ratio --domain example.com --start 2026-01-12 --stop 2026-01-13",
    ]
    assert told("--domain", "example.com", "--page", "/", "--start", "2025-01", "--stop", "2025-02") == [
        f"no data for / on example.com, 1–31 Jan 2025 (UTC), {place}",
        there,
        "try: pfa-flux blocked-ratio --domain example.com --page / --start 2026-01-12",
    ]
    assert told("--domain", "quite.different", *SPAN) == [
        f"no data for quite.different, 12 Jan 2026 (UTC), {place}",
        there,
        "try: pfa-flux blocked-ratio --start 2026-01-12",
    ]


def test_a_command_that_is_told_can_be_pasted_whatever_others_have_stored(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("embedded")
    fill(workspace, T0, [hit(T0, domain="x$(rm)`rm`'\x1b.example")])
    done = pfa_flux("blocked-ratio", "--domain", "xrmrm.example", *SPAN, env=workspace.env())
    assert done.err.splitlines()[-1] == (
        "try: pfa-flux blocked-ratio --domain 'x$(rm)`rm`'\"'\"'\\x1b.example' --start 2026-01-12 --stop 2026-01-13"
    )


def test_a_store_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = pfa_flux("blocked-ratio", *SPAN, "--data-dir", str(tmp_path / "none"), env={"HOME": str(tmp_path)})
    assert done.code == 3
    assert done.err.splitlines() == [
        f"no data for all domains, 12 Jan 2026 (UTC), in {tmp_path}/none/pfa-flux.sqlite3, which does not exist "
        "(no settings file)",
        "found: no store",
        "try: --config, --url or --data-dir, to name the right store; pfa-flux serve creates one",
    ]
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("engine", ["influxdb-1.8", "influxdb-2.7"])
def test_no_data_on_a_server_names_it_and_its_bucket(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(engine)
    fill(workspace, T0, POINTS)
    done = pfa_flux("blocked-ratio", "--page", "/abut", *SPAN, "--by", "none", env=workspace.env())
    assert done.code == 3
    first, there, last = done.err.splitlines()
    version = engine.removeprefix("influxdb-")
    assert first.startswith(f"no data for /abut on all domains, 12 Jan 2026 (UTC), in InfluxDB {version}")
    assert first.endswith(f" at {workspace.server.url}, bucket {workspace.raw} (no settings file)")
    assert there.startswith("found: abc.i2p, abc.onion and example.com; first hit 2026-01-12 00:00, last ")
    assert last == "try: pfa-flux blocked-ratio --start 2026-01-12"


def test_where_the_store_cannot_say_what_it_holds_the_answer_stands(
    make_workspace: MakeWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise QueryError("the server refuses SHOW TAG VALUES")

    monkeypatch.setattr(Analytics, "holdings", refuse)
    with analytics(make_workspace("embedded"), T0 + DAY) as made:
        told = no_data(made, made.blocked_ratio(start="1d"), "pfa-flux blocked-ratio", Options(start="1d"))
    assert told == [
        f"no data for all domains, 12 Jan 2026 (UTC), in {made.engine.address} (no settings file)",
        "the store's content cannot be read: the server refuses SHOW TAG VALUES",
    ]


@contextmanager
def filled(target: Target, make_workspace: MakeWorkspace) -> Iterator[Analytics]:
    workspace = workspace_of(target, make_workspace)
    fill(workspace, T0, POINTS)
    with analytics(workspace, T0 + 9 * DAY) as made:
        yield made


@engines
def test_every_store_says_what_it_holds(target: Target, make_workspace: MakeWorkspace) -> None:
    with filled(target, make_workspace) as made:
        found = made.holdings("exmple.com")
        assert found.domains == ("abc.i2p", "abc.onion", "example.com")
        assert found.hits == (T0, T0 + 19 * HOUR)
        assert found.loads == (T0, T0 + 14 * HOUR)
        assert (found.asked, found.meant) == (None, (("domains", "exmple.com", "example.com"),))
        assert made.holdings("abc.onion").asked == (T0, T0 + 9 * HOUR)
        assert made.holdings("abc.onion", networks="i2p").asked is None
        assert made.holdings(pages="/").asked == (T0, T0 + 19 * HOUR)
        assert made.holdings().store == made.blocked_ratio().store


def test_bare_pfa_flux_is_the_answer_for_the_last_seven_days(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace, now = make_workspace("embedded"), time.time_ns()
    fill(workspace, now, [*(hit(now - n * HOUR) for n in range(1, 41)), *(load(now - n * HOUR) for n in range(1, 31))])
    done = pfa_flux(env={**workspace.env(), "HOME": str(tmp_path)})
    sentence, *more = done.out.splitlines()
    assert (done.code, more) == (0, [])
    assert sentence.startswith("Of 40 page views of all domains, ")
    assert ", 25.0% (" in sentence
    assert done.err.splitlines()[-1] == (
        "For the rows: pfa-flux blocked-ratio --start 7d. For all commands: pfa-flux --help."
    )


def test_bare_pfa_flux_finds_the_usual_store(tmp_path: Path, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("embedded")
    fill(workspace, T0, POINTS)
    usual = tmp_path / ".local/share"
    usual.mkdir(parents=True)
    (workspace.folder / "data").rename(usual / "pfa-flux")
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(usual)}
    done = pfa_flux(env=home, cwd=tmp_path)
    assert (done.code, done.out.startswith("No data for all domains, ")) == (3, True)
    assert done.err.splitlines()[-1] == "try: pfa-flux blocked-ratio --start 2026-01-12"


def test_bare_pfa_flux_without_settings_and_data_is_the_help(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "share")}
    done = pfa_flux(env=home, cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert done.err == pfa_flux("--help", env=home, cwd=tmp_path).out
    assert list(tmp_path.iterdir()) == []
    told = pfa_flux(env={**home, "PFA_FLUX_DATA_DIR": str(tmp_path / "none")}, cwd=tmp_path)
    assert (told.code, "which does not exist" in told.err) == (3, True)


def test_the_report_without_data_says_what_there_is(store: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    done = pfa_flux("report", "--out", str(out), "--domain", "exmple.com", *SPAN, env=store)
    assert (done.code, out.exists()) == (3, True)
    assert done.err.splitlines()[-1] == (
        f"try: pfa-flux report --out {out} --domain example.com --start 2026-01-12 --stop 2026-01-13"
    )


def test_json_of_the_library_has_the_same_keys(make_workspace: MakeWorkspace) -> None:
    with filled(Target("embedded", "auto", "sqlite"), make_workspace) as made:
        found = json.loads(made.blocked_ratio(by="network").to_json())
    assert list(found) == [
        "start", "stop", "engine", "dialect", "source", "store", "config", "total", "warnings", "rows", "differences",
    ]  # fmt: skip
