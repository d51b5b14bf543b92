"""Three people come to a true number, from an empty home and an installed wheel, and what each has to do is counted.

A has a web server, an onion service and nothing else. B has InfluxDB 1.8 with Kapacitor and years of data. C may read.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pfa_flux import connect
from pfa_flux.settings import load
from pfa_flux.settings.file import SYSTEM_VARIABLE
from pfa_flux.setup.toml_edit import Change, edited
from tests.chromium import chromium
from tests.cli import Result, clean_environment
from tests.data import HOUR, MINUTE
from tests.engines import Server, Workspace, start
from tests.engines.http import Client
from tests.engines.plugin import Pool
from tests.engines.process import Process, free_ports
from tests.initial import Terminal
from tests.original import downsampling_task
from tests.test_init_services import FAKE
from tests.test_packaging import build
from tests.webserver import Nginx, program

pytestmark = pytest.mark.slow

ONION = f"{'a' * 55}d.onion"
NOT_A_DECISION = {"--yes", "--write", "--config", "--listen", "--nginx-dir", "--unit-dir", "--proxy", "--data-dir"}
"""Flags that tell how the test's machine differs from a real one, or nothing about what is wanted."""

NAME = "downsample_hitcounter"


@dataclass
class Person:
    """Somebody at a terminal.

    Attributes:
        folder: the home directory, and all else of this person's machine.
        environment: what is installed, with its `bin`.
        more: further environment variables.
        commands: what was run.
        edits: files that were changed by hand.
        decisions: flags and answers that were typed.
    """

    folder: Path
    environment: Path
    more: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(
        default_factory=lambda: ["python3 -m venv pfa-flux", "pfa-flux/bin/pip install pfa-flux"]
    )
    edits: list[Path] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        own = {"HOME": str(self.folder), SYSTEM_VARIABLE: str(self.folder / "etc/pfa-flux.toml"), **self.more}
        return clean_environment(**own)

    def run(self, *words: str) -> Result:
        """A command."""
        self.commands.append(shlex.join(words))
        self.decisions += [word for word in words if word.startswith("--") and word not in NOT_A_DECISION]
        done = subprocess.run(
            [str(self.environment / "bin" / words[0]), *words[1:]],
            cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    def edit(self, path: Path, text: str) -> None:
        """A change by hand."""
        self.edits.append(path)
        path.write_text(text)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; what it depends on is this one's."""
    folder = tmp_path_factory.mktemp("three")
    made = folder / "pfa-flux"
    wheel = build(folder / "dist")["wheel"]
    subprocess.run([sys.executable, "-m", "venv", str(made)], check=True)
    (site,) = made.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    pip = [str(made / "bin/pip"), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, check=True)
    return made


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pfa") as made:
        yield Path(made)


def serve_unit(unit: Path, folder: Path) -> Process:
    """The service of a unit, as systemd would start it."""
    lines = [line.partition("=") for line in unit.read_text().splitlines()]
    (command,) = (value for key, _, value in lines if key == "ExecStart")
    given = [value for key, _, value in lines if key == "Environment"]
    process = Process(["env", *given, *shlex.split(command)], folder)
    process.start()
    return process


def until_ratio(home: Path, config: Path, hits: int, js: int) -> None:
    """Wait until page views are stored; browsers ask for them when they like."""
    deadline = time.monotonic() + 60
    while True:
        with connect(load({}, environ={"HOME": str(home)}, config=config)) as analytics:
            total = analytics.blocked_ratio(by=()).total
        if (total.hits, total.js) == (hits, js):
            return
        assert time.monotonic() < deadline, total
        time.sleep(0.1)


@pytest.mark.skipif(os.geteuid() != 0, reason="A is root on that machine, whose nginx it is")
def test_a_has_a_site_and_no_influxdb(installed: Path, folder: Path) -> None:
    listen, admin, port = (f"127.0.0.1:{free}" for free in free_ports(3))
    number = int(port.rpartition(":")[2])
    a = Person(folder, installed)
    html, units = folder / "html", folder / "units"
    html.mkdir()
    (html / "index.html").write_text("<!doctype html><title>Blog</title><p>Hello.\n")
    (folder / "nginx").mkdir()
    nginx = Nginx(
        folder / "nginx",
        number,
        "server_names_hash_bucket_size 128; default_type text/html; include conf.d/*.conf; include sites-enabled/*;",
    )
    # One that is told to reload has a master process.
    conf = folder / "nginx/nginx.conf"
    conf.write_text(conf.read_text().replace("master_process off;\n", ""))
    (folder / "nginx/conf.d").mkdir()
    (folder / "nginx/sites-enabled").mkdir()
    (folder / "nginx/sites-enabled/blog").write_text(
        f"server {{\n    listen {port};\n    server_name {ONION};\n    root {html};\n}}\n"
    )
    (folder / "bin").mkdir()
    wrapped = f'#!/bin/sh\nexec {program("nginx")} -p {folder}/nginx -e error.log "$@"\n'
    for name, text in {"systemctl": FAKE, "nginx": wrapped}.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    a.more |= {"PATH": f"{folder}/bin:{os.environ['PATH']}", "RECORD": str(folder / "record")}
    with nginx:
        machine = ("--listen", listen, "--nginx-dir", str(folder / "nginx"), "--unit-dir", str(units))
        done = a.run(
            *("pfa-flux", "init", "--yes", "--write", "--include", "--enable", "--loads", "script"),
            *("--site", f"blog={ONION}", *machine),
        )
        assert done.code == 0, done.err
        config = folder / "etc/pfa-flux.toml"
        # Its usual port is another test's, too.
        config.write_text(edited(config.read_text(), [Change(("pixel",), "admin", admin)]))
        service = serve_unit(units / "pfa-flux.service", folder)
        try:
            page = html / "index.html"
            a.edit(page, page.read_text() + (folder / "etc/page.html").read_text())
            looked = a.run("pfa-flux", "doctor", f"http://{ONION}/", "--proxy", f"http://{port}")
            words = (
                f"A view of http://{ONION}/ with JavaScript counts as 1 hit and 1 load on {ONION} /; without, 1 hit."
            )
            assert (looked.code, words in " ".join(looked.out.split())) == (0, True), looked.out
            for scripts in (True, False):
                with chromium({f"{ONION}:80": number}, scripts=scripts) as browser:
                    browser.get(f"http://{ONION}/")
                    until_ratio(folder, config, *((1, 1) if scripts else (2, 1)))
            answer = a.run("pfa-flux", "blocked-ratio")
        finally:
            service.stop()
    assert answer.code == 0, answer.err
    first = answer.out.splitlines()[0]
    assert (first.startswith("Of 2 page views of all domains, "), ", 50.0% (" in first) == (True, True), first
    record = (folder / "record").read_text()
    assert "systemctl enable --now pfa-flux.service\n" in record
    assert (len(a.commands), a.edits) == (5, [page])
    assert a.decisions == ["--include", "--enable", "--loads", "--site"]


def original_lines(now: int) -> list[str]:
    """A month as the original and Telegraf have written it: 60 page views and 40 loads, with the noise beside them."""
    lines = []
    for n in range(60):
        at, page = now - n * 9 * HOUR - 20 * MINUTE, "/" if n % 2 else "/news"
        tags = f"domain=blog.example,host=web1,page={page}"
        lines.append(f"pf_analytics_test_pixel,{tags},scheme=https,sess=331693{n}-1-2879{n},type=pixel count=1i {at}")
        lines.append(f'pf_analytics_test,action="ready",{tags},type=pageview response_time=1.5 {at + 1}')
        if n % 3:
            lines.append(f"pf_analytics_test,{tags},type=pageview response_time=80.5 {at + 2}")
    lines += [f"cpu,cpu=cpu0,host=web1 usage_idle={n}.5 {now - n * HOUR}" for n in range(50)]
    return lines


@pytest.fixture
def old(pool: Pool) -> Iterator[Server]:
    pool.get("kapacitor")
    with start("kapacitor") as server:
        yield server


def test_b_has_influxdb_kapacitor_and_years_of_data(installed: Path, folder: Path, old: Server) -> None:
    now, client = time.time_ns(), old.client
    b = Person(folder, installed)
    client.write("telegraf/autogen", original_lines(now))
    client.influxql(
        f'CREATE SUBSCRIPTION "kapacitor-1" ON "telegraf"."autogen" DESTINATIONS ALL \'{old.kapacitor_url}\''
    )
    workspace = Workspace(old)
    # The server goes with all its buckets.
    shutil.rmtree(workspace.folder)
    workspace.raw, workspace.rollup, workspace.task_name = "telegraf/autogen", "websites/analytics", NAME
    with connect(load(old.settings(), environ={})) as made:
        flux = downsampling_task(made, workspace)
    kapacitor = Client(old.kapacitor_url, "", "")
    task = kapacitor.json("POST", "/kapacitor/v1/api/v2/tasks", {"flux": flux, "status": "active"})["id"]
    b.commands.append("pfa-flux init")
    terminal = Terminal(folder, "--data-dir", "data", program=installed / "bin/pfa-flux")

    def typed(question: str, answer: str = "") -> None:
        terminal.answer(question, answer)
        b.decisions += [answer] if answer else []

    typed("InfluxDB's address (empty for none: all data in one file on this machine): ", old.url)
    typed(f"Kapacitor's address (- for none: pfa-flux downsamples by itself) [{old.kapacitor_url}]: ")
    typed("Domains to count, separated by commas [blog.example]: ")
    typed("(empty to continue): ")
    typed("Count www.blog.example too? [Y/n]: ", "n")
    typed("Page loads [own]: ")
    typed("Measurement [pf_analytics_test]: ")
    typed("Field [response_time]: ")
    typed("Take it over, with its id and its rows? [Y/n]: ")
    assert terminal.end() == 0, terminal.shown
    assert f"{NAME} ({task}): adopted" in terminal.shown
    answer = b.run("pfa-flux", "blocked-ratio", "--start", "30d")
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[0].startswith("Of 60 page views of all domains, "), answer.out
    assert " 33.3% (" in answer.out.splitlines()[0]
    assert (len(b.commands), b.edits, b.decisions) == (4, [], [old.url, "n", "--start"])


def test_c_may_read_and_works_in_python(installed: Path, folder: Path, pool: Pool) -> None:
    pool.get("influxdb-2.7")
    now = time.time_ns()
    with start("influxdb-2.7") as server:
        server.client.write("telegraf/autogen", original_lines(now))
        c = Person(folder, installed)
        (folder / "token").write_text(server.limited_token(read=("telegraf/autogen", "websites/analytics")))
        (folder / "token").chmod(0o600)
        code = (
            "import pfa_flux\n"
            f"with pfa_flux.connect(url={server.url!r}, org={server.org!r}, token_file='token') as analytics:\n"
            "    print(analytics.blocked_ratio('blog.example', start='30d').sentence)\n"
            "    print([(r.key['page'], r.hits, r.js) for r in analytics.blocked_ratio(by='page', start='30d')])\n"
        )
        done = c.run("python", "-c", code)
        answer = c.run("pfa-flux", "blocked-ratio", "--url", server.url, "--org", server.org, "--token-file", "token")
    assert (done.code, done.err) == (0, "")
    sentence, pages = done.out.splitlines()[:2]
    assert sentence.startswith("Of 60 page views of blog.example, ")
    assert pages == "[('/', 30, 20), ('/news', 30, 20)]"
    # Nobody who may only read is told that something has failed.
    assert (answer.code, "failed" in answer.err, "denied" in answer.err) == (0, False, False)
    assert (len(c.commands), c.edits, c.decisions) == (4, [], ["--url", "--org", "--token-file"])
