"""The live page and the report in a real Chromium: at two widths, light and dark, and by keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from pfa_flux import Analytics, Point, Settings
from pfa_flux.view.page import LivePage
from pfa_flux.view.server import Server
from tests.chromium import chromium
from tests.data import DAY, HOUR, T0, hit, load
from tests.test_browser import until

SCRIPT = Path(__file__).with_name("accessibility.js").read_text()
NOW = T0 + 30 * DAY
ONION = f"{'a' * 55}d.onion"
FEW = "of=shop.example&from=2026-01-19&to=2026-01-21"
LONG = "/a-rather-long-address/of-a-page/that-has-to-be-broken.html"
USED = "a, button, select, summary, input:not([type=hidden]), nav, form"
QUERIES = {
    "overview": "compare=1&range=14d",
    "few page views": f"compare=1&{FEW}",
    "network": "by=network&compare=1&range=14d",
    "domain": "by=domain&compare=1&range=14d",
    "page": "by=page&compare=1&range=14d",
    "one page": "page=/without-any-javascript-at-all&range=14d",
    "days": "by=time&compare=1&range=14d",
    "hours": "by=time&range=24h",
    "weeks": "by=time&range=30d&every=1w",
    "nothing": "of=absent.example",
    "wrong": "from=2026-02-30&by=time&every=7m&compare=x",
}


def points() -> list[Point]:
    """Views of three networks, of a page that no script loads, and of a site that hardly anybody views."""
    hours = range(30 * 24 - 1)
    made = [hit(T0 + n * HOUR + k, page=f"/page-{k % 4}") for n in hours for k in range(6)]
    made += [load(T0 + n * HOUR + k, page=f"/page-{k % 4}") for n in hours for k in range(6) if (n + k) % 3]
    made += [make(T0 + n * HOUR, ONION, LONG) for make, step in ((hit, 3), (load, 9)) for n in hours[::step]]
    made += [hit(T0 + n * HOUR, "example.i2p", "/without-any-javascript-at-all") for n in hours[::8]]
    made += [hit(T0 + 8 * DAY + n * HOUR, "shop.example") for n in range(4)]
    return [*made, load(T0 + 8 * DAY, "shop.example")]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("live"),
        sites={"blog": ("example.com", ONION), "shop": ("shop.example",)},
    )
    with Analytics(settings, clock=lambda: NOW) as analytics:
        analytics.write(points())
    with Server(LivePage(settings, clock=lambda: NOW), "127.0.0.1", 0) as server:
        server.start()
        yield server.url


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    with ExitStack() as stack:
        yield stack.enter_context(chromium({}, "--hide-scrollbars", "--lang=en-US"))


def look(browser: webdriver.Chrome, width: int, scheme: str) -> None:
    """Let the window be of a width, and the user like a scheme of colours."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    liked = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": liked})


@pytest.mark.parametrize("name", QUERIES)
def test_at_every_width_and_in_every_light_all_can_be_read(browser: webdriver.Chrome, url: str, name: str) -> None:
    found = {}
    for width in (390, 1200):
        for scheme in ("light", "dark"):
            look(browser, width, scheme)
            browser.get(f"{url}?{QUERIES[name]}")
            for what in ("contrast", "clipped"):
                if said := browser.execute_script(SCRIPT, what):
                    found[width, scheme, what] = said
    assert found == {}


@pytest.mark.parametrize("name", ["overview", "few page views", "wrong"])
def test_the_checks_find_what_cannot_be_read(browser: webdriver.Chrome, url: str, name: str) -> None:
    look(browser, 390, "light")
    browser.get(f"{url}?{QUERIES[name]}")
    browser.execute_script("document.querySelector('h1').style.color = '#999'")
    browser.execute_script("document.querySelector('h1').style.whiteSpace = 'nowrap'")
    browser.execute_script("document.querySelector('h1').style.width = '9000px'")
    assert browser.execute_script(SCRIPT, "contrast")
    assert any(said.startswith("the page is ") for said in browser.execute_script(SCRIPT, "clipped"))


@pytest.mark.parametrize("name", ["overview", "days", "wrong"])
def test_whatever_can_be_used_has_a_role_and_a_name(browser: webdriver.Chrome, url: str, name: str) -> None:
    look(browser, 390, "light")
    browser.get(f"{url}?{QUERIES[name]}")
    for element in browser.find_elements(By.CSS_SELECTOR, USED):
        assert element.accessible_name, element.get_attribute("outerHTML")
    names = {
        (element.aria_role, element.accessible_name)
        for element in browser.find_elements(By.CSS_SELECTOR, "nav, form, table, figure")
    }
    assert {("navigation", "Range"), ("navigation", "View"), ("form", "Choose what is shown")} <= names
    if name == "overview":
        chart = "Share of page views without the analytics over time. The table below has the figures."
        assert {("table", "Pages with the most page views"), ("image", chart)} <= names


def focused(browser: webdriver.Chrome) -> WebElement:
    return browser.switch_to.active_element


def tabs(browser: webdriver.Chrome, count: int) -> Iterator[str]:
    """Names of what has the focus, one after another, as Tab is pressed."""
    last = None
    for _ in range(count):
        focused(browser).send_keys(Keys.TAB)
        now = focused(browser)
        if now != last:
            yield now.accessible_name
        last = now


def press(browser: webdriver.Chrome, *keys: str) -> None:
    for key in keys:
        focused(browser).send_keys(key)


def follow(browser: webdriver.Chrome, address: str) -> None:
    """Press Enter, and wait until that has led to an address."""
    press(browser, Keys.ENTER)
    loaded = "return document.readyState === 'complete'"
    until(lambda: browser.current_url == address and browser.execute_script(loaded) is True)


