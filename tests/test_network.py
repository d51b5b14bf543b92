"""The network between pfa-flux and its server: proxies, limits of a plan, certificates, credentials of any letters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

from pfa_flux import (
    AccessDeniedError,
    Analytics,
    BusyError,
    QueryError,
    SettingsError,
    UnreachableError,
    connect,
    settings,
)
from pfa_flux.engines import patience as waiting
from pfa_flux.engines.influxdb.proxies import proxy_for
from pfa_flux.engines.patience import NONE, in_words, patience
from tests.cli import pfa_flux
from tests.cloud import Cloud
from tests.data import HOUR, T0, hit
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace
from tests.engines.process import free_ports
from tests.faulty import Faulty
from tests.forward_proxy import ForwardProxy
from tests.load import send
from tests.pixel_server import PixelServer
from tests.stored import total, until
from tests.test_shipping import pages
from tests.webserver import Nginx

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, *map(str.lower, NAMES)):
        monkeypatch.delenv(name, raising=False)


def values_of(workspace: Workspace, **more: str) -> dict[str, Any]:
    return {**workspace.settings(), **more}


def counted(made: Analytics, start: str = "2025-01-01") -> int:
    return sum(row.hits or 0 for row in made.hits(start=start, stop=None if start == "1h" else "2027-01-01"))


def written(values: Mapping[str, Any], count: int = 3) -> int:
    """Hits that are there, once some were written by way of these settings."""
    with connect(settings.load(values, environ={})) as made:
        made.write([hit(T0 + n) for n in range(count)])
        return counted(made)


@pytest.mark.parametrize(
    ("url", "setting", "environ", "expected"),
    [
        ("https://db.example", "", {}, None),
        ("https://db.example", "", {"HTTPS_PROXY": "http://p:3128"}, ("http://p:3128", "HTTPS_PROXY")),
        ("https://db.example", "", {"https_proxy": "http://p:3128/"}, ("http://p:3128", "https_proxy")),
        ("http://db.example", "", {"HTTPS_PROXY": "http://p:3128"}, None),
        ("http://db.example", "", {"HTTP_PROXY": "p:3128"}, ("http://p:3128", "HTTP_PROXY")),
        ("http://db.example", "http://q:1", {"HTTP_PROXY": "p:3128"}, ("http://q:1", "PFA_FLUX_PROXY")),
        ("http://db.example", "none", {"HTTP_PROXY": "p:3128"}, None),
        ("http://db.example:8086", "", {"HTTP_PROXY": "p:1", "NO_PROXY": "example"}, None),
        ("http://db.example:8086", "", {"HTTP_PROXY": "p:1", "NO_PROXY": " .example , x"}, None),
        ("http://db.example:8086", "", {"HTTP_PROXY": "p:1", "NO_PROXY": "db.example:8086"}, None),
        ("http://db.example:8086", "", {"HTTP_PROXY": "p:1", "NO_PROXY": "db.example:1"}, ("http://p:1", "HTTP_PROXY")),
        ("http://db.example:8086", "", {"HTTP_PROXY": "p:1", "NO_PROXY": "b.example"}, ("http://p:1", "HTTP_PROXY")),
        ("http://db.example", "http://q:1", {"NO_PROXY": "*"}, None),
        ("http://10.1.2.3:8086", "", {"HTTP_PROXY": "p:1", "NO_PROXY": "localhost,10.0.0.0/8"}, None),
        ("http://11.1.2.3:8086", "", {"HTTP_PROXY": "p:1", "NO_PROXY": "10.0.0.0/8"}, ("http://p:1", "HTTP_PROXY")),
        ("http://localhost:8086", "", {"HTTP_PROXY": "p:1"}, None),
        ("http://127.8.9.1:8086", "http://q:1", {}, None),
        ("http://[::1]:8086", "http://q:1", {}, None),
        ("https://db.example", "", {"HTTPS_PROXY": "http://[::2]:3128"}, ("http://[::2]:3128", "HTTPS_PROXY")),
    ],
)
def test_which_proxy_stands_before_an_address(
    url: str,
    setting: str,
    environ: dict[str, str],
    expected: tuple[str, str] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found = proxy_for(url, setting)
    assert (found and (found.url, found.source)) == expected


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:9050", "http://[1", "http://"])
def test_a_proxy_of_the_environment_that_is_none_is_told(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(SettingsError, match="HTTPS_PROXY is not an http or https address"):
        proxy_for("https://db.example", "")


def test_a_login_of_a_proxy_stays_in_the_environment(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="proxy contains a user name or password") as caught:
        settings.load({"proxy": "http://me:hush@p:3128"}, environ={}, directory=tmp_path)
    assert "HTTPS_PROXY" in caught.value.hint
    with pytest.raises(SettingsError, match="proxy is not an http or https address"):
        settings.load({"proxy": "socks5://p:1"}, environ={}, directory=tmp_path)
    assert settings.load({"proxy": "none"}, environ={}, directory=tmp_path).proxy == "none"


@pytest.mark.parametrize("way", ["environment", "setting"])
def test_a_server_that_a_proxy_alone_knows_is_reached(
    way: str, make_workspace: MakeWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace("influxdb-1.8")
    port = workspace.server.url.rpartition(":")[2]
    values = values_of(workspace, url=f"http://db.example.invalid:{port}")
    with pytest.raises(UnreachableError):
        written(values)
    with ForwardProxy("Basic bsO4OuKCrA==") as proxy:
        if way == "environment":
            monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//n%C3%B8:%E2%82%AC@"))
            assert written(values) == 3
            assert {line.partition(" ")[2].partition("?")[0] for line in proxy.seen} >= {
                f"http://db.example.invalid:{port}/api/v2/write",
                f"http://db.example.invalid:{port}/query",
            }
            monkeypatch.setenv("NO_PROXY", ".invalid")
            with pytest.raises(UnreachableError):
                written(values)
            assert written(values_of(workspace), 4) == 4
        else:
            # Without its login it refuses, and says so.
            with pytest.raises(UnreachableError, match=r"through the proxy .* from PFA_FLUX_PROXY") as caught:
                written({**values, "proxy": proxy.url})
            assert "NO_PROXY" in caught.value.hint


def test_a_proxy_that_is_away_is_named(make_workspace: MakeWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:hush@127.0.0.1:{port}")
    with pytest.raises(UnreachableError, match=f"through the proxy http://127.0.0.1:{port} from HTTPS_PROXY") as caught:
        connect(settings.load({"url": "https://db.example.invalid"}, environ={}))
    assert "hush" not in str(caught.value)
    del make_workspace


def certificates(folder: Path) -> dict[str, Path]:
    """An authority, a server's certificate of it for two names, and a client's."""
    authority = trustme.CA()
    server, client = authority.issue_cert("localhost", "db.example.invalid"), authority.issue_cert("reader@example")
    made = {name: folder / f"{name}.pem" for name in ("ca", "server", "server_key", "client", "client_key", "both")}
    authority.cert_pem.write_to_path(str(made["ca"]))
    server.private_key_pem.write_to_path(str(made["server_key"]))
    client.private_key_pem.write_to_path(str(made["client_key"]))
    for name, cert in (("server", server), ("client", client)):
        made[name].write_bytes(b"".join(blob.bytes() for blob in cert.cert_chain_pems))
    made["both"].write_bytes(made["client"].read_bytes() + made["client_key"].read_bytes())
    return made


def test_nginx_with_tls_a_path_and_a_client_certificate(
    make_workspace: MakeWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace("influxdb-1.8")
    files, (port,) = certificates(tmp_path), free_ports(1)
    http = f"""
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {files["server"]};
        ssl_certificate_key {files["server_key"]};
        ssl_client_certificate {files["ca"]};
        ssl_verify_client on;
        location /stats/influx/ {{ proxy_pass {workspace.server.url}/; }}
    }}"""
    with Nginx(tmp_path / "nginx", port, http), ForwardProxy() as proxy:
        values = values_of(workspace, url=f"https://localhost:{port}/stats/influx", ca_file=str(files["ca"]))
        with pytest.raises((UnreachableError, QueryError)):
            written(values)
        pair = {"client_cert": str(files["client"]), "client_key": str(files["client_key"])}
        assert written({**values, **pair}) == 3
        assert written({**values, "client_cert": str(files["both"])}, 4) == 4
        # The same by way of a proxy that sees no more than names.
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        far = {**values, **pair, "url": f"https://db.example.invalid:{port}/stats/influx/"}
        assert written(far, 5) == 5
        assert set(proxy.seen) == {f"CONNECT db.example.invalid:{port}"}


def test_files_of_certificates_that_are_missing_are_named(tmp_path: Path) -> None:
    values = {"url": "https://127.0.0.1:1", "client_cert": str(tmp_path / "none.pem")}
    with pytest.raises(SettingsError, match=r"client_cert .*none\.pem cannot be read") as caught:
        connect(settings.load(values, environ={}))
    assert "PFA_FLUX_CLIENT_CERT" in caught.value.hint
    with pytest.raises(SettingsError, match="client_key is set, but client_cert is not"):
        settings.load({"client_key": "k.pem"}, environ={}, directory=tmp_path)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 second"), (37, "37 seconds"), (60, "1 minute"), (300, "5 minutes"), (90, "90 seconds")],
)
def test_seconds_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Instead of waiting, note how long."""
    found: list[float] = []
    monkeypatch.setattr(waiting, "time", SimpleNamespace(sleep=found.append))
    return found


