"""Several addresses of one database: the next is asked where one does not answer, and figures stay what they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pfa_flux import Analytics, BusyError, QueryError, SettingsError, UnreachableError, connect, settings
from pfa_flux.engines.influxdb.members import REST, Members, Network
from pfa_flux.engines.influxdb.transport import Transport
from pfa_flux.engines.patience import NONE, patience
from pfa_flux.settings import Secret
from tests.cli import pfa_flux
from tests.data import T0, hit
from tests.engines import Server, start
from tests.engines.plugin import MakeWorkspace, Pool
from tests.engines.process import free_ports
from tests.faulty import Faulty
from tests.load import send
from tests.pixel_server import PixelServer
from tests.stored import total, until
from tests.test_shipping import pages


def counted(made: Analytics) -> int:
    return sum(row.hits or 0 for row in made.hits(start="2025-01-01", stop="2027-01-01"))


@pytest.fixture
def pair(pool: Pool) -> Iterator[tuple[Server, Server]]:
    """Two InfluxDB 1.8 of a test's own, so that one can be killed."""
    pool.get("influxdb-1.8")
    with start("influxdb-1.8") as first, start("influxdb-1.8") as second:
        yield first, second


@pytest.mark.slow
def test_the_next_address_is_asked_where_a_server_was_killed(pair: tuple[Server, Server], tmp_path: Path) -> None:
    first, second = pair
    values = {"url": f"{first.url}, {second.url}", "data_dir": str(tmp_path / "data")}
    with connect(settings.load(values, environ={})) as made:
        members = made.engine.transport._members  # type: ignore[attr-defined]
        made.write([hit(T0 + n) for n in range(3)])
        assert counted(made) == 3
        first.kill()
        # They share nothing here, so that it shows which of them has answered.
        assert counted(made) == 0
        made.write([hit(T0 + n) for n in range(5)])
        assert counted(made) == 5
        assert [member.url for member in members.in_turn()] == [second.url, first.url]
        first.start_process()
        # It rests on.
        assert counted(made) == 5
        members.each[0].rests_until = 0.0
        assert counted(made) == 3
        # A whole command, and the pixel, with one of them away.
        first.kill()
        asked = pfa_flux("blocked-ratio", "--start", "2025-01-01", "--stop", "2027-01-01", "--format", "json",
                         env={"PFA_FLUX_URL": values["url"]})  # fmt: skip
        assert [row["hits"] for row in asked.json["rows"]] == [5]
        looked = pfa_flux("doctor", env={"PFA_FLUX_URL": values["url"]})
        assert f"{first.url} cannot be reached" in " ".join(looked.out.split())
        with PixelServer(tmp_path, url=[first.url, second.url]) as server:
            assert send(server.listen, pages(20)).counted == 20
            until(lambda: server.metrics()["shipped_total"] == 20, "all shipped")
        with connect(settings.load({**values, "url": second.url}, environ={})) as other:
            assert sum(row.hits or 0 for row in other.hits(start="1h")) == 20
        second.kill()
        with pytest.raises(UnreachableError, match="none of 2 addresses answers") as caught:
            counted(made)
        assert all(url in caught.value.message for url in (first.url, second.url))


