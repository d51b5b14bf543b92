"""`pfa-flux nginx`: what it prints is taken by real nginx, passes on what the pixel needs, and keeps nothing."""

from __future__ import annotations

import re
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
import urllib3

from pfa_flux.errors import SettingsError
from pfa_flux.pixel.counter import GIF
from pfa_flux.settings.pixel import PixelSettings, respelled
from pfa_flux.setup.nginx import Part, configuration
from pfa_flux.setup.tags import image, script, tags, views
from tests.cli import pfa_flux
from tests.engines.process import free_ports
from tests.pixel_server import PixelServer
from tests.webserver import Nginx

ONION = f"{'a' * 55}d.onion"
HOSTS = ("example.test", ONION, "example.i2p")
DOMAINS = ["example.test", "*.onion", "*.i2p"]
CANARY = "c4n4ry"
DEPLOYMENT = Path(__file__).parents[1] / "docs" / "deployment.md"
PRIVACY = DEPLOYMENT.with_name("privacy.md")
FORGOTTEN = [
    "Cookie",
    "User_Agent",
    "X_Forwarded_For",
    "X_Forwarded_Host",
    "X_Forwarded_Proto",
    "X_Real_IP",
    "Forwarded",
    "Authorization",
    "Accept",
    "Accept_Language",
    "Accept_Encoding",
    "Origin",
    "If_None_Match",
    "Range",
    "Via",
    "From",
    "Sec_CH_UA",
    "Sec_Fetch_Site",
    "X_Pfa_Skip",
    "X_I2P_DestHash",
    "X_Other",
]


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose name leaves room for a socket's, which may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="pfa") as folder:
        yield Path(folder)


def printed(config: Path, *arguments: str) -> str:
    """What `pfa-flux nginx` prints for a settings file."""
    done = pfa_flux("nginx", "--config", str(config), *arguments)
    assert (done.code, done.err) == (0, "")
    return done.out


def proxied(config: Path, port: int, hosts: tuple[str, ...] = HOSTS) -> str:
    """nginx's `http { }` for sites that have the pixel under a path of their own."""
    server = printed(config, "--part", "server")
    sites = (
        f"server {{ listen 127.0.0.1:{port}; server_name {host};\n{server}\nlocation / {{ return 200 page; }} }}"
        for host in hosts
    )
    return "\n".join((printed(config, "--part", "http"), "server_names_hash_bucket_size 128;", *sites))


def settings_file(folder: Path, **pixel: str | bool) -> Path:
    words = {key: str(value).lower() if isinstance(value, bool) else f'"{value}"' for key, value in pixel.items()}
    path = folder / "pfa-flux.toml"
    path.write_text("\n".join(("[pixel]", *(f"{key} = {value}" for key, value in words.items()))))
    return path


class Client:
    """Requests to nginx, on one connection."""

    def __init__(self, port: int) -> None:
        self._pool = urllib3.HTTPConnectionPool("127.0.0.1", port, maxsize=1, retries=False, timeout=15)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def ask(
        self, host: str, path: str = "/count.gif", *, method: str = "GET", body: bytes | None = None, **headers: Any
    ) -> urllib3.BaseHTTPResponse:
        """The answer to a request; headers with a low line for each hyphen."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._pool.request(method, path, body=body, headers={"Host": host, **named})


@dataclass
class Recorder:
    """A server that answers each request with a GIF and keeps every byte that it gets, by connection."""

    connections: list[bytearray] = field(default_factory=list)
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def listen(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Recorder:
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections.append(asked := bytearray())
            self._threads.append(threading.Thread(target=self._serve, args=(connection, asked), daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket, asked: bytearray) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: image/gif\r\nContent-Length: %d\r\n\r\n" % len(GIF)
        answered = 0
        with connection:
            while data := connection.recv(65536):
                asked += data
                while answered < asked.count(b"\r\n\r\n"):
                    connection.sendall(head + GIF)
                    answered += 1


def files_with(folder: Path, word: str) -> list[str]:
    """Files below a folder that hold a word, in their name or content."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if word in path.name or (path.is_file() and word.encode() in path.read_bytes())
    )


LISTENS = {
    "tcp": "127.0.0.1:8480",
    "ipv6": "[::1]:8480",
    "every address": "0.0.0.0:8480",
    "every address of both kinds": "[::]:8480",
    "name": "localhost:8480",
    "socket": "unix:/run/pfa-flux/pixel.sock",
}
PIXELS: dict[str, dict[str, str | bool]] = {
    "as shipped": {},
    "with load_path": {"load_path": "/load.gif"},
    "with trust_proxy": {"trust_proxy": True},
    "with other paths": {"path": "/a/b~c/", "load_path": "/"},
}