def test_a_question_waits_as_long_as_the_server_asks_and_no_longer_than_five_minutes(
    make_workspace: MakeWorkspace, slept: list[float]
) -> None:
    workspace = make_workspace("influxdb-2.7")
    with (
        Cloud(workspace.server.url) as cloud,
        connect(settings.load(values_of(workspace, url=cloud.url), environ={})) as made,
    ):
        cloud.refusals["/query"] = 3, 37
        assert counted(made, "1h") == 0
        assert slept == [37.0] * 3
        cloud.refusals["/query"] = 1000, 120
        with pytest.raises(BusyError, match="too busy") as caught:
            made.hits(start="1h")
        assert (caught.value.hint, slept[3:]) == ("Try again in 2 minutes.", [120.0] * 2)
        with patience(NONE), pytest.raises(BusyError):
            made.hits(start="1h")
        assert len(slept) == 5
        # Where it does not say for how long, it is asked a few times: it may have ended for good.
        cloud.refusals["/query"] = 1000, 0
        with pytest.raises(BusyError) as again:
            made.hits(start="1h")
        assert (again.value.hint, slept[5:]) == ("Try again later.", [1.0, 2.0, 4.0])
        # Writes wait as well.
        cloud.refusals["/query"] = 0, 0
        cloud.refusals["/api/v2/write"] = 2, 5
        made.write([hit(T0)])
        assert slept[8:] == [5.0, 5.0]


