"""`pfa-flux nginx`: real nginx takes what it prints, and the docs have the same."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from textwrap import indent

import pytest

from pfa_flux.errors import SettingsError
from pfa_flux.pixel.counter import GIF
from pfa_flux.settings.pixel import PixelSettings, respelled
from pfa_flux.setup.nginx import Part, configuration
from pfa_flux.setup.tags import image, script, tags, views
from tests.cli import pfa_flux
from tests.engines.process import free_ports
from tests.front import DEPLOYMENT, DOMAINS, Client, printed, proxied, settings_file
from tests.pixel_server import PixelServer
from tests.webserver import Nginx


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose name leaves room for a socket's, which may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="pfa") as folder:
        yield Path(folder)


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
