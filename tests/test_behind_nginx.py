"""The pixel behind nginx: which headers reach it, what it counts, and what visitors get while it is down."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pfa_flux.pixel.counter import GIF
from tests.cli import pfa_flux
from tests.engines.process import free_ports
from tests.front import CANARY, DOMAINS, FORGOTTEN, HOSTS, ONION, Client, Recorder, printed, proxied, settings_file
from tests.pixel_server import PixelServer
from tests.webserver import Nginx


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose name leaves room for a socket's, which may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="pfa") as folder:
        yield Path(folder)


def test_the_pixel_gets_the_named_headers_and_nothing_else(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with Recorder() as upstream:
        config = settings_file(tmp_path, listen=upstream.listen)
        with Nginx(tmp_path / "nginx", port, proxied(config, port)), Client(port) as client:
            everything = dict.fromkeys(FORGOTTEN, CANARY)
            answer = client.ask(
                "example.test:8080",
                f"/count.gif?{CANARY}=1",
                body=CANARY.encode(),
                Referer="http://example.test:8080/page",
                Sec_Purpose="prefetch;prerender",
                Purpose="prefetch",
                X_Purpose="preview",
                X_Moz="prefetch",
                Sec_Fetch_Dest="image",
                Sec_GPC="1",
                DNT="1",
                **everything,
            )
            assert (answer.status, answer.data) == (200, GIF)
            assert client.ask(ONION).status == 200
    assert upstream.connections == [
        b"GET /count.gif HTTP/1.1\r\n"
        b"Host: example.test:8080\r\n"
        b"Referer: http://example.test:8080/page\r\n"
        b"Sec-Purpose: prefetch;prerender\r\n"
        b"Purpose: prefetch\r\n"
        b"X-Purpose: preview\r\n"
        b"X-Moz: prefetch\r\n"
        b"Sec-Fetch-Dest: image\r\n"
        b"Sec-GPC: 1\r\n"
        b"DNT: 1\r\n"
        b"\r\n"
        b"GET /count.gif HTTP/1.1\r\n"
        b"Host: " + ONION.encode() + b"\r\n"
        b"\r\n"
    ]


def test_the_scheme_is_passed_where_a_proxy_is_trusted(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with Recorder() as upstream:
        config = settings_file(tmp_path, listen=upstream.listen, trust_proxy=True)
        with Nginx(tmp_path / "nginx", port, proxied(config, port)), Client(port) as client:
            client.ask("example.test", X_Forwarded_Proto=CANARY, X_Forwarded_Host=CANARY)
    assert upstream.connections == [b"GET /count.gif HTTP/1.1\r\nHost: example.test\r\nX-Forwarded-Proto: http\r\n\r\n"]


def over_tcp(_: Path) -> dict[str, Any]:
    return {}


def over_a_socket(short: Path) -> dict[str, Any]:
    return {"listen": f"unix:{short}/pixel.sock"}


@pytest.mark.parametrize("way", [over_tcp, over_a_socket])
def test_three_hosts_on_one_nginx_are_counted_as_their_own_domains(
    tmp_path: Path, short: Path, way: Callable[[Path], dict[str, Any]]
) -> None:
    (port,) = free_ports(1)
    settings = {**way(short), "domains": DOMAINS, "load_path": "/load.gif"}
    with ExitStack() as stack:
        pixel = stack.enter_context(PixelServer(tmp_path / "pixel", pixel=settings))
        stack.enter_context(Nginx(tmp_path / "nginx", port, proxied(pixel.config, port)))
        client = stack.enter_context(Client(port))
        for host, count in zip(HOSTS, (3, 2, 1), strict=True):
            for _ in range(count):
                answer = client.ask(host, Referer=f"http://{host}/page?{CANARY}")
                assert (answer.status, answer.data) == (200, GIF)
                assert answer.headers["Cache-Control"] == "no-store"
                assert "X-Pfa-Flux" not in answer.headers
        # I2P's proxy leaves the path alone of a Referer; a browser may send none.
        client.ask("example.i2p", Referer="/relative?a=b")
        client.ask(ONION)
        client.ask("example.test", "/load.gif", Referer="http://example.test/page")
        assert pixel.counted() == {
            ("example.test", "/page"): 3,
            (ONION, "/page"): 2,
            (ONION, "(unknown)"): 1,
            ("example.i2p", "/page"): 1,
            ("example.i2p", "/relative"): 1,
        }
        assert pixel.counted("network") == {("clearnet",): 3, ("tor",): 3, ("i2p",): 2}
        metrics = pixel.metrics()
        assert (metrics['hits_total{kind="hit"}'], metrics['hits_total{kind="load"}']) == (8, 1)
        # nginx keeps its connection.
        assert metrics["connections"] == 1


def test_prefetch_and_opt_out_reach_the_pixel_and_are_not_counted(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with ExitStack() as stack:
        settings = {"domains": DOMAINS, "opt_out": ["gpc", "dnt"]}
        pixel = stack.enter_context(PixelServer(tmp_path / "pixel", pixel=settings))
        stack.enter_context(Nginx(tmp_path / "nginx", port, proxied(pixel.config, port)))
        client = stack.enter_context(Client(port))
        for header, value, why in (
            ("Sec_Purpose", "prefetch", "prefetch"),
            ("Sec_Purpose", "prefetch;prerender", "prefetch"),
            ("Purpose", "prefetch", "prefetch"),
            ("X_Moz", "prefetch", "prefetch"),
            ("Purpose", "preview", "prefetch"),
            ("X_Purpose", "preview", "prefetch"),
            ("Sec_Fetch_Dest", "document", "destination"),
            ("Sec_GPC", "1", "opt_out"),
            ("DNT", "1", "opt_out"),
        ):
            headers: dict[str, Any] = {"Referer": "http://example.test/page", header: value}
            answer = client.ask("example.test", **headers)
            assert (answer.status, answer.data, answer.headers["X-Pfa-Flux"]) == (200, GIF, why)
        assert pixel.counted() == {}
        metrics = pixel.metrics()
        reasons = {"prefetch": 6, "opt_out": 2, "destination": 1}
        assert {reason: metrics[f'rejected_total{{reason="{reason}"}}'] for reason in reasons} == reasons


BROWSERS = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 13; CUBOT P80) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; rv:140.0) Gecko/20100101 Firefox/140.0",
)
BOTS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
    "CCBot/2.0 (https://commoncrawl.org/faq/)",
    "Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)",
)
PREVIEWS = (
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5",
    "Mozilla/5.0 (compatible; BingPreview/1.0b)",
)


def test_own_requests_bots_and_previews_are_told_apart_by_nginx_which_passes_on_that_word_alone(tmp_path: Path) -> None:
    (port,) = free_ports(1)

    def word(agent: str) -> str:
        """What is passed on of a browser's name."""
        before = len(upstream.connections[0]) if upstream.connections else 0
        assert client.ask("example.test", User_Agent=agent, X_Pfa_Skip=CANARY).status == 200
        (head,) = upstream.connections[0][before:].split(b"\r\n\r\n")[:-1]
        assert head.startswith(b"GET /count.gif HTTP/1.1\r\nHost: example.test")
        return head.partition(b"\r\nX-Pfa-Skip: ")[2].decode()

    with Recorder() as upstream:
        printed_for_us = proxied(settings_file(tmp_path, listen=upstream.listen), port)
        with Nginx(tmp_path / "nginx", port, printed_for_us), Client(port) as client:
            assert [word(agent) for agent in BROWSERS] == ["", "", ""]
            assert [word(agent) for agent in BOTS] == ["bot"] * 5
            assert [word(agent) for agent in PREVIEWS] == ["preview"] * 3
        upstream.connections.clear()
        own = printed_for_us.replace("    # 192.0.2.7 own;", "    127.0.0.0/8 own;")
        (folder := tmp_path / "own").mkdir()
        with Nginx(folder, port, own), Client(port) as client:
            assert [word(agent) for agent in (BROWSERS[0], BOTS[0])] == ["own", "bot"]


