"""All of it, all real: browsers, nginx, the pixel, the server with its task on its own schedule, figures and report.

Chromium views known numbers of pages on three networks, with JavaScript, without, and with the analytics blocked. Then
every figure is exactly what the browsers did. Nothing is written but by nginx and by the pixel, and no run is forced.

With PFA_FLUX_TEST_PICTURE=FILE the report's picture is kept.
"""

from __future__ import annotations

import base64
import os
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
import trustme
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By

from pfa_flux.times import parse_instant
from tests import stored
from tests.chromium import chromium
from tests.cli import Result, pfa_flux
from tests.engines import Workspace
from tests.engines.plugin import Pool
from tests.engines.process import free_ports
from tests.pixel_server import PixelServer
from tests.stored import LOADS, points, total, until
from tests.test_task_schedule import sleep_until
from tests.webserver import Nginx

pytestmark = pytest.mark.slow

SECOND = 10**9
MINUTE = 60 * SECOND
OFFSET = 5
ENGINES: dict[str, dict[str, bool]] = {"influxdb-2.7": {}, "kapacitor": {"auth": True}}
"""Both ask for a token, which no browser has: nginx adds it to what the page's script writes."""

HOSTS = {"clearnet": "example.com", "tor": f"{'example' * 8}.onion", "i2p": "example.i2p"}
PAGES = ("/", "/news/", "/a,b=c.html", "/two%20words.html")
VIEWS = {
    "clearnet": {"on": 18, "blocked": 9, "off": 3},
    "tor": {"on": 4, "blocked": 5, "off": 7},
    "i2p": {"on": 9, "blocked": 1, "off": 2},
}
"""Page views of each network by what the browser makes of JavaScript: on, off, or on with the analytics blocked."""
FIGURES = {
    "clearnet": {"hits": 30, "js": 18, "blocked": 12, "ratio": 0.4, "status": "ok"},
    "tor": {"hits": 16, "js": 4, "blocked": 12, "ratio": 0.75, "status": "ok"},
    "i2p": {"hits": 12, "js": 9, "blocked": 3, "ratio": 0.25, "status": "ok"},
}
HITS, JS = 58, 31
BARS = {"clearnet": (0x1F, 0x5F, 0xA8), "tor": (0x7A, 0x3F, 0xA0), "i2p": (0xB4, 0x50, 0x1C)}
"""Colours of the report's bars."""
LEFT = {"on": ("", "load"), "blocked": ("", None), "off": ("JavaScript is off", None)}
"""What a view leaves in the browser: the page's text, and what the analytics has written last."""
PAGE = """<!doctype html>
<title>Page</title>
<noscript>JavaScript is off</noscript>
<script src="/agent.js" async></script>
{pixel}
"""


@dataclass(frozen=True)
class World:
    """An engine with a pixel and nginx before it.

    Attributes:
        workspace: buckets on the engine.
        pixel: `pfa-flux serve`, which writes to it.
        folder: what nginx serves and keeps.
        https: nginx's port for the site on clearnet.
        http: its port for those whose tunnels are a secret already.
    """

    workspace: Workspace
    pixel: PixelServer
    folder: Path
    https: int
    http: int

    @property
    def reached(self) -> dict[str, int]:
        """Ports by the hosts that browsers ask for."""
        own = {"clearnet": (443, self.https), "tor": (80, self.http), "i2p": (80, self.http)}
        return {f"{HOSTS[network]}:{public}": port for network, (public, port) in own.items()}

    def cli(self, *arguments: str) -> Result:
        """`pfa-flux` with the settings of the pixel."""
        return pfa_flux(*arguments, "--config", str(self.pixel.config))

    def json(self, *arguments: str) -> Any:
        """The JSON of a command that ends well."""
        done = self.cli(*arguments, "--format", "json", "--quiet")
        assert (done.code, done.err) == (0, "")
        return done.json


