"""Every command of README and docs is executed, page by page and in order, on the engine that the page is about.

What is written there for a real machine (addresses, folders of the system) is replaced by `Stage.meant`, which names it
all.
What is not executed is in `NOT_EXECUTED`, each line with its reason; a line in neither fails.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pfa_flux import Point
from pfa_flux.journal.spool import SpoolReader
from pfa_flux.times import NS
from tests.cli import pfa_flux
from tests.contract import as_line
from tests.engines import EngineUnavailableError, Server, start
from tests.engines.plugin import required
from tests.stage import Stage, page, until
from tests.test_docs import PAGES, ROOT
from tests.webserver import program

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
    ("docs/tasks.md", "pfa-flux task status"): 5,
    ("docs/tasks.md", "pfa-flux task gaps"): 5,
    # There is something in it.
    ("docs/operations.md", "pfa-flux quarantine --config /etc/pfa-flux/pfa-flux.toml"): 5,
}
"""Of lines that do not end with 0."""
SAYS = {
    ("README.md", "pfa-flux blocked-ratio --site blog"): "Of 2 page views of blog, ",
    (_START, "pfa-flux blocked-ratio"): "Of 2 page views of all domains, ",
}
"""What the answer to lines begins with; half of these views came without JavaScript."""


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
    (settings, *_) = re.findall(r"^```toml\n(.*?)^```", page("docs/deployment.md"), re.DOTALL | re.MULTILINE)
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


SCENARIOS = (
    Scenario("README.md", ("Try it", "Set it up"), "embedded"),
    Scenario("README.md", ("Use it with your InfluxDB",), "influxdb-2.7", with_data),
    Scenario("README.md", ("InfluxDB 1.8",), "kapacitor", with_data),
    Scenario(_START, ("Getting started", "InfluxDB 2.x", "The pixel", "The first figure"), "influxdb-2.7"),
    Scenario(_START, ("InfluxDB 1.8 with Kapacitor", "The pixel"), "kapacitor"),
    Scenario(_START, ("InfluxDB 1.8 without Kapacitor", "The pixel"), "influxdb-1.8", flux=False),
    Scenario(_START, ("No InfluxDB", "The pixel", "nginx", "The first figure"), "embedded"),
    Scenario(
        "docs/deployment.md",
        (
            "The service",
            "Written by hand",
            "nginx: a path of each site",
            "nginx: a host for the pixel",
            "The live page for others",
            "What nginx passes on, and what it keeps",
        ),
        "embedded",
        as_deployed,
    ),
    Scenario("docs/deployment.md", ("Written by init",), "embedded"),
    Scenario("docs/capacity.md", ("InfluxDB Cloud and Enterprise",), "influxdb-2.7", with_task),
    Scenario("docs/tasks.md", ("Tasks that can be trusted",), "influxdb-2.7", with_data),
    Scenario("docs/dashboards.md", ("Grafana", "InfluxDB 2"), "influxdb-2.7", with_data),
    Scenario(
        "docs/operations.md", ("When something fails", "Quarantine", "Upgrade"), "influxdb-2.7", as_shipping_service
    ),
    Scenario(
        "docs/operations.md",
        ("A journal that was set aside", "Backup"),
        "embedded",
        as_service,
    ),
)
ELSEWHERE = {
    ("README.md", "Tests"): "not executed, as NOT_EXECUTED says",
    ("docs/development.md", "Set up"): "the same",
}


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
