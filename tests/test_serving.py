"""What plain `pfa-flux doctor` says of the pixel that should be served, and of page loads that never came."""

from __future__ import annotations

import http.client
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pfa_flux import settings
from pfa_flux.doctor.checks import examine
from pfa_flux.doctor.serving import counts, serving
from pfa_flux.engines.base import Check
from pfa_flux.settings import Settings
from tests.cli import pfa_flux
from tests.contract import fill
from tests.data import DAY, HOUR, hit, load
from tests.engines.plugin import MakeWorkspace
from tests.load import get, send
from tests.pixel_server import PixelServer
from tests.stored import until


def of(pixel: PixelServer) -> Settings:
    return settings.load({}, environ={}, config=pixel.config)


def look(own: Settings) -> dict[str, Check]:
    return {check.name: check for check in serving(own)}


def test_a_pixel_that_is_served_is_well_and_counts_nothing_of_being_asked(tmp_path: Path) -> None:
    with PixelServer(tmp_path) as pixel:
        assert send(pixel.listen, [get()]).counted == 1
        found = f"answers at {pixel.listen}; 1 hit and 0 loads since its start"
        assert look(of(pixel)) == {"serve": Check("serve", "ok", found)}
        assert pixel.metrics()['hits_total{kind="hit"}'] == 1


def test_one_on_a_socket(tmp_path: Path) -> None:
    with PixelServer(tmp_path, pixel={"listen": f"unix:{tmp_path}/s", "admin": ""}) as pixel:
        assert look(of(pixel)) == {"serve": Check("serve", "ok", f"answers at unix:{tmp_path}/s")}
        assert counts(of(pixel).pixel) is None


def test_one_that_was_stopped_is_a_failure_and_one_that_never_ran_is_said(tmp_path: Path) -> None:
    pixel = PixelServer(tmp_path, pixel={"listen": f"unix:{tmp_path}/s"}, url="http://127.0.0.1:9")
    check = look(of(pixel))["serve"]
    assert (check.status, check.found) == (
        "skipped", f"nothing answers at unix:{tmp_path}/s (no socket); it has not run here yet"
    )  # fmt: skip
    assert check.advice.startswith("Start it: pfa-flux serve")
    with pixel:
        assert look(of(pixel))["serve"].status == "ok"
    check = look(of(pixel))["serve"]
    assert (check.status, check.found) == (
        "failed", f"nothing answers at unix:{tmp_path}/s (no socket): page views are not counted"
    )  # fmt: skip


def test_a_stopped_pixel_has_doctor_end_with_1(tmp_path: Path) -> None:
    with PixelServer(tmp_path) as pixel:
        assert send(pixel.listen, [get()]).counted == 1
        assert pfa_flux("doctor", "--config", str(pixel.config)).code == 0
    stopped = pfa_flux("doctor", "--config", str(pixel.config), env={"COLUMNS": "200"})
    assert (stopped.code, "connection refused): page views are not counted" in stopped.out) == (1, True)


def test_where_nothing_says_that_a_pixel_is_here_none_is_missed(tmp_path: Path) -> None:
    own = settings.load({"url": "http://127.0.0.1:9", "data_dir": str(tmp_path)}, environ={})
    # Whatever listens at the default address.
    assert look(own) == {} or look(own)["serve"].status == "ok"


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:9"])
def test_one_that_listens_elsewhere_than_the_settings_say(url: str, tmp_path: Path) -> None:
    with PixelServer(tmp_path, url=url) as pixel:
        own = of(pixel)
        check = look(replace(own, pixel=replace(own.pixel, listen=f"unix:{tmp_path}/none")))["serve"]
        assert (check.status, check.found) == (
            "warning",
            f"nothing answers at unix:{tmp_path}/none (no socket); pfa-flux serve runs, but listens elsewhere",
        )
        assert "listen and admin under [pixel]" in check.advice


def test_another_program_in_its_place(tmp_path: Path) -> None:
    with PixelServer(tmp_path) as pixel:
        own = of(pixel)
        check = look(replace(own, pixel=replace(own.pixel, path="/other.gif")))["serve"]
        assert (check.status, check.found) == (
            "failed", f"{pixel.listen} answers 404 for /other.gif"
        )  # fmt: skip


def test_a_pixel_without_its_metrics(tmp_path: Path) -> None:
    with PixelServer(tmp_path) as pixel:
        own = of(pixel)
        check = look(replace(own, pixel=replace(own.pixel, admin="127.0.0.1:9")))["serve"]
        assert (check.status, check.found) == (
            "warning", f"answers at {pixel.listen}; no /metrics at 127.0.0.1:9"
        )  # fmt: skip


def test_what_healthz_says_is_wrong(tmp_path: Path) -> None:
    with PixelServer(tmp_path, url="http://127.0.0.1:9") as pixel:
        assert send(pixel.listen, [get()]).counted == 1
        until(lambda: look(of(pixel))["serve"].status == "failed", "hits stand still")
        assert "none has been shipped" in look(of(pixel))["serve"].found


def test_views_that_are_refused_for_their_domain(tmp_path: Path) -> None:
    with PixelServer(tmp_path, pixel={"domains": ["example.com"]}) as pixel:
        host, _, port = pixel.listen.rpartition(":")
        client = http.client.HTTPConnection(host, int(port), timeout=10)
        for name, count in (("example.com", 60), ("www.example.com", 1)):
            for _ in range(count):
                client.request("GET", "/count.gif", headers={"Referer": f"https://{name}/"})
                client.getresponse().read()
        # Made-up Referers are always among them.
        assert look(of(pixel)).keys() == {"serve"}
        client.request("GET", "/count.gif", headers={"Referer": "https://www.example.com/"})
        client.getresponse().read()
        client.close()
        check = look(of(pixel))["domains"]
        assert (check.status, check.found) == ("warning", "2 page views were refused by domain")
        assert "with www and without" in check.advice


@pytest.mark.parametrize("engine", ["influxdb-2.7", "influxdb-1.8", "embedded"])
def test_page_loads_that_never_came_or_come_no_more(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace, now = make_workspace(engine), time.time_ns()
    own = settings.load(workspace.settings(), environ={})

    def newest() -> Check | None:
        return {check.name: check for check in examine(own, now)[0]}.get("newest load")

    assert newest() is None
    fill(workspace, now, [hit(now - HOUR)])
    check = newest()
    assert check is not None
    assert (check.status, check.found) == ("warning", "none ever, although hits arrive")
    assert "pfa-flux init --loads script" in check.advice
    fill(workspace, now, [load(now - 8 * DAY)])
    check = newest()
    assert check is not None
    assert (check.status, check.found) == ("warning", "none in the last 7 days, although hits arrive")
    fill(workspace, now, [load(now - 6 * DAY)])
    check = newest()
    assert check is not None
    assert check.status == "ok"
    own = replace(own, task=replace(own.task, loads=False))
    assert newest() is None
