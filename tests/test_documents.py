"""Every command of README and docs is executed, page by page and in order, on the engine that the page is about.

What is written there for a real machine (addresses, folders of the system) is replaced by `Stage.meant`, which names it
all.
What is not executed is in `NOT_EXECUTED`, each line with its reason; a line in neither fails.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import pytest

from pfa_flux import Point
from pfa_flux.journal.spool import SPOOL_NAME, SpoolReader
from pfa_flux.times import NS
from tests.cli import clean_environment, pfa_flux
from tests.contract import as_line
from tests.engines import EngineUnavailableError, Server, start
from tests.engines.http import Client, ServerError
from tests.engines.plugin import required
from tests.engines.process import free_ports
from tests.pixel_server import PixelServer
from tests.test_docs import PAGES, ROOT
from tests.webserver import Nginx, program

_INSTALL = "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/"
_BY_CI = "The continuous integration installs and tests by this very line; tests/test_docs.py compares them."
_BY_PACKAGING = "Installing asks a package index; tests/test_packaging.py installs what is built without one."
_START = "docs/getting-started.md"
_NO_SYSTEMD = "No systemd runs here; tests/test_systemd.py has the unit looked at."
NOT_EXECUTED = {
    "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest": _BY_CI,
    "python3 -m venv ~/pfa-flux && ~/pfa-flux/bin/pip install .": _BY_PACKAGING,
    "/opt/pfa-flux/bin/pip install --upgrade pfa-flux": _BY_PACKAGING,
    "python3 -m venv /opt/pfa-flux && /opt/pfa-flux/bin/pip install .": _BY_PACKAGING,
    "ln -s /opt/pfa-flux/bin/pfa-flux /usr/local/bin/pfa-flux": _BY_PACKAGING,
    "apt install ./dist/pfa-flux_*_all.deb": _BY_PACKAGING,
    "systemctl daemon-reload": _NO_SYSTEMD,
    "influx v1 dbrp create --bucket-id 0123456789abcdef --db telegraf --rp autogen --default": (
        "InfluxDB's own command is not installed; tests/test_doctor.py has the advice, and a mapping by hand."
    ),
}
STOPS = "systemctl stop pfa-flux.service"
STARTS = ("systemctl enable --now pfa-flux.service", "systemctl start pfa-flux.service")
"""What systemd would do with the service, `Stage` does with its command."""
ENDS_WITH = {
    # There is no task before install-task.
    ("README.md", "pfa-flux doctor"): 1,
    # Of the days before it there is nothing until backfill.
    ("README.md", "pfa-flux task status"): 5,
    # Nor is there a task before it is installed.
    ("docs/tasks.md", "pfa-flux task plan"): 5,
    ("docs/tasks.md", "pfa-flux task gaps"): 5,
    # There is something in it.
    ("docs/quarantine.md", "pfa-flux quarantine --config /etc/pfa-flux/pfa-flux.toml"): 5,
}
"""Of lines that do not end with 0."""
SAYS = {
    ("README.md", "pfa-flux blocked-ratio --site blog"): "Of 2 page views of blog, ",
    (_START, "pfa-flux blocked-ratio"): "Of 2 page views of all domains, ",
}
"""What the answer to lines begins with; half of these views came without JavaScript."""
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
            _INSTALL: "",
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


def nothing(_stage: Stage) -> None:
    pass


def with_data(stage: Stage) -> None:
    """Hits and loads of the last days, a token file, and a site in the settings, as README takes them for granted."""
    now = time.time_ns()
    points = []
    for hour in range(1, 60):
        tags = {"domain": "example.com", "page": "/", "scheme": "https", "sess": "0123456789abcdef", "type": "pixel"}
        points.append(Point("pf_analytics_test_pixel", tags, "count", 1, now - hour * 3600 * NS))
        loaded = {"domain": "example.com", "page": "/", "type": "pageview"}
        points += [Point("pf_analytics_test", loaded, "response_time", 0.1, now - hour * 3600 * NS)] * (hour % 2)
    stage.server.client.write("telegraf/autogen", map(as_line, points))
    token = stage.home / ".config/pfa-flux/token"
    token.write_text(stage.server.token)
    token.chmod(0o600)
    (stage.home / ".config/pfa-flux/pfa-flux.toml").write_text('[sites.blog]\ndomains = ["example.com"]\n')
    if stage.server.org:
        stage.environment |= {"PFA_FLUX_URL": stage.server.url, "PFA_FLUX_ORG": stage.server.org}
        stage.environment["PFA_FLUX_TOKEN_FILE"] = str(token)


def with_task(stage: Stage) -> None:
    """The same, and the task."""
    with_data(stage)
    assert stage.run("pfa-flux install-task").returncode == 0


def as_deployed(stage: Stage) -> None:
    """The settings of the page, and the pixel as its unit runs it, with a hit."""
    (settings, *_) = re.findall(r"^```toml\n(.*?)^```", page("docs/service.md"), re.DOTALL | re.MULTILINE)
    _service(stage, stage.meant(settings).replace("[pixel]", f'[pixel]\nadmin = "{stage.admin}"'))
    stage.site = f"--unix-socket {stage.root}/run/pfa-flux/pixel.sock http://example.com"
    assert stage.run(stage.meant(_ONE_HIT)).returncode == 0


def as_service(stage: Stage) -> None:
    """The service without InfluxDB, with a hit."""
    _service(stage, f'data_dir = "{stage.data_dir}"\n[pixel]\nlisten = "{stage.listen}"\nadmin = "{stage.admin}"\n')
    assert stage.run(stage.meant(_ONE_HIT)).returncode == 0
    until(lambda: "pfa-flux-done" in _tasks(stage))


def as_shipping_service(stage: Stage) -> None:
    """The service with InfluxDB, which has refused a point."""
    token = stage.root / "etc/pfa-flux/token"
    token.write_text(stage.server.token)
    token.chmod(0o600)
    _service(
        stage,
        f'url = "{stage.server.url}"\norg = "{stage.server.org}"\ntoken_file = "{token}"\n'
        f'data_dir = "{stage.data_dir}"\n[pixel]\nlisten = "{stage.listen}"\nadmin = "{stage.admin}"\n',
    )
    reader = SpoolReader(stage.data_dir)
    line = "pf_analytics_test_pixel,domain=example.com,page=/late,scheme=https,sess=00,type=pixel count=1i "
    reader.quarantine.put(time.time_ns(), "field type conflict", [f"{line}{time.time_ns()}"])
    reader.close()
    assert stage.run(f"pfa-flux install-task --config {stage.root}/etc/pfa-flux/pfa-flux.toml").returncode == 0


_ONE_HIT = "curl --silent --fail --output /dev/null --referer https://example.com/ https://example.com/count.gif"


def _service(stage: Stage, settings: str) -> None:
    config = stage.root / "etc/pfa-flux/pfa-flux.toml"
    config.write_text(settings)
    stage.service = f"pfa-flux serve --config {config}"
    stage.serve(stage.service)


def _tasks(stage: Stage) -> str:
    found = pfa_flux("doctor", "--data-dir", str(stage.data_dir))
    return "pfa-flux-done" if found.code == 0 else found.out


@dataclass(frozen=True)
class Scenario:
    """Sections of a page that follow each other, on an engine.

    Attributes:
        page: the page.
        headings: the sections.
        engine: the engine.
        before: what the page takes for granted.
        flux: of a 1.8 server: Flux is on.
    """

    page: str
    headings: tuple[str, ...]
    engine: str
    before: Callable[[Stage], None] = field(default=nothing)
    flux: bool = True

    def __str__(self) -> str:
        return f"{self.page} {self.headings[0] or self.engine}"


_INSTALLED, _SERVED = "1. Install pfa-flux", "3. Serve the pixel and request it"
_COMPARED = ("1. Compare networks", "2. Compare with the period before", "3. Compare domains, pages or days")
SCENARIOS = (
    Scenario("README.md", ("Try it", "Set it up"), "embedded"),
    Scenario("README.md", ("Use it with your InfluxDB",), "influxdb-2.7", with_data),
    Scenario("README.md", ("InfluxDB 1.8",), "kapacitor", with_data),
    Scenario(_START, (_INSTALLED, "InfluxDB 2.x", _SERVED, "4. Look at the figure"), "influxdb-2.7"),
    Scenario(_START, ("InfluxDB 1.8 with Kapacitor", _SERVED), "kapacitor"),
    Scenario(_START, ("InfluxDB 1.8 without Kapacitor", _SERVED), "influxdb-1.8", flux=False),
    Scenario(_START, ("No InfluxDB", _SERVED, "4. Look at the figure"), "embedded"),
    Scenario("docs/service.md", ("1. Install the program", "3. Start it and read the figure"), "embedded", as_deployed),
    Scenario("docs/service.md", ("2. Let init write the files",), "embedded"),
    Scenario(
        "docs/deployment.md",
        ("nginx: a path of each site", "nginx: a host for the pixel", "4. Check that a view arrives"),
        "embedded",
        as_deployed,
    ),
    Scenario("docs/live-page.md", ("2. Run it as a service", "3. Put nginx in front of it"), "embedded", as_deployed),
    Scenario("docs/compare.md", _COMPARED, "influxdb-2.7", with_data),
    Scenario("docs/dashboards.md", ("Grafana", "InfluxDB 2"), "influxdb-2.7", with_data),
    Scenario("docs/digest.md", ("1. Look at it",), "influxdb-2.7", with_task),
    Scenario("docs/troubleshooting.md", ("1. Ask doctor",), "influxdb-2.7", with_task),
    Scenario(
        "docs/tasks.md",
        (
            "1. Install the tasks",
            "3. Fill in the past",
            "4. Verify and repair",
            "5. Keep an eye on them",
            "Pause or remove them",
        ),
        "influxdb-2.7",
        with_data,
    ),
    Scenario("docs/operations.md", ("When something fails",), "influxdb-2.7", as_shipping_service),
    Scenario("docs/operations.md", ("A journal that was set aside",), "embedded", as_service),
    Scenario("docs/quarantine.md", ("1. Look at them", "3. Write them again"), "influxdb-2.7", as_shipping_service),
    Scenario("docs/monitoring.md", ("1. Check its health",), "influxdb-2.7", as_shipping_service),
    Scenario("docs/upgrading.md", ("pfa-flux",), "influxdb-2.7", as_shipping_service),
    Scenario("docs/backup.md", ("1. Back up", "2. Restore"), "embedded", as_service),
    Scenario("docs/cloud.md", ("3. Create the mapping for InfluxQL",), "influxdb-2.7", with_task),
)
ELSEWHERE = {
    ("README.md", "Tests"): "not executed, as NOT_EXECUTED says",
    ("docs/development.md", "Set up"): "the same",
}


def page(name: str) -> str:
    return (ROOT / name).read_text()


def sections(name: str) -> dict[str, list[str]]:
    """Lines of the sh blocks of a page by the heading above them, continued ones joined."""
    found: dict[str, list[str]] = {}
    heading, inside = "", ""
    for line in page(name).replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            inside = "" if inside else line.removeprefix("```") or "text"
        elif inside == "sh":
            if line.strip():
                found.setdefault(heading, []).append(re.sub(r" {2,}", " ", line.strip()))
        elif not inside and line.startswith("#"):
            heading = line.lstrip("#").strip()
    return found


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder with a short name: a socket's path may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="pfa") as folder:
        yield Path(folder)


def started(scenario: Scenario) -> Server:
    try:
        return start(scenario.engine, flux=scenario.flux)
    except EngineUnavailableError as error:
        if scenario.engine in required():
            pytest.fail(str(error))
        pytest.skip(str(error).splitlines()[0])


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_the_commands_of_a_page_do_what_it_says(scenario: Scenario, root: Path) -> None:
    for name in ("bash", "curl", "sqlite3"):
        program(name)
    written = sections(scenario.page)
    with started(scenario) as server:
        stage = Stage(root, server)
        try:
            scenario.before(stage)
            for heading in scenario.headings:
                for line in written[heading]:
                    said = execute(stage, line, ENDS_WITH.get((scenario.page, line), 0))
                    if (scenario.page, line) in SAYS:
                        assert said.startswith(SAYS[scenario.page, line])
                        assert ", 50.0% (" in said
        finally:
            stage.stop()


def execute(stage: Stage, line: str, code: int) -> str:
    """Execute a line, and give what it said."""
    if line in NOT_EXECUTED:
        return ""
    meant = stage.service if line in STARTS else stage.meant(line)
    if line == STOPS:
        stage.stop()
        return ""
    if meant.startswith("pfa-flux serve"):
        stage.serve(meant)
        return ""
    if meant.startswith("pfa-flux view"):
        stage.view(meant)
        return ""
    done = stage.check_nginx() if line == "nginx -t" else stage.run(meant)
    assert done.returncode == code, f"{line}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr, f"{line}\n{done.stderr}"
    if "127.0.0.1:8480/" in line or "count.gif" in line:
        stage.wait_until_shipped()
    return done.stdout


def test_every_section_with_commands_is_in_a_scenario() -> None:
    named = {(each.page, heading) for each in SCENARIOS for heading in each.headings} | set(ELSEWHERE)
    found = {
        (str(each.relative_to(ROOT)), heading) for each in PAGES for heading in sections(str(each.relative_to(ROOT)))
    }
    assert found == named


def test_what_is_not_executed_is_written_somewhere_and_elsewhere_is_that_alone() -> None:
    lines = {
        (str(each.relative_to(ROOT)), h): b for each in PAGES for h, b in sections(str(each.relative_to(ROOT))).items()
    }
    assert set(NOT_EXECUTED) <= {line for block in lines.values() for line in block}
    for place in ELSEWHERE:
        assert set(lines[place]) <= set(NOT_EXECUTED)


def test_the_reference_is_what_the_commands_say() -> None:
    words = [sys.executable, str(ROOT / "docs/reference.py"), "--check"]
    assert subprocess.run(words, capture_output=True, text=True, check=False).stdout == ""


def test_a_command_named_in_a_sentence_is_in_the_reference_with_its_options() -> None:
    head, *parts = re.split(r"^## ", page("docs/cli.md"), flags=re.MULTILINE)
    known = {part.partition("\n")[0]: part for part in parts}
    shared = known.pop("Options that commands share")
    assert head.startswith("# The command line")
    for each in PAGES:
        for span in re.findall(r"`pfa-flux ([a-z][^`…]*)`", each.read_text()):
            words = span.split()
            name = " ".join(("pfa-flux", *words[: 2 if words[0] in {"task", "config", "dashboard"} else 1]))
            assert name in known, f"{each.name}: {span}"
            for option in (word for word in words if word.startswith("--")):
                assert f"`{option}`" in known[name] + shared, f"{each.name}: {span}"


def described(metrics: str) -> list[tuple[str, str, str]]:
    """Name, kind and words of each metric."""
    return re.findall(r"^# HELP (\S+) (.*)\n# TYPE \S+ (\S+)$", metrics, re.MULTILINE)


def test_every_metric_is_in_the_table_and_every_alert_is_about_one(tmp_path: Path) -> None:
    with PixelServer(tmp_path, url="http://127.0.0.1:9") as pixel:
        found = described(pixel.get("/metrics"))
    # docs/reference.py has no server: what it writes is what a real one with InfluxDB answers.
    rows = re.findall(r"^\| `(pfa_flux_\w+)` \| (\w+): (.*?)(?: Label .*)? \|$", page("docs/metrics.md"), re.MULTILINE)
    assert [(name, kind, words) for name, words, kind in found] == rows
    text, names = page("docs/monitoring.md"), {name for name, _, _ in found}
    for each in PAGES:
        assert set(re.findall(r"`(pfa_flux_\w+_(?:total|seconds|bytes|rows))", each.read_text())) <= names, each.name
    assert set(re.findall(r"pfa_flux_\w+", text)) <= names
    rules = re.findall(r"^ +expr: (.*)$", text, re.MULTILINE)
    assert len(rules) == text.count("- alert: ") > 5
    for rule in rules:
        assert "pfa_flux_" in rule or rule == 'up{job="pfa-flux"} == 0'


def permissions(server: Server, rights: dict[str, tuple[str, ...]]) -> str:
    """A token of InfluxDB 2 with rights such as read: bucket names, or `tasks` for those."""
    client = server.client
    org = client.org_id()
    given: list[dict[str, Any]] = [
        {"action": action, "resource": {"type": "tasks", "orgID": org}}
        if name == "tasks"
        else {"action": action, "resource": {"type": "buckets", "id": client.bucket_id(name), "orgID": org}}
        for action, names in rights.items()
        for name in names
    ]
    body = {"orgID": org, "description": "least rights", "permissions": given}
    return str(client.json("POST", "/api/v2/authorizations", body)["token"])


RAW, ROLLUP = "telegraf/autogen", "websites/analytics"
RIGHTS: dict[str, dict[str, tuple[str, ...]]] = {
    "pixel": {"write": (RAW,)},
    "task": {"read": (RAW, ROLLUP, "tasks"), "write": (ROLLUP, "tasks")},
    "reader": {"read": (RAW, ROLLUP)},
}
GRANTS = {
    "pixel": ("GRANT WRITE ON telegraf TO pixel",),
    "task": ("GRANT READ ON telegraf TO task", "GRANT ALL ON websites TO task"),
    "reader": ("GRANT READ ON telegraf TO reader", "GRANT READ ON websites TO reader"),
}


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["influxdb-2.7", "influxdb-1.8"])
def test_a_token_with_the_least_rights_is_enough_for_its_job(engine: str, tmp_path: Path) -> None:
    scenario = Scenario("docs/tokens.md", ("Give tokens the least rights",), engine)
    try:
        server = start(engine, auth=engine == "influxdb-1.8")
    except EngineUnavailableError:
        server = started(scenario)
    with server:
        tokens = {}
        for who, rights in RIGHTS.items():
            if server.org:
                tokens[who] = permissions(server, rights)
                continue
            for statement in (f"CREATE USER {who} WITH PASSWORD 'secret'", *GRANTS[who]):
                server.client.influxql(statement)
            tokens[who] = f"{who}:secret"
        org: dict[str, Any] = {"org": server.org} if server.org else {}
        with PixelServer(tmp_path, url=server.url, token=tokens["pixel"], **org) as pixel:
            referer = ["curl", "--silent", "--fail", "--output", "/dev/null", "--referer", "https://example.com/"]
            subprocess.run([*referer, f"{pixel.url}/count.gif"], check=True)
            until(lambda: pixel.metrics()["shipped_total"] == 1)
        here = {"PFA_FLUX_URL": server.url, "PFA_FLUX_DATA_DIR": str(tmp_path / "own")}
        here |= {"PFA_FLUX_ORG": server.org} if server.org else {}
        jobs = {
            "task": ("install-task", "doctor", "task verify --repair"),
            "reader": ("blocked-ratio", "task verify"),
        }
        for who, commands in jobs.items():
            for command in commands:
                done = pfa_flux(*command.split(), env={**here, "PFA_FLUX_TOKEN": tokens[who]})
                assert done.code == 0, f"{who}: {command}\n{done.out}{done.err}"
        # And no more than that: the pixel's reads nothing, a reader's writes nothing.
        assert pfa_flux("blocked-ratio", env={**here, "PFA_FLUX_TOKEN": tokens["pixel"]}).code == 4
        for bucket in (RAW, ROLLUP):
            with pytest.raises(ServerError, match=r"40[13]"):
                Client(server.url, tokens["reader"], server.org).write(bucket, ["pf_analytics_pixel hitcount=1i 1"])


def test_a_spool_that_is_named_in_the_pages_has_that_name() -> None:
    assert f"`{SPOOL_NAME}`" in page("docs/operations.md")