@pytest.mark.slow
def test_the_command_line_says_that_it_waits(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-2.7")
    with Cloud(workspace.server.url) as cloud:
        env = {**workspace.env(), "PFA_FLUX_URL": cloud.url}
        cloud.refusals["/query"] = 1, 1
        told = pfa_flux("blocked-ratio", "--start", "1h", env=env)
        assert (told.code, told.err.splitlines()[0]) == (3, "The server is busy. Trying again in 1 second.")
        cloud.refusals["/query"] = 1, 1
        assert "busy" not in pfa_flux("blocked-ratio", "--start", "1h", "--quiet", env=env).err
        cloud.refusals["/query"] = 1, 500
        late = pfa_flux("blocked-ratio", "--start", "1h", env=env)
        assert (late.code, late.err.splitlines()[-1]) == (1, "Try again in 500 seconds.")


def test_a_pixel_ships_to_a_plan_with_limits(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace("influxdb-2.7")
    with Cloud(workspace.server.url) as cloud:
        cloud.refusals["/api/v2/write"] = 2, 1
        given = {k: v for k, v in values_of(workspace, url=cloud.url).items() if k not in {"data_dir", "token"}}
        with PixelServer(tmp_path, token=workspace.server.token, **given) as server:
            server.config.chmod(0o600)
            assert send(server.listen, pages(50)).counted == 50
            until(lambda: total(workspace) == 50, "all in the database")


def test_what_a_plan_does_not_allow_is_no_missing_right(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-2.7")
    with (
        Cloud(workspace.server.url) as cloud,
        connect(settings.load(values_of(workspace, url=cloud.url), environ={})) as made,
    ):
        for room, words in ((0, "creating bucket would exceed quota"), (1, "retention period exceeds the limit")):
            cloud.buckets = room
            with pytest.raises(QueryError, match=words) as caught:
                made.engine.create_bucket("another/one")
            assert "The organisation's plan allows no more" in caught.value.hint
            assert "PFA_FLUX_ROLLUP_BUCKET" in caught.value.hint


@pytest.mark.slow
def test_an_organisation_is_named_by_its_id_as_well(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-2.7")
    org = workspace.client.org_id()
    values = values_of(workspace, org=org, raw_bucket=workspace.raw)
    assert written(values) == 3
    env = {**workspace.env(), "PFA_FLUX_ORG": org}
    assert pfa_flux("install-task", "--hits-only", env=env).code == 0
    try:
        assert pfa_flux("task", "verify", "--start", "2h", env=env).code == 0
        assert pfa_flux("task", "status", "--hits-only", env=env).code in {0, 5}
        assert pfa_flux("doctor", env=env).err == ""
        with connect(settings.load(values, environ={})) as made:
            made.engine.delete(made.task().spec.raw, T0 - HOUR, T0 + HOUR)
            assert counted(made) == 0
            made.engine.create_bucket(f"{workspace.raw}2")
            made.engine.drop_bucket(f"{workspace.raw}2")
    finally:
        assert pfa_flux("task", "remove", env=env).code == 0


LOGIN = "bjørn:pä€ss:wörd 10€"


def test_a_password_of_any_letters_is_taken(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace("influxdb-1.8", auth=True)
    user, _, password = LOGIN.partition(":")
    workspace.client.influxql(f"CREATE USER \"{user}\" WITH PASSWORD '{password}' WITH ALL PRIVILEGES")
    try:
        values = values_of(workspace, token=LOGIN)
        assert written(values) == 3
        given = {k: v for k, v in values.items() if k != "data_dir"}
        with PixelServer(tmp_path, **given) as server:
            server.config.chmod(0o600)
            assert send(server.listen, pages(5)).counted == 5
            until(lambda: total(workspace) == 8, "all in the database")
        with pytest.raises(AccessDeniedError):
            written({**values, "token": LOGIN + "x"})
    finally:
        workspace.client.influxql(f'DROP USER "{user}"')


def test_credentials_of_the_other_generation_get_the_right_hint(make_workspace: MakeWorkspace) -> None:
    new, old = make_workspace("influxdb-2.7"), make_workspace("influxdb-1.8", auth=True)
    with pytest.raises(AccessDeniedError) as upgraded:
        connect(settings.load(values_of(new, token="me:secret"), environ={}))
    assert "InfluxDB 2 needs an API token, not user:password" in upgraded.value.hint
    assert "influx auth create" in upgraded.value.hint
    with pytest.raises(AccessDeniedError) as kept:
        connect(settings.load(values_of(old, token="0123456789abcdef"), environ={}))
    assert kept.value.hint.endswith("on 1.x it is user:password.")


def test_a_busy_proxy_is_not_waited_for_by_the_live_page(make_workspace: MakeWorkspace, slept: list[float]) -> None:
    workspace = make_workspace("influxdb-1.8")
    with Faulty(workspace.server.url, "503") as busy, patience(NONE), pytest.raises(BusyError):
        connect(settings.load(values_of(workspace, url=busy.url), environ={}))
    assert slept == []