@pytest.mark.parametrize(
    "pixel", [{"listen": listen} for listen in LISTENS.values()] + list(PIXELS.values()), ids=[*LISTENS, *PIXELS]
)
def test_nginx_takes_what_is_printed_for_a_path_of_each_site(tmp_path: Path, pixel: dict[str, str | bool]) -> None:
    config = settings_file(tmp_path, **pixel)
    (port,) = free_ports(1)
    pages = "location /page { return 204; }"
    server = f"server {{ listen 127.0.0.1:{port};\n{pages}\n{printed(config, '--part', 'server')} }}"
    assert_taken(Nginx(tmp_path / "nginx", port, f"{printed(config, '--part', 'http')}\n{server}"))


@pytest.mark.parametrize("pixel", PIXELS.values(), ids=PIXELS)
def test_nginx_takes_what_is_printed_for_a_host_of_its_own_as_it_stands(
    tmp_path: Path, pixel: dict[str, str | bool]
) -> None:
    config = settings_file(tmp_path, **{"path": "/count.gif", **pixel})
    (port,) = free_ports(1)
    whole = printed(config, "--direct", "stats.example")
    # Only root may listen on port 80.
    http = whole.replace("listen 80;", f"listen 127.0.0.1:{port};")
    assert_taken(Nginx(tmp_path / "nginx", port, http))


def test_both_parts_are_what_is_printed_without_a_part() -> None:
    pixel = PixelSettings(load_path="/load.gif")
    for direct in ("", "stats.example"):
        parts = (configuration(pixel, part=part, direct=direct) for part in Part)
        assert configuration(pixel, direct=direct) == "\n".join(parts)


def test_the_tags_of_the_pages_are_printed_with_it() -> None:
    pixel = PixelSettings(load_path="/load.gif")
    local = '<img src="/count.gif" referrerpolicy="same-origin" loading="eager" width="1" height="1" alt="">'
    assert image(pixel) == local
    assert f"# {local}\n" in configuration(pixel, part=Part.SERVER)
    direct = (
        '<img src="https://stats.example/count.gif" referrerpolicy="no-referrer-when-downgrade"'
        ' loading="eager" width="1" height="1" alt="">'
    )
    assert image(pixel, "stats.example") == direct
    assert f"# {direct}\n" in configuration(pixel, direct="stats.example")
    made = 'Object.assign(new Image(), {referrerPolicy: "same-origin", src: "/load.gif"})'
    load = f"<script>window.pfaLoaded = {made}</script>"
    assert script(pixel) == load
    assert f"# {load}\n" in configuration(pixel)
    assert script(PixelSettings()) == ""
    assert "pfaLoaded" not in configuration(PixelSettings())


