"""Which engine there is and what it can do; and what is said where there is none to be had."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from pfa_flux import (
    AccessDeniedError,
    NotInfluxDBError,
    PfaFluxError,
    QueryError,
    SettingsError,
    TimedOutError,
    TLSError,
    UnfitServerError,
    UnreachableError,
    connect,
    settings,
)
from pfa_flux.cli.exits import exit_code
from pfa_flux.engines.base import Capabilities
from pfa_flux.engines.influxdb.detect import detect
from pfa_flux.engines.influxdb.transport import MalformedAnswerError
from tests.engines.plugin import MakeWorkspace


def capabilities(values: dict[str, str]) -> Capabilities:
    server = detect(settings.load(values, environ={}))
    server.close()
    return server.capabilities


OLD = Capabilities(
    "influxdb1",
    "1.8.10",
    flux_version="before 0.103",
    kapacitor=True,
)


@pytest.mark.parametrize(
    ("engine", "variant", "expected"),
    [
        ("influxdb-1.8", {}, OLD),
        ("influxdb-1.8", {"flux": False}, replace(OLD, flux_version="")),
        ("influxdb-1.8", {"auth": True}, OLD),
        ("influxdb-1.8", {"auth": True, "flux": False}, replace(OLD, flux_version="")),
        ("influxdb-1.12", {}, Capabilities("influxdb1", "1.12.4", "0.196.1", join=True, to=True, kapacitor=True)),
        ("influxdb-1.12", {"flux": False}, Capabilities("influxdb1", "1.12.4", kapacitor=True)),
        (
            "influxdb-2.7",
            {},
            Capabilities("influxdb2", "2.7.12", "0.196.1", join=True, to=True, tasks="influxdb"),
        ),
        (
            "influxdb-2.9",
            {},
            Capabilities("influxdb2", "2.9.1", "0.200.0", join=True, to=True, tasks="influxdb"),
        ),
        ("kapacitor", {}, replace(OLD, tasks="kapacitor", kapacitor_version="1.8.3")),
    ],
    ids=str,
)
def test_a_server_says_what_it_is_and_can_do(
    engine: str, variant: dict[str, bool], expected: Capabilities, make_workspace: MakeWorkspace
) -> None:
    assert capabilities(make_workspace(engine, **variant).settings()) == expected


def test_the_embedded_engine_needs_no_asking(tmp_path: Path) -> None:
    with connect(data_dir=str(tmp_path / "data"), url="") as made:
        assert made.engine.capabilities.engine == "embedded"
        assert made.engine.capabilities.tasks == ""
    assert not (tmp_path / "data").exists()


def test_a_missing_bucket_does_not_hide_what_the_server_can_do(make_workspace: MakeWorkspace) -> None:
    values = {**make_workspace("influxdb-2.7").settings(), "raw_bucket": "absent/autogen"}
    assert capabilities(values).to


def test_without_an_organisation_the_only_one_is_taken(make_workspace: MakeWorkspace) -> None:
    values = make_workspace("influxdb-2.7").settings()
    del values["org"]
    server = detect(settings.load(values, environ={}))
    assert server.transport.org == "pfa-flux"
    server.close()


def test_a_token_that_sees_no_organisation_needs_it_named(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-2.7")
    token = workspace.server.limited_token(read=(workspace.raw,))
    values = {**workspace.settings(), "token": token}
    assert capabilities(values).flux
    del values["org"]
    with pytest.raises(SettingsError, match="sees no organisation") as caught:
        capabilities(values)
    assert "PFA_FLUX_ORG" in caught.value.hint


def refused(values: dict[str, str], kind: type[PfaFluxError], code: int) -> PfaFluxError:
    """The error that connecting raises: of just this kind, with a hint, without the token, with its exit code."""
    with pytest.raises(PfaFluxError) as caught:
        capabilities({"token": "not-to-be-seen", **values})
    assert type(caught.value) is kind
    assert caught.value.hint
    assert "not-to-be-seen" not in str(caught.value)
    assert exit_code(caught.value) == code
    return caught.value


def test_an_address_where_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = refused({"url": f"http://127.0.0.1:{taken.getsockname()[1]}"}, UnreachableError, 4)
    assert "refused" in error.message


def test_a_host_that_does_not_exist() -> None:
    error = refused({"url": "http://no-such-host.invalid"}, UnreachableError, 4)
    assert "resolve" in error.message


@pytest.mark.parametrize("engine", ["influxdb-2.7", "influxdb-2.9"])
@pytest.mark.parametrize("token", ["wrong", ""])
def test_a_wrong_or_missing_token_on_2(engine: str, token: str, make_workspace: MakeWorkspace) -> None:
    refused({**make_workspace(engine).settings(), "token": token}, AccessDeniedError, 4)


@pytest.mark.parametrize("flux", [True, False])
@pytest.mark.parametrize("token", ["pfa-flux:wrong", "nobody:x", ""])
def test_a_wrong_or_missing_password_on_1_8(flux: bool, token: str, make_workspace: MakeWorkspace) -> None:
    values = make_workspace("influxdb-1.8", auth=True, flux=flux).settings()
    refused({**values, "token": token}, AccessDeniedError, 4)


def test_a_wrong_organisation(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-2.7")
    error = refused({**workspace.settings(), "org": "absent"}, QueryError, 1)
    assert "'absent'" in error.message


def test_kapacitors_address_in_influxdbs_place(make_workspace: MakeWorkspace) -> None:
    kapacitor_url = make_workspace("kapacitor").settings()["kapacitor_url"]
    error = refused({"url": kapacitor_url}, NotInfluxDBError, 4)
    assert "is Kapacitor, not InfluxDB" in error.message


def test_influxdbs_address_in_kapacitors_place(make_workspace: MakeWorkspace) -> None:
    values = make_workspace("influxdb-1.8").settings()
    error = refused({**values, "kapacitor_url": values["url"]}, NotInfluxDBError, 4)
    assert "PFA_FLUX_KAPACITOR_URL" in error.hint


Answer = Callable[[BaseHTTPRequestHandler], None]


@contextlib.contextmanager
def serving(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """A web server that is no InfluxDB; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):
                answer(self)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_args: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        scheme = "https" if context else "http"
        yield f"{scheme}://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def reply(status: int, body: bytes, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"<html>nothing here</html>"),
        (404, b""),
        (500, b"oops"),
    ],
)
def test_a_web_server_that_is_no_influxdb(status: int, body: bytes) -> None:
    with serving(reply(status, body)) as url:
        error = refused({"url": url}, NotInfluxDBError, 4)
    assert "PFA_FLUX_URL" in error.hint