def tab_to(browser: webdriver.Chrome, name: str) -> None:
    """Press Tab until something has the focus."""
    assert name in tabs_until(browser, name), f"Tab does not lead to {name}"


def tabs_until(browser: webdriver.Chrome, name: str) -> Sequence[str]:
    found = []
    for each in tabs(browser, 60):
        found.append(each)
        if each == name:
            break
    return found


RANGES = ["24 hours", "7 days", "30 days", "90 days", "1 year"]
VIEWS = ["Overview", "By network", "By domain", "By page", "By time"]


def test_tab_leads_through_the_page_in_the_order_of_reading(browser: webdriver.Chrome, url: str) -> None:
    look(browser, 1200, "light")
    browser.get(f"{url}?of=blog&range=14d&by=time")
    found = tabs_until(browser, "The figures")
    form = ["Site", "From", "To", "Interval", "Compare with previous period", "Show"]
    assert found == ["Skip to the figures", *RANGES, *form, *VIEWS, "The figures"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_focus_is_seen(browser: webdriver.Chrome, url: str, scheme: str) -> None:
    look(browser, 390, scheme)
    browser.get(f"{url}?{QUERIES['days']}")
    seen = 0
    for name in tabs(browser, 30):
        element = focused(browser)
        if element.tag_name == "body":
            break
        seen += 1
        style = {key: element.value_of_css_property(key) for key in ("outline-style", "outline-width")}
        assert style == {"outline-style": "solid", "outline-width": "3px"}, name
        box = browser.execute_script("return arguments[0].getBoundingClientRect().toJSON()", element)
        assert (box["left"] >= 0, box["right"] <= 390, box["width"] > 10, box["height"] > 10) == (True,) * 4, name
    assert seen == 18


def test_a_selection_is_made_by_keyboard_alone(browser: webdriver.Chrome, url: str) -> None:
    look(browser, 390, "light")
    browser.get(f"{url}?range=30d")
    tab_to(browser, "Site")
    press(browser, "blog")
    tab_to(browser, "From")
    press(browser, "01202026")
    tab_to(browser, "To")
    press(browser, "01222026")
    tab_to(browser, "Compare with previous period")
    press(browser, Keys.SPACE)
    tab_to(browser, "Show")
    follow(browser, f"{url}?of=blog&from=2026-01-20&to=2026-01-22&compare=1&range=30d")
    assert browser.find_element(By.TAG_NAME, "h1").text == "blog · 20 January 2026, 00:00 to 23 January 2026, 00:00 UTC"
    assert browser.find_element(By.CSS_SELECTOR, ".facts b").text == "456"
    assert "The share of the previous period was" in browser.find_element(By.TAG_NAME, "header").text
    tab_to(browser, "By page")
    follow(browser, f"{url}?of=blog&from=2026-01-20&to=2026-01-22&by=page&compare=1")
    assert browser.find_element(By.TAG_NAME, "h2").text == "By page"
    tab_to(browser, "/page-0")
    days = "from=2026-01-20&to=2026-01-22&compare=1"
    follow(browser, f"{url}?of=blog&page=%2Fpage-0&{days}")
    assert browser.find_element(By.TAG_NAME, "h1").text.startswith("/page-0 on blog · ")
    tab_to(browser, "Show all pages")
    follow(browser, f"{url}?of=blog&{days}")
    assert browser.find_element(By.TAG_NAME, "h1").text.startswith("blog · ")


def test_the_skip_link_leads_past_the_controls(browser: webdriver.Chrome, url: str) -> None:
    look(browser, 390, "light")
    browser.get(url)
    tab_to(browser, "Skip to the figures")
    assert focused(browser).is_displayed()
    follow(browser, f"{url}#figures")
    assert next(tabs(browser, 1)) not in {*RANGES, *VIEWS, "Site"}


def test_the_browser_finds_nothing_against_the_policy_and_asks_for_nothing_else(url: str) -> None:
    with chromium({}) as fresh:
        fresh.execute_cdp_cmd("Network.enable", {})
        for query in QUERIES.values():
            fresh.get(f"{url}?{query}")
            names = fresh.execute_script("return performance.getEntriesByType('resource').map((each) => each.name)")
            assert [name for name in names if not name.endswith("/favicon.ico")] == []
        said = [entry["message"] for entry in fresh.get_log("browser")]  # type: ignore[no-untyped-call]
    assert [message for message in said if "Content Security Policy" in message] == []


def test_without_sites_a_domain_is_typed(browser: webdriver.Chrome, tmp_path: Path) -> None:
    with Server(LivePage(Settings(data_dir=tmp_path), clock=lambda: NOW), "127.0.0.1", 0) as server:
        server.start()
        for width, scheme in ((390, "light"), (1200, "dark")):
            look(browser, width, scheme)
            browser.get(server.url)
            assert browser.execute_script(SCRIPT, "contrast") == []
            assert browser.execute_script(SCRIPT, "clipped") == []
        tab_to(browser, "Domain")
        press(browser, "example.com")
        follow(browser, f"{server.url}?of=example.com&from=&to=")
        assert browser.find_element(By.TAG_NAME, "h1").text.startswith("example.com · ")


@pytest.mark.parametrize("width", [390, 1200])
def test_the_report_is_as_readable_as_the_page(browser: webdriver.Chrome, tmp_path: Path, width: int) -> None:
    settings, file = Settings(data_dir=tmp_path / "data"), tmp_path / "report.html"
    with Analytics(settings, clock=lambda: NOW) as analytics:
        analytics.write(points())
        file.write_text(analytics.report(start="3d")[0])
    for scheme in ("light", "dark"):
        look(browser, width, scheme)
        browser.get(file.as_uri())
        assert browser.execute_script(SCRIPT, "contrast") == []
        assert browser.execute_script(SCRIPT, "clipped") == []