def test_a_relay_may_have_several_addresses(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace, (nobody,) = make_workspace("influxdb-1.8"), free_ports(1)
    given: dict[str, Any] = {k: v for k, v in workspace.settings().items() if k not in {"data_dir", "token"}}
    with (
        Faulty(workspace.server.url) as relay,
        PixelServer(tmp_path, write_url=[f"http://127.0.0.1:{nobody}", relay.url], **given) as server,
    ):
        assert send(server.listen, pages(20)).counted == 20
        until(lambda: total(workspace) == 20, "all in the database")
        assert relay.seen["pass"] > 0


@pytest.mark.parametrize(
    ("mode", "path", "expected"),
    [
        # What may be asked twice goes to the next address whatever becomes of it.
        ("503", "/api/v2/write", None),
        ("reset", "/api/v2/write", None),
        ("deaf", "/query", None),
        # What makes something goes there only if the first has certainly not got it.
        ("503", "/api/v2/tasks", None),
        ("reset", "/api/v2/tasks", UnreachableError),
        ("deaf", "/api/v2/tasks", UnreachableError),
        # All of a cluster, or of an organisation, are too busy alike.
        ("429", "/api/v2/write", BusyError),
    ],
)
def test_what_is_asked_of_the_next_address(mode: str, path: str, expected: type[Exception] | None) -> None:
    with ExitStack() as stack:
        bad = stack.enter_context(Faulty("http://127.0.0.1:9", mode))
        good = stack.enter_context(Faulty("http://127.0.0.1:9", "404"))
        transport = Transport([bad.url, good.url], Secret("t"), network=Network(timeout=1))
        stack.callback(transport.close)
        stack.enter_context(patience(NONE))
        # The other one answers that it has no such path.
        with pytest.raises(expected or QueryError):
            transport.request("POST", path, data=b"x", headers={"Content-Type": "text/plain"})
        assert (bad.seen[mode], good.seen["404"]) == (1, 0 if expected else 1)


def test_those_that_failed_come_last_the_one_that_has_rested_longest_first() -> None:
    made = Members.of(["http://a:1", "http://b:1", "http://c:1"], Secret(""), "", Network(), basic=False)
    first, second, third = made.each
    made.rest(first)
    made.rest(second)
    assert made.in_turn() == [third, first, second]
    first.rests_until -= REST
    assert made.in_turn() == [first, third, second]
    made.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('url = "http://a:1"', ("http://a:1",)),
        ('url = "http://a:1, http://b:2,http://a:1"', ("http://a:1", "http://b:2")),
        ('url = ["http://a:1", "http://b:2"]', ("http://a:1", "http://b:2")),
        ("url = []", ()),
        ('url = ""', ()),
    ],
)
def test_addresses_are_a_list_or_have_commas_between(text: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(text)
    found = settings.load({}, config=file, environ={})
    assert found.urls == found.write_urls == expected
    assert found.url == (expected[0] if expected else "")
    # One that is set elsewhere takes the place of all of them.
    other = settings.load({}, config=file, environ={"PFA_FLUX_URL": "http://z:1"})
    assert other.urls == ("http://z:1",)
    both = settings.load({"write_url": "http://x:1,http://y:1", "url": "http://z:1"}, config=file, environ={})
    assert (both.write_url, both.write_urls) == ("http://x:1", ("http://x:1", "http://y:1"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('url = ["http://a:1", 5]', "url is list, not a string or a list of strings"),
        ('url = "http://a:1,,http://b:1"', "url has an empty address"),
        ('url = ["http://a:1", "ftp://b"]', "url is not an http or https"),
        ('url = ["http://a:1", "http://me:x@b"]', "url contains a user name or password"),
        ('url = "http://a:x"', "url is not an address"),
        ('replication = "two"', "replication is 'two', not a positive whole number"),
        ("replication = 1000", "replication is 1000"),
        ('consistency = "most"', "consistency is 'most'"),
    ],
)
def test_addresses_and_words_for_a_cluster_that_are_none_are_refused(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=words):
        settings.load({}, config=file, environ={})


def test_all_addresses_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('url = ["http://a:1", "http://b:2"]')
    keys = pfa_flux("config", "check", "--config", str(file), "--format", "json").json["keys"]
    assert next(key["value"] for key in keys if key["key"] == "url") == ["http://a:1", "http://b:2"]


def test_a_cluster_is_asked_for_copies_and_consistency(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-1.8")
    values = {**workspace.settings(), "replication": "3", "consistency": "quorum"}
    with (
        Faulty(workspace.server.url) as between,
        connect(settings.load({**values, "url": between.url}, environ={})) as made,
    ):
        bucket = f"{workspace.rollup}3"
        made.engine.create_bucket(bucket)
        made.write([hit(T0)])
        assert counted(made) == 1
        database, _, policy = bucket.partition("/")
        policies = workspace.client.influxql(f'SHOW RETENTION POLICIES ON "{database}"')
        assert {each["name"]: (each["replicaN"], each["duration"]) for each in policies}[policy] == (3, "0s")
        made.engine.drop_bucket(bucket)
    assert [path for path in between.paths if path.startswith("/api/v2/write")] != []
    assert all("consistency=quorum" in path for path in between.paths if path.startswith("/api/v2/write"))
