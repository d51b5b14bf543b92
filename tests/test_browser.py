"""What a real Chromium tells the pixel, through real nginx: docs/referrer-policies.md is checked against it."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trustme
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from pfa_flux.doctor.site.page import check_page
from pfa_flux.settings import load
from pfa_flux.settings.pixel import PixelSettings
from pfa_flux.setup.nginx import Part, configuration
from pfa_flux.setup.tags import image, script
from tests.engines.process import free_ports
from tests.pixel_server import PixelServer
from tests.site_server import lead
from tests.webserver import Nginx, program

SITE, STATS = "site.test", "stats.test"
PAGE = Path(__file__).parents[1] / "docs" / "referrer-policies.md"
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --no-proxy-server"
    " --disable-background-networking --disable-component-update --disable-sync --disable-default-apps"
    " --disable-breakpad --ignore-certificate-errors"
)
PATIENCE = 30.0


@dataclass(frozen=True)
class World:
    """A browser, and a site whose pixel it asks for."""

    browser: webdriver.Chrome
    pixel: PixelServer
    pages: Path
    port: int

    def write(self, name: str, html: str) -> None:
        """Make a page of the site, which is there under each policy: /POLICY/NAME, or /none/NAME without one."""
        (self.pages / name).write_text(f"<!doctype html><title>{name}</title>{html}")

    def view(self, path: str) -> None:
        """View a page of the site, until all that belongs to it is loaded."""
        self.browser.get(f"https://{SITE}{path}")
        assert self.browser.title == path.rpartition("/")[2]

    def counted_by(self, act: Callable[[], None]) -> dict[tuple[str, ...], int]:
        """What the pixel counts while something is done, by domain and page."""
        before = Counter(self.pixel.counted())
        act()
        return dict(Counter(self.pixel.counted()) - before)


def table() -> dict[str, list[str]]:
    """The table of docs/referrer-policies.md: what is seen under each policy, by way of embedding."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text().splitlines()
        if re.match(r"\| (`[a-z-]+`|none)", line) and line.count("|") == 6
    ]
    return {row[0].strip("`").partition("`")[0].partition(",")[0]: row[1:] for row in rows}


POLICIES = (
    "no-referrer", "no-referrer-when-downgrade", "origin", "origin-when-cross-origin", "same-origin", "strict-origin",
    "strict-origin-when-cross-origin", "unsafe-url",
)  # fmt: skip
"""All that there are: https://www.w3.org/TR/referrer-policy/#referrer-policies"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    chromium, driver = program("chromium"), program("chromedriver")
    folder = tmp_path_factory.mktemp("browser")
    (port,) = free_ports(1)
    with ExitStack() as stack:
        # A browser's sockets want a short name.
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pfa")))
        settings = {"domains": [SITE], "load_path": "/load.gif"}
        pixel = stack.enter_context(PixelServer(folder / "pixel", pixel=settings))
        pages = folder / "pages"
        pages.mkdir()
        stack.enter_context(Nginx(folder / "nginx", port, site(pixel, port, pages, folder)))
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in FLAGS.split():
            options.add_argument(flag)
        options.add_argument(f"--user-data-dir={home}/profile")
        options.add_argument(f"--host-resolver-rules=MAP *:443 127.0.0.1:{port}, EXCLUDE 127.0.0.1")
        own = {"HOME": str(home), "TMPDIR": str(home), "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home)}
        service = Service(driver, log_output=str(folder / "driver.log"), env={**os.environ, **own})
        # The last of a browser's processes end a moment after it, and write to its folder until then.
        stack.callback(until, lambda: not of_folder(home))
        browser = webdriver.Chrome(options, service)
        stack.callback(browser.quit)
        browser.set_page_load_timeout(PATIENCE)
        yield World(browser, pixel, pages, port)


def of_folder(folder: Path) -> list[str]:
    """Processes that have been told of a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if str(folder).encode() in path.read_bytes():
                found.append(path.parent.name)
    return found


