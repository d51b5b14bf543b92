"""Starting the engines: fresh folder, free loopback ports, set up with the buckets that the original uses."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.engines import source
from tests.engines.catalog import PROGRAMS, EngineFailedError
from tests.engines.http import Client
from tests.engines.process import Process, Runner, free_ports, wait_until_ready

IN_MEMORY = "memory"
"""The test engine of one file, which lives in the process of the tests."""
RAW, ROLLUP = "telegraf/autogen", "websites/analytics"
ORG = "pfa-flux"
_USER, _PASSWORD = "pfa-flux", "pfa-flux-tests"
_ATTEMPTS = 3
"""Starts with other ports, should another process have taken one in the meantime."""

started: list[Server] = []
"""Every server that this process has started and not yet closed."""


@dataclass
class Server:
    """An engine that answers, for one run of tests.

    Attributes:
        name: the engine's name.
        version: version of its InfluxDB.
        origin: where it is from, in words.
        url: its address; empty for the embedded engine.
        token: its token, `user:password` on 1.x with auth.
        org: its organisation.
        kapacitor_url: Kapacitor's address, where there is one.
        folder: where its data and log are; None for a server that the environment names.
        runners: its programs, in the order in which they are started.
    """

    name: str
    version: str
    origin: str
    url: str = ""
    token: str = ""
    org: str = ""
    kapacitor_url: str = ""
    folder: Path | None = None
    runners: list[Runner] = field(default_factory=list)
    ready: list[Callable[[], bool]] = field(default_factory=list)

    @property
    def client(self) -> Client:
        """HTTP to it, for what tests ask of it directly."""
        return Client(self.url, self.token, self.org)

    def settings(self) -> dict[str, str]:
        """Settings of pfa-flux for it, by their names."""
        if self.name == "embedded":
            return {"data_dir": str(self.folder)}
        every = {"url": self.url, "token": self.token, "org": self.org, "kapacitor_url": self.kapacitor_url}
        return {key: value for key, value in every.items() if value}

    def env(self) -> dict[str, str]:
        """The same as environment variables."""
        return {f"PFA_FLUX_{key.upper()}": value for key, value in self.settings().items()}

    def stop_process(self) -> None:
        """End its programs, last first; data and ports stay."""
        for runner in reversed(self.runners):
            runner.stop()

    def kill(self) -> None:
        """End its programs at once, as kill -9 does; data and ports stay."""
        for runner in reversed(self.runners):
            runner.kill()

    def start_process(self) -> None:
        """Start its programs again, on the same data and ports, and wait until they answer.

        Raises:
            EngineFailedError: one dies or is not ready in time; with its log's tail.
        """
        for runner, ready in zip(self.runners, self.ready, strict=True):
            runner.start()
            wait_until_ready(self.name, runner, ready)

    def limited_token(
        self, *, read: tuple[str, ...] = (), write: tuple[str, ...] = (), tasks: tuple[str, ...] = ()
    ) -> str:
        """A token of InfluxDB 2 that may read and write only the buckets named, and do with tasks what is named."""
        org_id = self.client.org_id()
        permissions: list[dict[str, Any]] = [
            {"action": action, "resource": {"type": "buckets", "id": self.client.bucket_id(bucket), "orgID": org_id}}
            for action, buckets in (("read", read), ("write", write))
            for bucket in buckets
        ]
        permissions += [{"action": action, "resource": {"type": "tasks", "orgID": org_id}} for action in tasks]
        body = {"orgID": org_id, "description": "limited", "permissions": permissions}
        return str(self.client.json("POST", "/api/v2/authorizations", body)["token"])

    def close(self) -> None:
        """Stop it for good and remove its folder."""
        self.stop_process()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self in started:
            started.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def start(name: str, *, flux: bool = True, auth: bool = False, row_limit: int = 0) -> Server:
    """Start an engine.

    Args:
        name: one of `ENGINES`.
        flux: Flux is on; InfluxDB 1.x only.
        auth: a user and password are asked for; InfluxDB 1.x and the one behind Kapacitor only.
        row_limit: rows at which InfluxDB 1.x cuts an answer, 0 for none.

    Raises:
        EngineUnavailableError: it cannot be had here.
        EngineFailedError: it dies or is not ready in time.
    """
    if name != "embedded" and source.in_environment(name) and flux and not auth and not row_limit:
        return _named(name)
    if name == "embedded":
        folder = Path(tempfile.mkdtemp(prefix="pfa-flux-embedded-"))
        server = Server(name, "", "needs no server", folder=folder)
        started.append(server)
        return server
    for attempt in range(_ATTEMPTS):
        folder = Path(tempfile.mkdtemp(prefix=f"pfa-flux-{name}-"))
        server = Server(name, "", "", folder=folder)
        started.append(server)
        try:
            if name.startswith("influxdb-2"):
                _start_2(server, folder)
            else:
                _start_1(server, folder, flux=flux, auth=auth, row_limit=row_limit)
            if name == "kapacitor":
                _start_kapacitor(server, folder)
        except EngineFailedError as error:
            server.close()
            if "address already in use" not in str(error) or attempt == _ATTEMPTS - 1:
                raise
        except BaseException:
            server.close()
            raise
        else:
            return server
    raise AssertionError("unreachable")


def _named(name: str) -> Server:
    """The server that the environment names; it is neither started nor stopped."""
    import os

    def value(what: str) -> str:
        return os.environ.get(source.variable(name, what), "")

    url, kapacitor = value("URL"), ""
    if name == "kapacitor":
        url, kapacitor = value("INFLUXDB_URL"), url
    server = Server(name, "", "named in the environment", url, value("TOKEN"), value("ORG"), kapacitor)
    server.version = server.client.version()
    _make_buckets(server)
    return server


def _start_1(server: Server, folder: Path, *, flux: bool, auth: bool, row_limit: int) -> None:
    program = PROGRAMS["influxdb-1.8" if server.name == "kapacitor" else server.name]
    http, rpc = free_ports(2)
    config = folder / "influxdb.conf"
    # What is not named here is as shipped, max-values-per-tag above all.
    config.write_text(
        f"""
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  query-log-enabled = false
[http]
  bind-address = "127.0.0.1:{http}"
  flux-enabled = {str(flux).lower()}
  auth-enabled = {str(auth).lower()}
  max-row-limit = {row_limit}
  log-enabled = false
