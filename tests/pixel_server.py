"""The pixel as its users run it: `pfa-flux serve`, in a process of its own."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from pfa_flux import connect
from pfa_flux.settings import load
from tests.engines.process import Process, free_ports

_READY_SECONDS = 30.0
_PROGRAM = Path(sys.executable).with_name("pfa-flux")
_DIRECT = build_opener(ProxyHandler({}))


class PixelServer:
    """`pfa-flux serve` with settings of its own: it can be started, stopped, killed, and started again.

    Attributes:
        listen: where it listens, as the setting has it.
        admin: HOST:PORT of its metrics.
        config: its TOML file.
        data_dir: its data directory.
    """

    def __init__(
        self,
        folder: Path,
        *,
        pixel: Mapping[str, Any] | None = None,
        task: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        program: Path = _PROGRAM,
        **settings: Any,
    ) -> None:
        """`folder` holds its file, data and log; `pixel` and `task` are tables, beside other settings."""
        folder.mkdir(parents=True, exist_ok=True)
        mine, metrics = free_ports(2)
        given = {"listen": f"127.0.0.1:{mine}", "admin": f"127.0.0.1:{metrics}", **(pixel or {})}
        top = {"data_dir": str(folder / "data"), **settings}
        self.listen, self.admin = str(given["listen"]), str(given["admin"])
        self.config, self.data_dir = folder / "pfa-flux.toml", Path(top["data_dir"])
        self.config.write_text("\n".join((*_lines(top), "[pixel]", *_lines(given), "[task]", *_lines(task or {}), "")))
        forgotten = [word for name in os.environ if name.startswith("PFA_FLUX_") for word in ("-u", name)]
        self._log, self._said = folder / "log", 0
        # env(1) is replaced by the command, so the process is the server's.
        given_too = [f"{name}={value}" for name, value in (environment or {}).items()]
        self._process = Process(
            ["env", *forgotten, *given_too, str(program), "serve", "--config", str(self.config), *options], folder
        )

    @property
    def pid(self) -> int:
        """Process id, while it runs."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it has said since the first start."""
        return self._log.read_text() if self._log.exists() else ""

    @property
    def url(self) -> str:
        """Address of a pixel that listens on TCP."""
        return f"http://{self.listen}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it, and do not wait."""
        self._said = len(self.log)
        self._process.start()

    def wait(self) -> None:
        """Wait until it listens."""
        deadline = time.monotonic() + _READY_SECONDS
        while (said := self.log[self._said :]).count("listening on ") < 1 + bool(self.admin):
            assert self._process.alive(), f"serve ended:\n{said}"
            assert time.monotonic() < deadline, f"serve does not listen:\n{said}"
            time.sleep(0.01)

    def alive(self) -> bool:
        """It runs."""
        return self._process.alive()

    def stop(self) -> None:
        """End it in peace, as SIGTERM does."""
        self._process.stop()

    def kill(self) -> None:
        """End it at once, as kill -9 does."""
        self._process.kill()

    def get(self, path: str) -> str:
        """Body of a page of the admin address, whatever its status."""
        try:
            with _DIRECT.open(f"http://{self.admin}{path}", timeout=10) as found:
                return str(found.read().decode())
        except HTTPError as error:
            with error:
                return error.read().decode()

    def metrics(self) -> dict[str, float]:
        """/metrics by name, without the prefix: `hits_total{kind="hit"}`."""
        found = re.findall(r"^pfa_flux_(\S+) (\S+)$", self.get("/metrics"), re.MULTILINE)
        return {name: float(value) for name, value in found}

    def counted(self, *by: str) -> dict[tuple[str, ...], int]:
        """Hits in the embedded store, by domain and page or by other keys."""
        keys = by or ("domain", "page")
        with connect(load({}, environ={}, config=self.config)) as analytics:
            return {tuple(row.key[key] for key in keys): row.hits or 0 for row in analytics.hits(by=keys).rows}

    def loaded(self) -> dict[tuple[str, ...], int]:
        """JS loads in the embedded store, by domain and page."""
        keys = ("domain", "page")
        with connect(load({}, environ={}, config=self.config)) as analytics:
            return {tuple(row.key[key] for key in keys): row.js or 0 for row in analytics.js_loads(by=keys).rows}

    def connect(self) -> socket.socket:
        """A connection to the pixel."""
        if self.listen.startswith("unix:"):
            made = socket.socket(socket.AF_UNIX)
            made.settimeout(10)
            made.connect(self.listen.removeprefix("unix:"))
            return made
        host, _, port = self.listen.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=10)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _lines(table: Mapping[str, Any]) -> list[str]:
    """A TOML table without its head. Strings, numbers, truths and lists of them look in TOML as they do in JSON."""
    return [f"{key} = {json.dumps(value)}" for key, value in table.items()]
