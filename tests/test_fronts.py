"""Apache, HAProxy and Caddy in front of the pixel, with the configurations that stand in docs/deployment.md."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from pfa_flux import settings
from tests.engines.process import Process, free_ports
from tests.front import DEPLOYMENT, Client
from tests.pixel_server import PixelServer
from tests.stored import until
from tests.webserver import program

MODULES = Path("/usr/lib/apache2/modules")
BROWSER = {"User_Agent": "Mozilla/5.0", "Cookie": "id=c4n4ry", "X_Forwarded_For": "192.0.2.7", "Accept_Language": "xx"}


def block(language: str) -> str:
    """The block of a language in the page."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", DEPLOYMENT.read_text(), re.DOTALL)
    return str(found)


def apache(folder: Path, port: int, text: str) -> list[str]:
    wanted = ("mpm_event", "authz_core", "proxy", "proxy_http", "headers", "setenvif", "log_config", "unixd")
    # As root it insists on being another user, who may not enter a test's folder: its own words are the site.
    user = "User www-data\nGroup www-data" if os.geteuid() == 0 else ""
    loaded = "\n".join(
        f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in wanted if (MODULES / f"mod_{name}.so").exists()
    )
    (folder / "apache.conf").write_text(f"""
ServerRoot {folder}
ServerName example.test
Listen 127.0.0.1:{port}
PidFile {folder}/apache.pid
DefaultRuntimeDir {folder}
ErrorLog {folder}/error.log
{loaded}
{user}
ErrorDocument 403 page
ErrorDocument 404 page
<VirtualHost *:{port}>
LogFormat "%h \\"%r\\" %>s \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\"" combined
{text.replace("${APACHE_LOG_DIR}", str(folder))}
</VirtualHost>
""")
    return [program("apache2"), "-f", str(folder / "apache.conf"), "-DFOREGROUND"]


def haproxy(folder: Path, port: int, text: str) -> list[str]:
    (folder / "haproxy.cfg").write_text(
        "defaults\n    timeout client 15s\n    log global\n    option httplog\n"
        f"{text.replace('bind :80', f'bind 127.0.0.1:{port}')}\n"
        "backend site\n    mode http\n    http-request return status 200 content-type text/html string page\n"
    )
    head = f"global\n    log stdout format raw local0\n    pidfile {folder}/haproxy.pid\n"
    path = folder / "haproxy.cfg"
    path.write_text(head + path.read_text())
    return [program("haproxy"), "-db", "-f", str(path)]


def caddy(folder: Path, port: int, text: str) -> list[str]:
    body = "\n".join(f"\t{line}" for line in text.splitlines())
    (folder / "Caddyfile").write_text(
        f"{{\n\tadmin off\n\tauto_https off\n\tstorage file_system {folder}/caddy\n{block('caddy')}}}\n"
        f"http://:{port} {{\n\tbind 127.0.0.1\n\tlog {{\n\t\toutput file {folder}/access.log\n\t}}\n{body}\n"
        "\trespond / page\n}\n"
    )
    return [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


FRONTS = {"apache": apache, "haproxy": haproxy, "caddyfile": caddy}


@contextmanager
def running(name: str, folder: Path, pixel: str) -> Iterator[int]:
    """The front, with its files in a folder. Gives its port."""
    folder.mkdir()
    (port,) = free_ports(1)
    command = FRONTS[name](folder, port, block(name).replace("127.0.0.1:8480", pixel))
    process = Process(command, folder)
    process.start()
    try:
        with Client(port) as client:
            until(lambda: _answers(client), f"{name} answers")
        yield port
    finally:
        process.stop()


def _answers(client: Client) -> bool:
    try:
        return client.ask("example.test", "/").data == b"page"
    except urllib3.exceptions.HTTPError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("name", FRONTS)
def test_a_front_passes_on_what_counts_and_writes_nothing_down(name: str, tmp_path: Path) -> None:
    with (
        PixelServer(tmp_path / "pixel", pixel={"domains": ["example.test"], "opt_out": ["gpc"]}) as server,
        running(name, tmp_path / "front", server.listen) as port,
        Client(port) as client,
    ):
        page: dict[str, Any] = {"Referer": "http://example.test/a?secret=c4n4ry", **BROWSER}
        answer = client.ask("example.test", **page)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "image/gif")
        assert answer.headers["Cache-Control"] == "no-store"
        assert "X-Pfa-Flux" not in answer.headers
        for headers, reason in (
            ({"Sec_Purpose": "prefetch"}, "prefetch"),
            ({"X_Purpose": "preview"}, "prefetch"),
            ({"Sec_GPC": "1"}, "opt_out"),
            ({"Sec_Fetch_Dest": "document"}, "destination"),
            ({"User_Agent": "Examplebot/2.1"}, "skipped_bot"),
        ):
            assert client.ask("example.test", **{**page, **headers}).headers["X-Pfa-Flux"] == reason
        # What a client says itself is not taken.
        assert "X-Pfa-Flux" not in client.ask("example.test", **page, X_Pfa_Skip="own").headers
        assert client.ask("other.test", **{**page, "Referer": ""}).headers["X-Pfa-Flux"] != ""
        assert client.ask("example.test", "/").data == b"page"
        until(lambda: server.metrics()['hits_total{kind="hit"}'] == 2, "both counted")
        server.stop()
        down = client.ask("example.test", **page)
        assert down.status in {502, 503}
    written = b"".join(file.read_bytes() for file in (tmp_path / "front").rglob("*") if file.is_file())
    assert b"c4n4ry" not in written
    assert b"192.0.2.7" not in written


def test_the_kubernetes_manifest_is_yaml_that_hangs_together() -> None:
    documents = list(yaml.safe_load_all(block("yaml")))
    kinds = {each["kind"]: each for each in documents}
    assert list(kinds) == ["Secret", "PersistentVolumeClaim", "Deployment", "Service"]
    pod = kinds["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert kinds["Deployment"]["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    assert kinds["Service"]["spec"]["selector"] == pod["metadata"]["labels"]
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["spec"]["volumes"]}
    assert {each["targetPort"] for each in kinds["Service"]["spec"]["ports"]} <= {p["name"] for p in container["ports"]}
    environ = {each["name"]: each["value"] for each in container["env"]}
    made = settings.resolve({}, {**environ, "PFA_FLUX_SERVICE_HOST": "10.0.0.1", "HOME": "/"}, {})
    assert made.problems == ()
    assert (made.settings.org, str(made.token_file)) == ("my-org", "/run/secrets/pfa-flux/token")