[monitor]
  store-enabled = false
[logging]
  level = "warn"
"""
    )
    server.url = f"http://127.0.0.1:{http}"
    _run(server, program.name, ["run", "-config", str(config)], folder, server.client.answers)
    if auth:
        server.client.influxql(f"CREATE USER \"{_USER}\" WITH PASSWORD '{_PASSWORD}' WITH ALL PRIVILEGES")
        server.token = f"{_USER}:{_PASSWORD}"
    _make_buckets(server)


def start_upgraded(old: Server) -> Server:
    """An InfluxDB 2.7 on the data of a 1.x that was stopped, as `influxd upgrade` makes it.

    Raises:
        EngineUnavailableError: it cannot be had here.
        EngineFailedError: it does not upgrade, or is not ready in time; with its words.
    """
    name = "influxdb-2.7"
    folder = Path(tempfile.mkdtemp(prefix=f"pfa-flux-{name}-"))
    server = Server(name, "", "", folder=folder, org=ORG, token=secrets.token_hex(16))
    started.append(server)
    files = {
        "--bolt-path": "influxd.bolt",
        "--engine-path": "engine",
        "--v2-config-path": "config.toml",
        "--influx-configs-path": "configs",
        "--continuous-query-export-path": "queries.txt",
        "--log-path": "upgrade.log",
    }
    arguments = ["upgrade", "--force", "--v1-dir", str(old.folder)]
    arguments += [word for flag, file in files.items() for word in (flag, str(folder / file))]
    arguments += [
        "--username",
        _USER,
        "--password",
        _PASSWORD,
        "--org",
        ORG,
        "--bucket",
        "other",
        "--token",
        server.token,
    ]
    try:
        found = source.find(PROGRAMS[name])
        assert found.binary is not None, "a container does not see the data of another one"
        done = subprocess.run([str(found.binary), *arguments], capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise EngineFailedError(f"influxd upgrade: {done.stdout}{done.stderr}")
        _run_2(server, folder)
    except BaseException:
        server.close()
        raise
    return server


def _run_2(server: Server, folder: Path) -> None:
    (http,) = free_ports(1)
    arguments = [
        *("--http-bind-address", f"127.0.0.1:{http}"),
        *("--bolt-path", str(folder / "influxd.bolt")),
        *("--sqlite-path", str(folder / "influxd.sqlite")),
        *("--engine-path", str(folder / "engine")),
        *("--reporting-disabled", "--log-level", "error"),
    ]
    server.url = f"http://127.0.0.1:{http}"
    _run(server, server.name, arguments, folder, server.client.healthy)


def _start_2(server: Server, folder: Path) -> None:
    server.org, server.token = ORG, secrets.token_hex(16)
    _run_2(server, folder)
    body = {"username": _USER, "password": _PASSWORD, "org": ORG, "bucket": RAW, "token": server.token}
    Client(server.url, "", "").json("POST", "/api/v2/setup", body)
    _make_buckets(server)


def _start_kapacitor(server: Server, folder: Path) -> None:
    (http,) = free_ports(1)
    home = folder / "kapacitor"
    home.mkdir()
    user, _, password = server.token.partition(":")
    config = home / "kapacitor.conf"
    config.write_text(
        f"""
