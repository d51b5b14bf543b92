"""The documents as a site: it builds without a warning, has all public names, fits a phone, and asks no other host."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

import pfa_flux
from tests.chromium import chromium
from tests.local_server import serving_files
from tests.test_browser import until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
WIDTHS = (390, 1200)
_REQUESTED = "return performance.getEntriesByType('resource').map(entry => entry.name)"
_TOO_WIDE = "return document.documentElement.scrollWidth - window.innerWidth"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The site as a folder; MkDocs has to be there where all is required."""
    mkdocs = Path(sys.executable).parent / "mkdocs"
    if not mkdocs.exists():
        words = "the site needs MkDocs: pip install -e '.[test,docs]'"
        (pytest.fail if os.environ.get("PFA_FLUX_REQUIRE_ENGINES") else pytest.skip)(words)
    folder = tmp_path_factory.mktemp("site")
    # Strict: a dead link, a dead anchor, and a page that the navigation leaves out are failures.
    command = [str(mkdocs), "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def port(site: Path) -> Iterator[int]:
    """Port of the loopback interface that serves the site."""
    with serving_files(site) as server:
        yield server.port


def test_every_document_is_a_page_and_nothing_else_is(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert {path.relative_to(site) for path in site.rglob("*.html")} == pages | {Path("404.html")}
    assert not [path for path in site.rglob("*") if path.suffix in {".py", ".1"}]


def test_the_library_page_has_every_public_name_with_its_docstring(site: Path) -> None:
    text = (site / "library.html").read_text()
    for name in pfa_flux.__all__:
        value = getattr(pfa_flux, name)
        if callable(value):
            assert f'id="{value.__module__}.{value.__qualname__}"' in text, name


def fits(browser: webdriver.Chrome, width: int) -> bool:
    """A page is not wider than a window of this width. The page's scripts take a moment to follow the window."""
    browser.set_window_size(width, 900)
    until(lambda: bool(browser.execute_script("return window.innerWidth") == width))
    deadline = time.monotonic() + 5
    while browser.execute_script(_TOO_WIDE) > 0:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_pages_fit_their_window_and_ask_no_other_host(port: int, site: Path) -> None:
    pages = sorted(path.name for path in site.glob("*.html") if path.name != "404.html")
    wrong = []
    with chromium({}) as browser:
        for page in pages:
            browser.get(f"http://127.0.0.1:{port}/{page}")
            for width in WIDTHS:
                if not fits(browser, width):
                    wrong.append(f"{page} at {width}")
            asked = browser.execute_script(_REQUESTED)
            wrong += [name for name in asked if not name.startswith(f"http://127.0.0.1:{port}/")]
    assert not wrong


def test_the_search_finds_a_word_of_a_document(port: int) -> None:
    with chromium({}) as browser:
        browser.set_window_size(1200, 900)
        browser.get(f"http://127.0.0.1:{port}/index.html?q=quarantine")
        until(lambda: bool(browser.find_elements(By.CSS_SELECTOR, ".md-search-result__link")))
        links = [
            str(each.get_attribute("href"))
            for each in browser.find_elements(By.CSS_SELECTOR, ".md-search-result__link")
        ]
    assert any("operations.html" in link for link in links)
