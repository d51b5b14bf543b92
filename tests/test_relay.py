"""Hits through a relay in front of the database: Telegraf, as it is run, with its buffer in memory and on disk."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pfa_flux import connect, settings
from pfa_flux.errors import NotInfluxDBError, SettingsError
from tests.cli import pfa_flux
from tests.engines import EngineUnavailableError, Workspace, source
from tests.engines.catalog import PROGRAMS
from tests.engines.plugin import MakeWorkspace
from tests.engines.process import Process, free_ports
from tests.faulty import Faulty
from tests.load import send
from tests.pixel_server import PixelServer
from tests.stored import hits_by_page, total, until
from tests.test_shipping import pages

TOKEN = "relayed"


@contextmanager
def telegraf(folder: Path, workspace: Workspace, target: str, *, disk: bool = False) -> Iterator[tuple[str, Process]]:
    """Telegraf that listens as an InfluxDB 2 and writes to a workspace. Gives its address."""
    try:
        found = source.find(PROGRAMS["telegraf"])
    except EngineUnavailableError as error:
        pytest.skip(str(error))
    folder.mkdir()
    (port,) = free_ports(1)
    on_disk = f'buffer_strategy = "disk"\n  buffer_directory = "{folder}/buffer"'
    buffer = on_disk if disk else "metric_buffer_limit = 200"
    (folder / "telegraf.conf").write_text(f"""
[agent]
  interval = "1s"
  flush_interval = "200ms"
  flush_jitter = "0s"
  metric_batch_size = 100
  omit_hostname = true
  {buffer}
[[inputs.influxdb_v2_listener]]
  service_address = "127.0.0.1:{port}"
  token = "{TOKEN}"
[[outputs.influxdb_v2]]
  urls = ["{target}"]
  token = "{workspace.server.token}"
  organization = "{workspace.server.org}"
  bucket = "{workspace.raw}"
  timeout = "1s"
""")
    process = found.runner(PROGRAMS["telegraf"], ["--config", str(folder / "telegraf.conf")], folder)
    assert isinstance(process, Process)
    process.start()
    try:
        until(lambda: "Started HTTP listener" in (folder / "log").read_text(), "Telegraf listens")
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.stop()


def relayed(folder: Path, workspace: Workspace, relay: str) -> PixelServer:
    values: dict[str, Any] = {
        k: v for k, v in workspace.settings().items() if k not in {"data_dir", "kapacitor_url", "token"}
    }
    server = PixelServer(folder, timeout=2, token=TOKEN, write_url=relay, **values)
    server.config.chmod(0o600)
    return server


@pytest.mark.slow
def test_hits_go_through_the_relay_and_questions_to_the_database(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace("influxdb-2.7")
    with telegraf(tmp_path / "relay", workspace, workspace.server.url) as (relay, _):
        with relayed(tmp_path / "pixel", workspace, relay) as server:
            assert send(server.listen, pages(20)).counted == 20
            until(lambda: total(workspace) == 20, "all in the database")
            until(lambda: "relay" in json.loads(server.get("/healthz")), "the relay is named")
            assert json.loads(server.get("/healthz"))["relay"].startswith("Telegraf")
        assert "hits are written through Telegraf" in server.log
        assert "it confirms hits before the database has them" in server.log
        # Who asks has a token of the database.
        env = {**workspace.env(), "PFA_FLUX_WRITE_URL": relay}
        asked = pfa_flux("blocked-ratio", "--format", "json", env=env)
        assert [row["hits"] for row in asked.json["rows"]] == [20]
        with pytest.raises(NotInfluxDBError, match=r"is Telegraf.*forwards writes and answers no queries"):
            connect(settings.load({"url": relay, "token": TOKEN}, environ={}))
    assert hits_by_page(workspace) == {f"/{n}": 1 for n in range(20)}


def ship(folder: Path, workspace: Workspace, relay: str) -> None:
    """Have 600 hits taken by the relay."""
    with relayed(folder, workspace, relay) as server:
        assert send(server.listen, pages(600)).counted == 600
        until(lambda: server.metrics()["shipped_total"] == 600, "all taken by the relay")


@pytest.mark.parametrize("disk", [False, True], ids=["memory", "disk"])
def test_a_relay_whose_buffer_is_full_loses_hits_unless_it_is_on_disk(
    disk: bool, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = make_workspace("influxdb-2.7")
    with (
        Faulty(workspace.server.url, "500") as database,
        telegraf(tmp_path / "relay", workspace, database.url, disk=disk) as (relay, _),
    ):
        ship(tmp_path / "pixel", workspace, relay)
        time.sleep(1)
        database.mode = "pass"
        if disk:
            until(lambda: total(workspace) == 600, "all in the database")
        else:
            until(lambda: total(workspace) >= 200, "what the relay still had")
            time.sleep(2)
            assert total(workspace) == 200


def test_a_relay_that_is_killed_has_what_its_disk_had(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace("influxdb-2.7")
    with (
        Faulty(workspace.server.url, "500") as database,
        telegraf(tmp_path / "relay", workspace, database.url, disk=True) as (relay, process),
    ):
        ship(tmp_path / "pixel", workspace, relay)
        # What it has confirmed a moment ago may still be on its way to the disk.
        time.sleep(2)
        process.kill()
        database.mode = "pass"
        process.start()
        until(lambda: total(workspace) == 600, "all in the database")
    assert hits_by_page(workspace) == {f"/{n}": 1 for n in range(600)}


def test_an_address_to_write_to_needs_one_to_ask(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="write_url is set, but url is not an InfluxDB address"):
        settings.load({"write_url": "http://127.0.0.1:8186"}, environ={}, directory=tmp_path)
    with pytest.raises(SettingsError, match="write_url is not an http or https address"):
        settings.load({"url": "http://a", "write_url": "ftp://x"}, environ={}, directory=tmp_path)
    found = settings.load({"url": "http://a"}, environ={"PFA_FLUX_WRITE_URL": "http://b:1"}, directory=tmp_path)
    assert found.write_url == "http://b:1"