def test_a_server_that_only_says_it_is_an_influxdb() -> None:
    with serving(reply(200, b"{}", X_Influxdb_Version="9.9")) as url:
        refused({"url": url}, MalformedAnswerError, 4)
    with serving(reply(200, b"\xff\xfe\x00", X_Influxdb_Version="9.9")) as url:
        refused({"url": url}, MalformedAnswerError, 4)
    with serving(reply(200, b"<html>", X_Influxdb_Version="9.9")) as url:
        refused({"url": url}, UnfitServerError, 4)


def test_a_server_that_speaks_no_http(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                connection.recv(1000)

        thread = threading.Thread(target=talk)
        thread.start()
        refused({"url": f"http://127.0.0.1:{listener.getsockname()[1]}"}, UnreachableError, 4)
        thread.join()


def test_a_server_that_does_not_answer_in_time() -> None:
    def sleep(_handler: BaseHTTPRequestHandler) -> None:
        time.sleep(3)

    with serving(sleep) as url:
        error = refused({"url": url, "timeout": "1"}, TimedOutError, 4)
    assert "within 1 s" in error.message
    assert "PFA_FLUX_TIMEOUT" in error.hint


def test_https_at_a_port_that_speaks_http() -> None:
    with serving(reply(200, b"")) as url:
        refused({"url": url.replace("http:", "https:")}, TLSError, 4)


def test_a_certificate_of_an_unknown_authority_is_refused_and_a_named_one_accepted(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    with serving(reply(200, b""), context) as url:
        error = refused({"url": url}, TLSError, 4)
        assert "PFA_FLUX_CA_FILE" in error.hint
        # Past TLS, it turns out to be no InfluxDB.
        refused({"url": url, "ca_file": str(ca_file)}, UnfitServerError, 4)