@pytest.mark.parametrize("direct", ["", "stats.example"])
def test_the_script_for_further_views_is_printed_behind_the_other_tags(tmp_path: Path, direct: str) -> None:
    pixel = PixelSettings(load_path="/load.gif")
    whole = tags(pixel, direct)
    assert whole == "\n".join((image(pixel, direct), script(pixel, direct), views(pixel, direct)))
    assert indent(whole, "# ") in configuration(pixel, direct=direct)
    host, policy, mode = ("https://stats.example", "no-referrer-when-downgrade", 'mode: "no-cors", ') if direct else (
        "", "same-origin", "")  # fmt: skip
    assert f"""document.querySelector('img[src="{host}/count.gif"]')""" in whole
    assert f'window.pfaLoaded ? ["{host}/count.gi%66", "{host}/load.gi%66"] : ["{host}/count.gi%66"]' in whole
    assert f'{{{mode}referrerPolicy: "{policy}", cache: "no-store", credentials: "omit", keepalive: true}}' in whole
    assert "?" not in "".join(re.findall(r'"([^"]*/[^"]*)"', whole))
    assert ("pageshow" in whole, "pushState" in whole, "prerenderingchange" in whole) == (True, True, True)
    alone = views(replace(pixel, views="documents"), direct)
    assert ("pageshow" in alone, "pushState" in alone, "prerenderingchange" in alone) == (False, False, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "other"),
    [("/count.gif", "/count.gi%66"), ("/a/b~c/", "/a/b~%63/"), ("/x", "/%78"), ("/v2.", "/v%32."), ("/", "/")],
)
def test_the_other_spelling_of_a_path_is_the_same_to_nginx_and_to_the_pixel(
    path: str, other: str, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    assert respelled(path) == other
    with ExitStack() as stack:
        pixel = stack.enter_context(PixelServer(tmp_path / "pixel", pixel={"domains": DOMAINS, "path": path}))
        http = proxied(pixel.config, port).replace("location / { return 200 page; }", "")
        stack.enter_context(Nginx(tmp_path / "nginx", port, http))
        client = stack.enter_context(Client(port))
        straight = stack.enter_context(Client(int(pixel.listen.rpartition(":")[2])))
        for each in (client, straight):
            for asked in (path, other):
                answer = each.ask("example.test", asked, Referer="http://example.test/page")
                assert (answer.status, answer.data, answer.headers.get("X-Pfa-Flux")) == (200, GIF, None)
        assert pixel.counted() == {("example.test", "/page"): 4}


def test_the_documented_tags_are_those_that_are_printed() -> None:
    pixel = PixelSettings(load_path="/load.gif")
    text = DEPLOYMENT.read_text()
    for tag in (image(pixel), image(pixel, "stats.example"), script(pixel), views(pixel)):
        assert f"```html\n{tag}\n```" in text


def test_the_documented_map_of_what_is_skipped_is_that_which_is_printed() -> None:
    (block,) = re.findall(r"^```\n(geo .*?)^```", DEPLOYMENT.read_text(), re.DOTALL | re.MULTILINE)
    assert block in configuration(PixelSettings(), part=Part.HTTP)


def test_nginx_takes_the_documented_sites(tmp_path: Path) -> None:
    ports = free_ports(3)
    snippet = tmp_path / "pfa-flux.conf"
    snippet.write_text(configuration(PixelSettings(), part=Part.SERVER))
    blocks = "\n".join(re.findall(r"^```nginx\n(.*?)^```", DEPLOYMENT.read_text(), re.DOTALL | re.MULTILINE))
    assert blocks.count("include snippets/pfa-flux.conf;") == 3
    sites = blocks.replace("include snippets/pfa-flux.conf;", f"include {snippet};")
    for written, port in zip(("443 ssl", "127.0.0.1:8091", "127.0.0.1:8092"), ports, strict=True):
        assert sites.count(f"listen {written};") == 1
        sites = sites.replace(f"listen {written};", f"listen 127.0.0.1:{port};")
    nginx = Nginx(tmp_path / "nginx", ports[0], f"{configuration(PixelSettings(), part=Part.HTTP)}\n{sites}")
    assert_taken(nginx)


def assert_taken(nginx: Nginx) -> None:
    """`nginx -t` finds nothing amiss, and has nothing to warn of."""
    checked = nginx.check()
    assert checked.returncode == 0, checked.stderr
    assert [line.rpartition(" ")[2] for line in checked.stderr.splitlines()] == ["ok", "successful"]


def test_listen_is_a_flag_as_it_is_of_serve() -> None:
    done = pfa_flux("nginx", "--listen", "unix:/run/pfa-flux/pixel.sock")
    assert (done.code, done.err) == (0, "")
    assert "    server unix:/run/pfa-flux/pixel.sock;\n" in done.out
    wrong = pfa_flux("nginx", "--listen", "8480")
    assert (wrong.code, wrong.out) == (2, "")
    assert "--listen is '8480', not an address to listen on" in wrong.err


@pytest.mark.parametrize("path", ["/a b", "/a;b", "/$a", "/a{", '/a"', "/a%41", "//a", "/a/../b", "/.", "/a?b", "/a\\"])
def test_a_path_that_nginx_would_read_otherwise_is_refused(path: str) -> None:
    for pixel in (PixelSettings(path=path), PixelSettings(load_path=path)):
        with pytest.raises(SettingsError, match="which nginx would read otherwise than is meant"):
            configuration(pixel)


@pytest.mark.parametrize("listen", ["unix:/a b", "unix:/a;b", "unix:/a{", 'unix:/a"', "a;b:80"])
def test_an_address_that_nginx_cannot_write_is_refused(listen: str) -> None:
    with pytest.raises(SettingsError, match="which nginx's configuration cannot hold"):
        configuration(PixelSettings(listen=listen))


@pytest.mark.parametrize("host", ["a b", "a;b", "a{", "a:80", "a/b", '"'])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(SettingsError, match="not the name of a host"):
        configuration(PixelSettings(), direct=host)


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


def test_nginx_writes_nothing_of_a_request_to_any_file(tmp_path: Path, short: Path) -> None:
    (port,) = free_ports(1)
    folder = tmp_path / "nginx"
    with ExitStack() as stack:
        settings = {"domains": DOMAINS, "listen": f"unix:{short}/pixel.sock"}
        pixel = stack.enter_context(PixelServer(tmp_path / "pixel", pixel=settings))
        stack.enter_context(Nginx(folder, port, proxied(pixel.config, port)))
        client = stack.enter_context(Client(port))

        def ask(**more: Any) -> urllib3.BaseHTTPResponse:
            path = more.pop("path", "/count.gif")
            referer = f"http://example.test/{CANARY}"
            return client.ask("example.test", f"{path}?{CANARY}", Referer=referer, User_Agent=CANARY, **more)

        assert ask().status == 200
        assert ask(body=CANARY.encode() * 100).status == 200
        assert ask(method="POST", body=CANARY.encode()).status == 405
        # Larger than a request's memory may be: refused, where nginx would otherwise put it in a file.
        assert ask(body=CANARY.encode() * 10_000).status == 413
        pixel.kill()
        # The socket is there and nobody listens; then it is gone, which nginx finds critical.
        assert ask().headers["X-Pfa-Flux"] == "down"
        (short / "pixel.sock").unlink()
        assert ask().headers["X-Pfa-Flux"] == "down"
        # The site's own pages are logged as its owner likes: so the log works.
        assert client.ask("example.test", "/page-of-the-site").data == b"page"
    assert files_with(folder, CANARY) == []
    assert files_with(folder, "page-of-the-site") == ["access.log"]
    assert files_with(folder, "127.0.0.1 ") == ["access.log"]
    assert (folder / "access.log").read_text().count("\n") == 1
    assert "count.gif" not in (folder / "error.log").read_text()


def _head(*lines: str) -> bytes:
    return "\r\n".join((*lines, "", "")).encode()


UNREADABLE = {
    "headers too long": _head("GET /count.gif HTTP/1.1", "Host: example.test", f"User-Agent: {CANARY}",
                              f"Referer: http://example.test/{CANARY * 8_000}"),
    "two hosts": _head("GET /count.gif HTTP/1.1", f"User-Agent: {CANARY}", "Host: example.test", "Host: b.test"),
    "trace": _head("TRACE /count.gif HTTP/1.1", "Host: example.test", f"User-Agent: {CANARY}"),
    "a head that breaks off": f"GET /count.gif HTTP/1.1\r\nHost: example.test\r\nUser-Agent: {CANARY}\r\nA".encode(),
    "no path at all": _head(f"{CANARY}"),
    "a line too long": _head(f"GET /count.gif?{CANARY * 8_000} HTTP/1.1", "Host: example.test"),
}  # fmt: skip


def _send(port: int, request: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        # nginx may reset what it did not read to the end.
        with suppress(ConnectionError):
            while client.recv(4096):
                pass


@pytest.mark.parametrize("kept_out", [False, True], ids=["as nginx is", "with the lines of privacy.md"])
def test_requests_that_fail_before_their_path_is_known_are_logged_unless_the_lines_of_the_docs_keep_them_out(
    kept_out: bool, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    (lines,) = re.findall(r"```nginx\n(.*?)```", PRIVACY.read_text(), flags=re.DOTALL)
    maps, log = lines[: lines.index("access_log")], "access_log seen.log combined if=$pfa_flux_readable;"
    assert lines.endswith("combined if=$pfa_flux_readable;\n")
    folder = tmp_path / "nginx"
    http = proxied(settings_file(tmp_path), port, ("example.test",))
    if kept_out:
        http = maps + http.replace(f"listen 127.0.0.1:{port};", f"listen 127.0.0.1:{port}; {log}")
    with Nginx(folder, port, http), Client(port) as client:
        for request in UNREADABLE.values():
            _send(port, request)
        assert client.ask("example.test", "/page-of-the-site").data == b"page"
    assert files_with(folder, "page-of-the-site") == ["seen.log" if kept_out else "access.log"]
    assert files_with(folder, CANARY) == ([] if kept_out else ["access.log"])
    if kept_out:
        assert (folder / "seen.log").read_text().count("\n") == 1


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
