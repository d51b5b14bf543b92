"""`pfa-flux doctor URL` as a user has it: behind real nginx, and as a command."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from pfa_flux.doctor.site.look import look
from pfa_flux.settings import load
from pfa_flux.setup.tags import image, tags, views
from tests.cli import pfa_flux
from tests.engines.process import free_ports
from tests.front import printed
from tests.pixel_server import PixelServer
from tests.site_server import Page, SiteServer, lead
from tests.test_site import SITE, STATS, TWIN, A, World
from tests.webserver import Nginx


def test_behind_real_nginx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"load_path": "/load.gif", "domains": [SITE, STATS]}
    (port,) = free_ports(1)
    with ExitStack() as stack:
        pixel = stack.enter_context(PixelServer(tmp_path / "pixel", pixel=given))
        world = World(SiteServer(), pixel, load({}, environ={}, config=pixel.config))
        (tmp_path / "html").mkdir()
        (tmp_path / "html" / "a").write_text(tags(world.settings.pixel))
        server = printed(pixel.config, "--part", "server")
        http = f"{printed(pixel.config, '--part', 'http')}\ndefault_type text/html;\n" + "\n".join((
            f"server {{ listen 127.0.0.1:{port}; server_name {SITE};\n{server}\nroot {tmp_path}/html; }}",
            f"server {{ listen 127.0.0.1:{port}; server_name {TWIN}; return 301 http://{SITE}$request_uri; }}",
        ))  # fmt: skip
        stack.enter_context(Nginx(tmp_path / "nginx", port, http))
        lead(monkeypatch, {SITE: port, TWIN: port})
        checks = world.look(url=f"http://{A}")
        assert {check.status for check in checks.values()} == {"ok"}
        assert checks["a view"].found == (
            f"A view of http://{A} with JavaScript counts as 1 hit and 1 load on {SITE} /a; without, 1 hit."
        )
        assert checks[TWIN].found == f"redirects to http://{A}"
        assert pixel.counted() == pixel.loaded() == {}
        pixel.stop()
        check = {check.name: check for check in look(f"http://{A}", world.settings)}["hit"]
        assert "cannot reach the pixel" in check.found
        assert "httpd_can_network_connect" in check.advice


def test_the_command(tmp_path: Path) -> None:
    server = PixelServer(tmp_path, pixel={"domains": ["127.0.0.1"]})
    # Else `serve` installs them, some time after it answers.
    assert pfa_flux("install-task", "--config", str(server.config)).code == 0
    with server as pixel, SiteServer(pixel) as site:
        own = load({}, environ={}, config=pixel.config).pixel
        host = f"127.0.0.1:{site.port}"
        site.pages[f"{host}/a"] = Page(image(own) + views(own))
        done = pfa_flux("doctor", f"http://{host}/a", "--config", str(pixel.config), env={"COLUMNS": "300"})
        assert done.code == 0, done.out
        assert f"A view of http://{host}/a counts as 1 hit on 127.0.0.1 /a, with or without JavaScript" in done.out
        site.pages[f"{host}/a"] = Page("<p>")
        failed = pfa_flux("doctor", f"http://{host}/a", "--config", str(pixel.config))
        assert failed.code == 1
        assert pfa_flux("doctor", "ftp://x/", "--config", str(pixel.config)).code == 2
        assert pixel.metrics()['hits_total{kind="hit"}'] == 0