hostname = "127.0.0.1"
data_dir = "{home}"
skip-config-overrides = true
[http]
  bind-address = "127.0.0.1:{http}"
  log-enabled = false
[replay]
  dir = "{home}/replay"
[storage]
  boltdb = "{home}/kapacitor.db"
[task]
  dir = "{home}/tasks"
[load]
  enabled = false
[fluxtask]
  enabled = true
  task-run-influxdb = "default"
[[influxdb]]
  enabled = true
  default = true
  name = "default"
  urls = ["{server.url}"]
  username = {json.dumps(user)}
  password = {json.dumps(password)}
  disable-subscriptions = true
[reporting]
  enabled = false
[stats]
  enabled = false
[logging]
  file = "STDERR"
  level = "ERROR"
"""
    )
    server.kapacitor_url = f"http://127.0.0.1:{http}"
    ping = Client(server.kapacitor_url, "", "")
    _run(server, "kapacitor", ["-config", str(config)], home, lambda: ping.answers("/kapacitor/v1/ping"))


def _run(server: Server, program_name: str, arguments: list[str], folder: Path, ready: Callable[[], bool]) -> None:
    program = PROGRAMS[program_name]
    found = source.find(program)
    runner = found.runner(program, arguments, folder)
    server.runners.append(runner)
    server.ready.append(ready)
    server.origin = " + ".join(dict.fromkeys(filter(None, (server.origin, found.origin))))
    server.version = f"{server.version}, Kapacitor {program.version}" if server.version else program.version
    runner.start()
    wait_until_ready(program.name, runner, ready)


def _make_buckets(server: Server) -> None:
    for bucket in (RAW, ROLLUP):
        server.client.make_bucket(bucket)


def alive_processes() -> list[int]:
    """Process ids of servers that this process has started and that still run."""
    runners: list[Any] = [runner for server in started for runner in server.runners]
    return [r.pid for r in runners if isinstance(r, Process) and r.alive() and r.pid is not None]


def close_all() -> None:
    """Stop every server that this process has started."""
    for server in list(started):
        server.close()