def site(pixel: PixelServer, port: int, pages: Path, folder: Path) -> str:
    """nginx's `http { }`: a site with a pixel of its own, and a host for the pixel, on https and HTTP/2."""
    authority = trustme.CA()
    certificate = authority.issue_cert(SITE, STATS)
    certificate.cert_chain_pems[0].write_to_path(folder / "pem")
    certificate.private_key_pem.write_to_path(folder / "key")
    authority.cert_pem.write_to_path(folder / "authority")
    tls = f"ssl_certificate {folder}/pem;\nssl_certificate_key {folder}/key;"
    listen = f"listen 127.0.0.1:{port} ssl http2;"
    policies = "\n".join(
        f"location /{policy}/ {{ alias {pages}/; add_header Referrer-Policy {policy}; }}" for policy in POLICIES
    )
    settings = load({}, environ={}, config=pixel.config).pixel
    direct = configuration(settings, direct=STATS).replace("listen 80;", listen)
    own = configuration(settings, part=Part.SERVER)
    return (
        f"types {{ text/html html; }}\n{tls}\n{direct}\n"
        f"server {{ {listen} server_name {SITE};\n{own}\n{policies}\nlocation /none/ {{ alias {pages}/; }} }}"
    )


def tags(pixel: PixelServer) -> list[str]:
    """The `<img>` of each column of the table."""
    settings = load({}, environ={}, config=pixel.config).pixel
    direct, proxied = image(settings, STATS), image(settings)
    return [bare(direct), direct, bare(proxied), proxied]


def bare(tag: str) -> str:
    """A tag without its referrerpolicy."""
    return re.sub(r' referrerpolicy="[a-z-]+"', "", tag)


def test_the_table_has_every_policy() -> None:
    assert list(table()) == ["none", *POLICIES]


@pytest.mark.parametrize("policy", ["none", *POLICIES])
def test_the_pixel_sees_what_the_table_says(world: World, policy: str) -> None:
    seen = []
    for number, tag in enumerate(tags(world.pixel)):
        name = f"{number}.html"
        path = f"/{policy}/{name}"
        world.write(name, tag)
        rejected = world.pixel.metrics().get('rejected_total{reason="no_referer"}', 0)
        counted = world.counted_by(partial(world.view, path))
        if not counted:
            # It was asked for, and had nothing to go by.
            assert world.pixel.metrics()['rejected_total{reason="no_referer"}'] == rejected + 1
        seen.append(words(counted, path))
    assert seen == table()[policy]


def words(counted: dict[tuple[str, ...], int], path: str) -> str:
    """What was counted of one view, as the table has it."""
    known: dict[tuple[tuple[str, ...], ...], str] = {
        (): "not counted",
        ((SITE, path),): "domain and page",
        ((SITE, "/"),): "domain, page `/`",
        ((SITE, "(unknown)"),): "domain, page `(unknown)`",
    }
    assert set(counted.values()) <= {1}
    return known[tuple(counted)]


def test_a_page_that_is_viewed_again_is_counted_again(world: World) -> None:
    world.write("again.html", "".join(tags(world.pixel)[1::2]))

    def view() -> None:
        world.view("/none/again.html")
        world.view("/none/again.html")
        world.browser.refresh()

    # Both pixels of the page, each time.
    assert world.counted_by(view) == {(SITE, "/none/again.html"): 6}


def test_a_query_and_a_fragment_are_not_kept(world: World) -> None:
    world.write("query.html", tags(world.pixel)[1])

    def view() -> None:
        world.browser.get(f"https://{SITE}/unsafe-url/query.html?secret=1#part")

    assert world.counted_by(view) == {(SITE, "/unsafe-url/query.html"): 1}