@pytest.fixture(scope="module")
def worlds(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, World]]:
    """Every engine that can be had, after the browsers were there and the task has run."""
    made: dict[str, World] = {}
    with ExitStack() as stack:
        for engine, how in ENGINES.items():
            try:
                workspace = Workspace(pool.get(engine, **how))
            except pytest.skip.Exception:
                continue
            stack.callback(workspace.close)
            made[engine] = start(workspace, tmp_path_factory.mktemp(engine), stack)
        with ThreadPoolExecutor() as executor:
            list(executor.map(browse, made.values()))
        last = max(last_row(world) for world in made.values()) if made else 0
        sleep_until((last // MINUTE + 1) * MINUTE + OFFSET * SECOND)
        for world in made.values():
            wait_for_the_task(world)
        yield made


@pytest.fixture(params=ENGINES)
def world(request: pytest.FixtureRequest, pool: Pool, worlds: dict[str, World]) -> World:
    # Where it cannot be had this says why.
    pool.get(request.param, **ENGINES[request.param])
    return worlds[request.param]


def start(workspace: Workspace, folder: Path, stack: ExitStack) -> World:
    """Settings, tasks, pixel and nginx, as an administrator makes them, with windows as short as they can be."""
    settings: dict[str, Any] = {**workspace.settings()}
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(settings.pop("token"))
    pixel = PixelServer(
        folder / "pixel",
        pixel={"domains": list(HOSTS.values())},
        task={"every": "1m", "offset": f"{OFFSET}s"},
        **{**settings, "token_file": str(token), "data_dir": str(folder / "data")},
    )
    with pixel.config.open("a") as config:
        name = workspace.task_name
        config.write(f'[schema]\ntask_name = "{name}"\nloads_task_name = "{name}_loads"\n')
        config.write(f"[sites.example]\ndomains = {list(HOSTS.values())}\n")
    world = World(workspace, pixel, folder, *free_ports(2))
    stack.enter_context(pixel)
    stack.enter_context(Nginx(folder / "nginx", world.https, sites(world)))
    done = world.cli("install-task")
    stack.callback(remove, world)
    # There is nothing yet that a run could have been forced for.
    assert (done.code, done.err.count("That time has no rows to compare")) == (0, 2), done.err
    return world


def remove(world: World) -> None:
    done = world.cli("task", "remove")
    assert (done.code, done.out.count(": removed\n")) == (0, 2), done.err


def sites(world: World) -> str:
    """nginx's `http { }`: three sites with the same pages, each with the pixel under a path of its own."""
    pages = world.folder / "pages"
    authority = trustme.CA().issue_cert(HOSTS["clearnet"])
    authority.private_key_and_cert_chain_pem.write_to_path(world.folder / "pem")
    own = world.cli("nginx", "--part", "server").out
    (tag,) = re.findall(r"^# (<img .*>)$", own, re.MULTILINE)
    (pages / "news").mkdir(parents=True)
    for name in ("index.html", "news/index.html", "a,b=c.html", "two words.html"):
        (pages / name).write_text(PAGE.format(pixel=tag))
    (pages / "agent.js").write_text((Path(__file__).parent / "agent.js").read_text())
    client = world.workspace.client
    inner = f"""
        {own}
        root {pages};
        location = /analytics {{
            proxy_pass {client.url}/api/v2/write?org={client.org}&bucket={world.workspace.raw};
            proxy_pass_request_headers off;
            proxy_set_header Authorization "Token {client.token}";
        }}
    """
    tls = f"ssl_certificate {world.folder}/pem; ssl_certificate_key {world.folder}/pem;"
    return f"""
        {world.cli("nginx", "--part", "http").out}
        types {{ text/html html; text/javascript js; }}
        server_names_hash_bucket_size 128;
        server {{ listen 127.0.0.1:{world.https} ssl http2; server_name {HOSTS["clearnet"]}; {tls} {inner} }}
        server {{ listen 127.0.0.1:{world.http}; server_name {HOSTS["tor"]}; {inner} }}
        server {{ listen 127.0.0.1:{world.http}; server_name {HOSTS["i2p"]}; {inner} }}
    """


def browse(world: World) -> None:
    """View the pages, in a browser of its own for each mode."""
    for mode in LEFT:
        with chromium(world.reached, scripts=mode != "off") as browser:
            if mode == "blocked":
                # As an extension does.
                browser.execute_cdp_cmd("Network.enable", {})
                browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/agent.js"]})
            for network in VIEWS:
                scheme = "https" if network == "clearnet" else "http"
                for page in viewed(network, mode):
                    view(browser, f"{scheme}://{HOSTS[network]}{page}", mode)


def view(browser: webdriver.Chrome, url: str, mode: str) -> None:
    """View a page until all that belongs to it is done."""
    browser.get(url)

    def done() -> bool:
        root = browser.find_element(By.TAG_NAME, "html")
        return (root.text, root.get_attribute("data-written")) == LEFT[mode]

    until(done, f"{LEFT[mode]} left by {url}")


def viewed(network: str, mode: str) -> list[str]:
    """The pages of a network in the order in which they are viewed."""
    return list(islice(cycle(PAGES), VIEWS[network][mode]))


def figures_by_page() -> dict[tuple[str, str], tuple[int, int]]:
    """Page views and page loads of each page of each domain."""
    hits = Counter((HOSTS[n], page) for n, modes in VIEWS.items() for mode in modes for page in viewed(n, mode))
    js = Counter((HOSTS[n], page) for n in VIEWS for page in viewed(n, "on"))
    return {key: (hits[key], js[key]) for key in hits}


def last_row(world: World) -> int:
    """Time of the newest raw row, once all are there."""
    until(lambda: total(world.workspace) == HITS, "all hits shipped")
    times = (row["time"] for measurement in (stored.HITS, LOADS) for row in points(world.workspace, measurement))
    return int(max(times))


def wait_for_the_task(world: World) -> None:
    """Wait until the run that is due now has written its rows."""
    until(lambda: counted(world, "pf_analytics_pixel", "hitcount") == HITS, "all hits downsampled")
    until(lambda: counted(world, "pf_analytics_loads", "loadcount") == JS, "all page loads downsampled")


def counted(world: World, measurement: str, field: str) -> int:
    """Sum over the downsampled rows of a measurement."""
    return sum(row[field] for row in downsampled(world, measurement))


def downsampled(world: World, measurement: str) -> list[dict[str, Any]]:
    """The downsampled rows of a measurement, asked of the server itself."""
    database, _, policy = world.workspace.rollup.partition("/")
    return world.workspace.client.influxql(f'SELECT * FROM "{measurement}"', db=database, rp=policy)


@pytest.mark.parametrize("source", ["raw", "rollup"])
def test_the_ratio_of_each_network_is_what_the_browsers_did(world: World, source: str) -> None:
    answer = world.json("blocked-ratio", "--by", "network", "--start", "1h", "--source", source)
    found = {row.pop("network"): row for row in answer["rows"]}
    assert list(found) == ["clearnet", "i2p", "tor"]
    for row in found.values():
        assert 0 < row.pop("ratio_low") < row["ratio"] < row.pop("ratio_high") < 1
    assert found == FIGURES
    assert answer["source"] == source


def test_every_view_is_counted_on_its_page(world: World) -> None:
    answer = world.json("blocked-ratio", "--by", "domain", "--by", "page")
    found = {(row["domain"], row["page"]): (row["hits"], row["js"]) for row in answer["rows"]}
    assert found == figures_by_page()
    assert (sum(hits for hits, _ in found.values()), sum(js for _, js in found.values())) == (HITS, JS)


def test_the_analytics_wrote_two_rows_a_view_of_which_one_is_a_load(world: World) -> None:
    found = points(world.workspace, LOADS)
    assert {frozenset(row) for row in found} == {
        frozenset({"time", "response_time", "action", "domain", "page", "platform", "type"})
    }
    assert Counter(row["action"] for row in found) == {'"ready"': JS, '"load"': JS}


@pytest.mark.parametrize(("side", "measurement"), [("hits", "pf_analytics_pixel"), ("loads", "pf_analytics_loads")])
def test_each_task_did_its_work_by_its_own_schedule(world: World, side: str, measurement: str) -> None:
    rows = downsampled(world, measurement)
    ends = {row["time"] for row in rows}

    def started() -> dict[int, int]:
        """When each run that ended well was started, by the end of its windows."""
        runs = world.json("task", "runs", "--limit", "500")
        well = [run for run in runs if (run["side"], run["status"]) == (side, "success")]
        return {parse_instant(run["scheduled_for"], 0): parse_instant(run["started"], 0) for run in well}

    def of(answer: dict[str, Any]) -> dict[str, Any]:
        return answer if side == "hits" else dict(answer["loads"])

    # A server writes down that a run has ended a moment after its rows.
    until(lambda: ends <= started().keys(), "the runs of all windows ended well")
    assert all(moment >= end + OFFSET * SECOND for end, moment in started().items() if end in ends)
    verified = of(world.json("task", "verify"))
    assert (verified["clean"], verified["count"], verified["rows"]) == (True, 0, len(rows))
    status = of(world.json("task", "status"))
    assert (status["complete"], status["plan"], status["last_error"]) == (True, "up to date", None)
    assert parse_instant(status["last_run"], 0) >= max(ends)


def test_the_report_shows_what_the_browsers_did(world: World, tmp_path: Path) -> None:
    out, picture = tmp_path / "report.html", tmp_path / "report.png"
    done = world.cli("report", "--site", "example", "--start", "1h", "--every", "15m", "--out", str(out))
    assert done.code == 0, done.err
    with chromium({}, "--window-size=1020,900", "--force-color-profile=srgb", "--hide-scrollbars") as browser:
        browser.get(out.as_uri())

        def shown(selector: str) -> list[str]:
            return [" ".join(found.text.split()) for found in browser.find_elements(By.CSS_SELECTOR, selector)]

        # Of so few page views the interval says more than the share.
        assert shown(".headline") == ["34–59%"]
        assert shown(".facts b") == ["58", "31", "27"]
        assert shown(".bars .row") == [
            "clearnet 30 page views 40.0% 24.6–57.7%",
            "I2P 12 page views 25.0% 8.9–53.2%",
            "Tor 16 page views 75.0% 50.5–89.8%",
            f"{HOSTS['clearnet']} 30 page views 40.0% 24.6–57.7%",
            f"{HOSTS['tor']} 16 page views 75.0% 50.5–89.8%",
            f"{HOSTS['i2p']} 12 page views 25.0% 8.9–53.2%",
        ]
        assert [row.rsplit(" ", 1)[0] for row in shown("section:not(:has(details)) tbody tr")] == [
            "/ 19 9 10 52.6%",
            "/news/ 15 8 7 46.7%",
            "/a,b=c.html 13 7 6 46.2%",
            "/two%20words.html 11 7 4 36.4%",
        ]
        size = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        whole = {"captureBeyondViewport": True, "clip": {**size, "scale": 1}}
        picture.write_bytes(base64.b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", whole)["data"]))
    with Image.open(picture) as drawn:
        assert drawn.size == (size["width"], size["height"])
        # The bar of each network, in its colour.
        colours = {colour for _, colour in drawn.convert("RGB").getcolors(1 << 24) or ()}
        assert set(BARS.values()) <= colours
        kept = os.environ.get("PFA_FLUX_TEST_PICTURE")
        if kept and world.workspace.server.name == "influxdb-2.7":
            drawn.convert("RGB").quantize(128).save(kept, optimize=True)
