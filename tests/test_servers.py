"""Servers of every kind: real ones whose version is hidden, recorded ones, and those that will not do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pfa_flux import settings
from pfa_flux.engines.base import OLD_FLUX, Capabilities
from pfa_flux.engines.influxdb.detect import detect
from pfa_flux.errors import StoreUnfitError, UnfitServerError
from pfa_flux.helper.first_look import first_look
from tests import recorded
from tests.cli import pfa_flux
from tests.contract import fill
from tests.data import hit, load
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace
from tests.engines.process import free_ports
from tests.load import send
from tests.recorded import Recorded, Shape
from tests.stored import hits_by_page, until
from tests.test_shipping import pages, pixel
from tests.webserver import Nginx

MINUTE = 60 * 10**9


def capabilities(values: dict[str, str]) -> Capabilities:
    server = detect(settings.load(values, environ={}))
    server.close()
    return server.capabilities


@contextmanager
def hiding(folder: Path, workspace: Workspace, more: str = "") -> Iterator[str]:
    """nginx in front of a server, as its maintainers advise: nothing names the version. Gives its address."""
    (port,) = free_ports(1)
    http = f"""
  server {{
    listen 127.0.0.1:{port};
    client_max_body_size 64m;
    proxy_hide_header X-Influxdb-Version;
    proxy_hide_header X-Influxdb-Build;
    {more}
    location / {{ proxy_pass {workspace.server.url}; }}
  }}"""
    with Nginx(folder, port, http):
        yield f"http://127.0.0.1:{port}"


NO_HEALTH = "location = /health { return 404; }"
NO_PING = f"{NO_HEALTH} location = /ping {{ return 204; }}"


@pytest.mark.parametrize(
    "more", ["", NO_HEALTH, NO_PING], ids=["header", "header and health", "header, health and ping"]
)
@pytest.mark.parametrize("engine", ["influxdb-1.8", "influxdb-2.7"])
def test_a_hidden_version_hides_nothing_that_a_server_can_do(
    engine: str, more: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = make_workspace(engine)
    with hiding(tmp_path / "nginx", workspace, more) as url:
        found = capabilities({**workspace.settings(), "url": url})
    expected = capabilities(workspace.settings())
    # A 1.8 names it in /ping?verbose=true, and to an administrator in InfluxQL, too.
    unnamed = workspace.client.is_2 and more
    assert found == (replace(expected, version="") if unnamed else expected)
    assert found.title == ("InfluxDB 2.x" if unnamed else f"InfluxDB {expected.version}")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["influxdb-1.8", "influxdb-2.7"])
def test_behind_a_proxy_that_hides_the_version_everything_works(
    engine: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace, now = make_workspace(engine), time.time_ns()
    fill(workspace, now, [*(hit(now - 60 * MINUTE + i * MINUTE) for i in range(8)), load(now - 60 * MINUTE)])
    with hiding(tmp_path / "nginx", workspace) as url:
        env = {**workspace.env(), "PFA_FLUX_URL": url}

        def run(*words: str) -> str:
            done = pfa_flux(*words, env=env)
            assert done.code == 0, (words, done)
            return done.out

        run("install-task")
        run("task", "backfill", "--start", "2h")
        run("task", "verify", "--repair", "--start", "2h")
        run("task", "verify", "--start", "2h")
        assert '"hits":8' in run("blocked-ratio", "--start", "2h", "--format", "json").replace(" ", "")
        assert f"InfluxDB {workspace.client.version()}" in run("doctor")
        run("task", "status", "--start", "2h")
        with pixel(tmp_path / "pixel", workspace, url=url) as server:
            assert send(server.listen, pages(5)).counted == 5
            until(lambda: server.metrics()["shipped_total"] == 5, "all shipped")
        run("task", "remove")
    assert hits_by_page(workspace)["/1"] == 1


JOINED = {"X-Influxdb-Version": "2.0.9, ", "X-Influxdb-Build": "OSS, oss2"}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (
            recorded.influxdb_1("1.11.8"),
            Capabilities("influxdb1", "1.11.8", "0.196.1", join=True, to=True, kapacitor=True),
        ),
        (
            recorded.influxdb_2("2.0.0", "", {"X-Influxdb-Version": "", "X-Influxdb-Build": "cloud2"}),
            Capabilities("influxdb2", "2.0.0", OLD_FLUX, to=True, tasks="influxdb"),
        ),
        (
            recorded.influxdb_2("2.0.9", "0.131.0", JOINED),
            Capabilities("influxdb2", "2.0.9", "0.131.0", to=True, tasks="influxdb"),
        ),
        (
            recorded.influxdb_2("2.3.0", "0.171.0", {"X-Influxdb-Version": "v2.3.0", "X-Influxdb-Build": "OSS"}),
            Capabilities("influxdb2", "2.3.0", "0.171.0", to=True, tasks="influxdb"),
        ),
    ],
    ids=["1.11.8", "2.0.0", "2.0.9", "2.3.0"],
)
def test_servers_that_are_not_at_hand_are_known_by_what_they_answer(shape: Shape, expected: Capabilities) -> None:
    with Recorded(shape) as server:
        found = capabilities({"url": server.url, "token": "t"})
    assert found == expected
    assert not found.range_takes_stop


UNFIT = {
    "InfluxDB 3": (recorded.INFLUXDB_3, "is InfluxDB 3.9.1: it has no Flux, no tasks and no deletes"),
    "InfluxDB 3, its token missing": (recorded.INFLUXDB_3_WITHOUT_TOKEN, "is InfluxDB 3: it has no Flux"),
    "InfluxDB 3, behind a proxy": (recorded.INFLUXDB_3_BEHIND_A_PROXY, "is InfluxDB 3.9.1: it has no Flux"),
    "InfluxDB 3.0": (recorded.OLDER_INFLUXDB_3, "is InfluxDB 3.0.0: it has no Flux, no tasks and no deletes"),
    "QuestDB": (recorded.QUESTDB, "is QuestDB: it takes points, but answers neither Flux nor InfluxQL"),
    "QuestDB, behind a proxy": (recorded.QUESTDB_BEHIND_A_PROXY, "is QuestDB: it takes points"),
    "VictoriaMetrics": (recorded.VICTORIAMETRICS, "is VictoriaMetrics: it takes points, but answers neither"),
    "VictoriaMetrics, behind a proxy": (recorded.VICTORIAMETRICS_BEHIND_A_PROXY, "is VictoriaMetrics: it takes points"),
    "a login page": (recorded.LOGIN_PAGE, "answers with a web page instead of data, for example with a login page"),
    "empty pages": (recorded.EMPTY, "answers every request with an empty page (200), so it is not InfluxDB"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_what_will_not_do_is_told_by_its_name_before_a_hit_is_sent(kind: str, tmp_path: Path) -> None:
    shape, words = UNFIT[kind]
    with Recorded(shape) as server:
        own = settings.load({"url": server.url, "token": "t", "data_dir": str(tmp_path)}, environ={})
        with pytest.raises(UnfitServerError) as caught:
            detect(own)
        assert caught.value.message.startswith(f"{server.url} {words}")
        assert caught.value.hint
        with pytest.raises(StoreUnfitError) as unfit:
            first_look(own)
        assert unfit.value.message == caught.value.message
        assert unfit.value.hint.startswith("Hits wait in the spool.")
        assert not [line for line in server.asked if line.endswith("/write")]


@pytest.mark.slow
@pytest.mark.parametrize("kind", UNFIT)
def test_commands_and_the_pixel_say_so_and_hits_wait(kind: str, make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    shape, words = UNFIT[kind]
    workspace = make_workspace("influxdb-2.7")
    with Recorded(shape) as other:
        env = {**workspace.env(), "PFA_FLUX_URL": other.url}
        for command in (["blocked-ratio"], ["install-task"], ["task", "verify"], ["doctor"]):
            done = pfa_flux(*command, env=env)
            assert done.code == 4, command
            assert words in " ".join((done.out if command == ["doctor"] else done.err).split()), command
        with pixel(tmp_path, workspace, url=other.url) as server:
            assert send(server.listen, pages(3)).counted == 3
            until(lambda: words in server.get("/healthz"), "the health check knows")
            assert (server.metrics()["journal_rows"], server.metrics()["shipped_total"]) == (3, 0)
            assert f"hits wait in the spool: {other.url} {words}" in server.log
        assert not [line for line in other.asked if line.endswith("/write")]
