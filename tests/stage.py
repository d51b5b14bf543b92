"""A machine as the pages of the documents mean it, on which their commands run."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from tests.cli import clean_environment
from tests.engines import Server
from tests.engines.process import free_ports
from tests.test_docs import ROOT
from tests.webserver import Nginx

INSTALL = "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/"
_FOLDERS = (
    *("home/.config/pfa-flux", "root", "run/pfa-flux", "var/backups", "var/lib"),
    *("etc/nginx/conf.d", "etc/nginx/snippets", "etc/pfa-flux", "bin", "work"),
)


class Stage:
    """A machine as the pages mean it: a home, folders of the system, an engine, and a pixel that may run."""

    def __init__(self, root: Path, server: Server) -> None:
        self.root, self.server = root, server
        self.home, self.data_dir = root / "home", root / "var/lib/pfa-flux"
        pixel, admin, page, self.http, self.direct = free_ports(5)
        self.listen, self.admin, self.page = (f"127.0.0.1:{port}" for port in (pixel, admin, page))
        for folder in _FOLDERS:
            (root / folder).mkdir(parents=True)
        (root / "bin/pfa-flux").symlink_to(Path(sys.executable).with_name("pfa-flux"))
        shutil.copytree(ROOT / "docs", root / "work/docs", ignore=shutil.ignore_patterns("pictures"))
        self.cwd = str(root / "work")
        self.environment = clean_environment(HOME=str(self.home))
        self.environment["PATH"] = f"{root / 'bin'}:{self.environment['PATH']}"
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
            self.environment.pop(name, None)
        self.site = f"http://{self.listen}"
        """How the site's nginx is reached, or what it hands requests on to."""
        self.service = ""
        """The command of the unit."""
        self._serving: subprocess.Popen[bytes] | None = None
        self._nginxes = 0

    def meant(self, line: str) -> str:
        """A line as it is meant here."""
        here = {
            # Nothing is installed anew: what is installed is run.
            INSTALL: "",
            "https://example.com/count.gif": f"{self.site}/count.gif",
            "http://localhost:8086": self.server.url,
            "http://localhost:9092": self.server.kapacitor_url,
            "127.0.0.1:8480": self.listen,
            "127.0.0.1:8481": self.admin,
            "127.0.0.1:8482": self.page,
            "my-org": self.server.org,
        }
        for written, real in here.items():
            line = line.replace(written, real)
        line = re.sub(r"(?<![\w.~/])/(etc|var|run|root)/", rf"{self.root}/\1/", line)
        if " --write " in line:
            line += f" --nginx-dir {self.root}/etc/nginx --unit-dir {self.root}/etc/systemd/system"
        # Other ports than those as shipped, which somebody else may use.
        return f"{line} --listen {self.listen} --admin {self.admin}" if line == "pfa-flux serve" else line

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Execute a line in a shell; where it goes and what it exports stays for the next."""
        state = self.root / "state"
        script = f"{line}\ncode=$?\n{{ pwd; env -0; }} > {state}\nexit $code"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", script],
            cwd=self.cwd,
            env=self.environment,
            input=f"{self.server.token}\n",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.cwd, _, variables = state.read_text().partition("\n")
        self.environment = dict(each.split("=", 1) for each in variables.split("\0") if each)
        return done

    def serve(self, line: str) -> None:
        """Start the pixel and wait until it listens on both addresses; one that runs is stopped first."""
        self.stop()
        log = self.root / "log"
        with log.open("wb") as out:
            self._serving = subprocess.Popen(
                ["bash", "-c", f"exec {line}"], cwd=self.cwd, env=self.environment, stdin=subprocess.DEVNULL, stderr=out
            )
        deadline = time.monotonic() + 30
        while log.read_text().count("listening on ") < 2:
            assert self._serving.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

    def view(self, line: str) -> None:
        """Start the live page, look at it, and stop it as Ctrl-C does."""
        command = ["bash", "-c", f"exec {line}"]
        with subprocess.Popen(command, cwd=self.cwd, env=self.environment, stdout=subprocess.PIPE, text=True) as shown:
            try:
                assert shown.stdout is not None
                with build_opener(ProxyHandler({})).open(shown.stdout.readline().strip(), timeout=30) as answer:
                    assert "of all page views came without the JavaScript analytics" in answer.read().decode()
                shown.send_signal(signal.SIGINT)
                assert shown.wait(30) == 0
            finally:
                shown.kill()

    def stop(self) -> None:
        """Stop the pixel, as the service manager does."""
        if self._serving is not None:
            self._serving.send_signal(signal.SIGTERM)
            assert self._serving.wait(30) == 0
            self._serving = None

    def wait_until_shipped(self) -> None:
        """Wait until all hits are where they belong."""
        until(lambda: self._health().get("waiting", 0) == 0)

    def _health(self) -> dict[str, Any]:
        address = f"http://{self.admin}/healthz"
        try:
            with build_opener(ProxyHandler({})).open(address, timeout=10) as answer:
                return dict(json.loads(answer.read()))
        except HTTPError as error:
            # On a busy machine hits may stand for more than the seconds after which it says so.
            with error:
                return dict(json.loads(error.read()))

    def check_nginx(self) -> subprocess.CompletedProcess[str]:
        """`nginx -t` of what is in conf.d, with a site that includes what is in snippets."""
        for path in (self.root / "etc/nginx/conf.d").iterdir():
            # Only root may listen on port 80.
            path.write_text(path.read_text().replace("listen 80;", f"listen 127.0.0.1:{self.direct};"))
        etc = self.root / "etc/nginx"
        site = f"server {{ listen 127.0.0.1:{self.http}; include {etc}/snippets/*.conf; }}"
        self._nginxes += 1
        return Nginx(self.root / f"nginx{self._nginxes}", self.http, f"include {etc}/conf.d/*.conf;\n{site}").check()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def page(name: str) -> str:
    return (ROOT / name).read_text()
