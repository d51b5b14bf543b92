"""The live page behind real nginx, as `pfa-flux nginx --view` prints it: under a path, with a password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import pytest
import urllib3

from pfa_flux import Analytics, Settings
from pfa_flux.view.page import LivePage
from pfa_flux.view.server import Server
from tests.cli import pfa_flux
from tests.data import HOUR, T0, hit
from tests.engines.process import free_ports
from tests.front import Recorder
from tests.webserver import Nginx

HOST = "stats.example"
NAME, PASSWORD = "reader", "c4n4ry-password"
BASIC = {"Authorization": urllib3.make_headers(basic_auth=f"{NAME}:{PASSWORD}")["authorization"]}


@dataclass
class Front:
    """nginx before the page.

    Attributes:
        nginx: nginx.
    """

    nginx: Nginx

    def get(self, path: str, **headers: str) -> urllib3.BaseHTTPResponse:
        """The answer to a request of the site."""
        named = {"Host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
        with urllib3.HTTPConnectionPool("127.0.0.1", self.nginx.port, retries=False, timeout=20) as pool:
            return pool.request("GET", path, headers=named, redirect=False)


def printed(listen: str, folder: Path) -> str:
    """nginx's `http { }` with a site that has the page under /stats/, and its file of passwords."""
    done = pfa_flux("nginx", "--view", "/stats/", "--listen", listen)
    assert (done.code, done.err) == (0, "")
    passwords = folder / "passwords"
    passwords.write_text(f"{NAME}:{{PLAIN}}{PASSWORD}\n")
    own = done.out.replace("/etc/nginx/pfa-flux.htpasswd", str(passwords))
    site = f"listen 127.0.0.1:PORT; server_name {HOST}; absolute_redirect off;"
    return f"server {{ {site}\n{own}\nlocation / {{ return 200 site; }} }}"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder, (port,) = tmp_path_factory.mktemp("front"), free_ports(1)
    settings, now = Settings(data_dir=folder / "data", sites={"blog": ("example.com",)}), T0 + 48 * HOUR
    with Analytics(settings, clock=lambda: now) as analytics:
        analytics.write([hit(T0 + n * HOUR, page=f"/{n % 2}") for n in range(40)])
    with ExitStack() as stack:
        server = stack.enter_context(Server(LivePage(settings, clock=lambda: now), "127.0.0.1", 0))
        server.start()
        text = printed(f"127.0.0.1:{server.server_address[1]}", folder).replace("PORT", str(port), 1)
        yield Front(stack.enter_context(Nginx(folder / "nginx", port, text)))


def test_without_the_password_there_is_nothing(front: Front) -> None:
    for headers in ({}, {"Authorization": urllib3.make_headers(basic_auth=f"{NAME}:guess")["authorization"]}):
        answer = front.get("/stats/", **headers)
        assert answer.status == 401
        assert b"page views" not in answer.data
    assert front.get("/", **BASIC).data == b"site"


def test_with_it_the_page_is_under_its_path_and_every_link_leads_to_it(front: Front) -> None:
    answer = front.get("/stats/", **BASIC)
    assert answer.status == 200
    assert b"<b>40</b><span>page views, by the pixel</span>" in answer.data
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    links = {unescape(link) for link in re.findall('href="([?][^"]*)"', answer.data.decode())}
    assert len(links) > 10
    for link in links:
        assert front.get(f"/stats/{link}", Sec_Fetch_Site="same-origin", **BASIC).status == 200
    assert front.get("/stats", **BASIC).headers["Location"] == "/stats/"
    assert front.get("/stats/?from=x", **BASIC).status == 400
    assert front.get("/stats/other", **BASIC).status == 404


def test_a_link_from_another_site_leads_there_and_nothing_else_of_it_does(front: Front) -> None:
    there = front.get("/stats/", Sec_Fetch_Site="cross-site", Sec_Fetch_Dest="document", **BASIC)
    image = front.get("/stats/", Sec_Fetch_Site="cross-site", Sec_Fetch_Dest="image", **BASIC)
    assert (there.status, image.status) == (200, 403)


def test_nginx_writes_no_address_down_and_passes_no_password_on(front: Front, tmp_path: Path) -> None:
    assert (front.nginx.folder / "access.log").read_text().count("stats") == 0
    (port,) = free_ports(1)
    with Recorder() as recorder:
        listen = recorder.listen
        text = printed(listen, tmp_path).replace("PORT", str(port), 1)
        with Nginx(tmp_path / "nginx", port, text) as nginx:
            Front(nginx).get("/stats/?by=page", Cookie="c=1", X_Forwarded_Host="evil.example", **BASIC)
    (sent,) = recorder.connections
    head = sent.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    assert head[0] == "GET /?by=page HTTP/1.1"
    assert f"Host: {listen}" in head
    assert not [line for line in head if line.lower().startswith(("authorization", "cookie"))]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--view", "stats/"), "--view is 'stats/', which nginx would read otherwise than is meant"),
        (("--view", "/stats"), "--view is '/stats', which is not a path for the page"),
        (("--view", "/"), "--view is '/', which is not a path for the page"),
        (("--view", "/a;b/"), "--view is '/a;b/', which nginx would read otherwise than is meant"),
        (("--view", "/stats/", "--listen", "unix:/run/x"), "--listen is a socket"),
    ],
)
def test_a_path_that_nginx_would_read_otherwise_is_refused(options: tuple[str, ...], said: str) -> None:
    done = pfa_flux("nginx", *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