def test_a_page_without_scripts_is_a_hit_and_no_load(world: World) -> None:
    settings = load({}, environ={}, config=world.pixel.config).pixel
    world.write("script.html", image(settings) + script(settings))
    world.write("script-direct.html", image(settings, STATS) + script(settings, STATS))

    def view() -> None:
        for name in ("script.html", "script-direct.html"):
            world.view(f"/no-referrer/{name}")
        world.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        try:
            world.view("/no-referrer/script.html")
        finally:
            world.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

    assert world.counted_by(view) == {
        (SITE, "/no-referrer/script.html"): 2,
        (SITE, "/no-referrer/script-direct.html"): 1,
    }
    assert world.pixel.loaded() == {
        (SITE, "/no-referrer/script.html"): 1,
        (SITE, "/no-referrer/script-direct.html"): 1,
    }


@pytest.mark.parametrize("place", ["none", "no-referrer", "origin"])
@pytest.mark.parametrize(
    "make",
    [
        lambda own: tags_of(own),
        lambda own: tags_of(own, STATS),
        lambda own: bare(tags_of(own)),
        lambda own: f"<noscript>{image(own)}</noscript>{script(own)}",
        lambda own: f"<base href='https://{STATS}/'>{bare(image(own))}",
        lambda own: f"<template>{image(own)}</template>{script(own)}",
        lambda own: f"{image(own)}{image(own).replace('count.gif', 'count.gi%66')}",
    ],
)
def test_doctor_says_what_a_view_gives(
    world: World, make: Callable[[PixelSettings], str], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence, read back, is what Chromium has counted; and saying it has counted nothing."""
    settings = load({}, environ={}, config=world.pixel.config)
    monkeypatch.setenv("SSL_CERT_FILE", str(world.pages.parent / "authority"))
    lead(monkeypatch, {SITE: world.port, STATS: world.port}, https=world.port)
    world.write("said.html", make(settings.pixel))
    path, loaded = f"/{place}/said.html", world.pixel.loaded
    before, said = Counter(loaded()), []
    assert world.counted_by(lambda: said.extend(check_page(f"https://{SITE}{path}", settings))) == {}
    assert Counter(loaded()) == before
    hits = world.counted_by(partial(world.view, path))
    loads = dict(Counter(loaded()) - before)
    expected = Counter({
        ("hit", *key): number for key, number in hits.items()
    }) + Counter({("load", *key): number for key, number in loads.items()})  # fmt: skip
    assert read_back(said[-1].found) == expected


def tags_of(settings: PixelSettings, direct: str = "") -> str:
    return image(settings, direct) + script(settings, direct)


def read_back(sentence: str) -> Counter[tuple[str, ...]]:
    """What a view with JavaScript counts as by doctor's last sentence: by kind, domain and page."""
    found: Counter[tuple[str, ...]] = Counter()
    given = re.sub(r"; without, .*", "", sentence.partition(" counts as ")[2])
    for part in given.split(", "):
        what, _, where = part.partition(" on ")
        for number, kind in re.findall(r"(\d+) (hit|load)s?", what):
            found[kind, *where.rstrip(".").split(" ")] += int(number)
    return found


def test_a_page_that_is_rendered_in_advance_is_not_counted_then_nor_when_it_is_shown(world: World) -> None:
    world.write("later.html", tags(world.pixel)[3])
    rules = '{"prerender": [{"source": "list", "urls": ["later.html"], "eagerness": "immediate"}]}'
    link = '<a href="later.html">later</a>'
    world.write("now.html", f'{tags(world.pixel)[3]}{link}<script type="speculationrules">{rules}</script>')

    def rejected() -> float:
        return world.pixel.metrics().get('rejected_total{reason="prefetch"}', 0)

    def view() -> None:
        world.view("/none/now.html")
        until(lambda: rejected() == 1)
        world.browser.find_element("link text", "later").click()
        until(lambda: world.browser.title == "later.html")
        state = "return performance.getEntriesByType('navigation')[0].activationStart > 0"
        assert world.browser.execute_script(state) is True

    assert world.counted_by(view) == {(SITE, "/none/now.html"): 1}
    assert rejected() == 1


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s"
        time.sleep(0.05)