def test_what_nginx_asks_to_skip_is_answered_and_not_counted(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with ExitStack() as stack:
        pixel = stack.enter_context(PixelServer(tmp_path / "pixel", pixel={"domains": DOMAINS}))
        stack.enter_context(Nginx(tmp_path / "nginx", port, proxied(pixel.config, port)))
        client = stack.enter_context(Client(port))
        found = [
            client.ask("example.test", Referer="http://example.test/", User_Agent=agent).headers.get("X-Pfa-Flux")
            for agent in (BROWSERS[0], BOTS[0], PREVIEWS[0])
        ]
        assert found == [None, "skipped_bot", "skipped_preview"]
        assert pixel.counted() == {("example.test", "/"): 1}
        metrics = pixel.metrics()
        assert metrics['skipped_total{reason="bot"}'] == metrics['skipped_total{reason="preview"}'] == 1


def test_pages_get_their_gif_while_the_pixel_is_down_and_are_counted_again_afterwards(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with ExitStack() as stack:
        pixel = stack.enter_context(PixelServer(tmp_path / "pixel", pixel={"domains": DOMAINS}))
        stack.enter_context(Nginx(tmp_path / "nginx", port, proxied(pixel.config, port)))
        client = stack.enter_context(Client(port))
        assert "X-Pfa-Flux" not in client.ask("example.test", Referer="http://example.test/1").headers
        pixel.kill()
        down = client.ask("example.test", Referer="http://example.test/2")
        # nginx has a dot of its own.
        assert (down.status, down.data[:6], len(down.data)) == (200, b"GIF89a", 43)
        assert down.headers["Content-Type"] == "image/gif"
        assert (down.headers["Cache-Control"], down.headers["X-Pfa-Flux"]) == ("no-store", "down")
        pixel.start()
        assert "X-Pfa-Flux" not in client.ask("example.test", Referer="http://example.test/3").headers
        assert pixel.counted() == {("example.test", "/1"): 1, ("example.test", "/3"): 1}


def test_a_host_of_its_own_counts_by_referer_alone(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with ExitStack() as stack:
        settings = {"domains": DOMAINS, "load_path": "/load.gif"}
        pixel = stack.enter_context(PixelServer(tmp_path / "pixel", pixel=settings))
        http = printed(pixel.config, "--direct", "stats.test").replace("listen 80;", f"listen 127.0.0.1:{port};")
        stack.enter_context(Nginx(tmp_path / "nginx", port, http))
        client = stack.enter_context(Client(port))
        assert client.ask("stats.test", Referer="https://example.test/page").status == 200
        assert client.ask("stats.test", Referer="https://other.test/").headers["X-Pfa-Flux"] == "domain_not_allowed"
        assert client.ask("stats.test").headers["X-Pfa-Flux"] == "no_referer"
        assert client.ask("stats.test", "/load.gif", Referer="https://example.test/page").status == 200
        assert client.ask("stats.test", "/").status == 404
        assert pixel.counted("domain", "page") == {("example.test", "/page"): 1}
        assert pixel.metrics()['hits_total{kind="load"}'] == 1


def test_doctor_says_if_the_sites_own_server_does_not_reach_the_pixel(short: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    listen = f"unix:{short}/pixel"
    with PixelServer(tmp_path / "pixel", pixel={"listen": listen, "domains": DOMAINS}) as server:
        front = f"http://127.0.0.1:{port}"
        doctor = ("doctor", "--config", str(server.config), "--front")

        def found(url: str) -> str:
            said = pfa_flux(*doctor, url, env={"COLUMNS": "400"})
            return next(line for line in said.out.splitlines() if url in line)

        with Nginx(tmp_path / "nginx", port, proxied(server.config, port)):
            # As nginx sees it where it may not enter the directory, or where SELinux is in the way.
            (short / "pixel").rename(short / "elsewhere")
            said = found(front)
            assert "is answered by the web server, which cannot reach the pixel" in said
            assert "failed" in said
            assert "httpd_can_network_connect" in said
            (short / "elsewhere").rename(short / "pixel")
            assert "the web server reaches the pixel" in found(front)
            assert server.metrics()['hits_total{kind="hit"}'] == 0
            assert "answers 200, unlike the pixel" in found(f"{front}/other")
        assert "nothing listens at" in found(front)
