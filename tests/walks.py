"""Visits of a site in a real Chromium, through real nginx, and what the pixel counts of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import trustme
from selenium import webdriver

from pfa_flux.settings import load
from pfa_flux.settings.pixel import PixelSettings
from pfa_flux.setup.nginx import Part, configuration
from tests.chromium import chromium
from tests.engines.process import free_ports
from tests.pixel_server import PixelServer
from tests.test_browser import until
from tests.webserver import Nginx

SITE, ELSEWHERE = "site.test", "elsewhere.test"
_QUIET = 0.5
"""Seconds without a request after which no more are on their way."""

TRACKER = """
<script>
// An analytics that counts each view: of an app, of what is shown after all, of what is restored. `mode` is its quirk.
{{
  const [mode, at] = ["{mode}", location.pathname];
  const report = () => fetch("/load.gif", {{referrerPolicy: "same-origin", referrer: {{
    canonical: "/canonical", early: at, short: location.pathname,
  }}[mode] ?? "about:client"}});
  const view = () => {{
    if (mode === "late") setTimeout(report, 5000);
    else if (mode !== "samples" || location.pathname.endsWith("3.html")) report();
  }};
  if (document.prerendering) document.addEventListener("prerenderingchange", view, {{once: true}});
  else view();
  addEventListener("pageshow", (event) => event.persisted && view());
  const push = history.pushState;
  history.pushState = function (...given) {{ push.apply(this, given); view(); }};
  addEventListener("popstate", view);
}}
</script>
"""


def tracker(mode: str = "") -> str:
    """The tag of an analytics."""
    return TRACKER.format(mode=mode)


class Seen(NamedTuple):
    """What was counted of a walk, by domain and page."""

    hits: dict[tuple[str, ...], int]
    loads: dict[tuple[str, ...], int]

    def __str__(self) -> str:
        hits, loads = sum(self.hits.values()), sum(self.loads.values())
        text = f"{hits} hit{'s' * (hits != 1)}, {loads} load{'s' * (loads != 1)}"
        return f"{text} of other pages" if hits and loads and not self.hits.keys() & self.loads.keys() else text


@dataclass(frozen=True)
class World:
    """A browser, and a site whose pixel it asks for.

    Attributes:
        browser: the browser.
        pixel: the pixel.
        settings: its settings.
        folder: the site's pages.
        port: where nginx listens, for another browser.
    """

    browser: webdriver.Chrome
    pixel: PixelServer
    settings: PixelSettings
    folder: Path
    port: int

    def write(self, name: str, html: str) -> str:
        """Make a page of the site. Returns its path."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(html if path.suffix == ".js" else f"<!doctype html><title>{path.stem}</title>{html}")
        return f"/{name}"

    def open(self, path: str, host: str = SITE) -> None:
        """View a page by its address."""
        self.browser.get(f"https://{host}{path}")

    def click(self, link: str) -> None:
        """Follow a link to another page, and wait until it is there."""
        before = self.path
        self.browser.find_element("link text", link).click()
        until(lambda: self.path != before and self.script("return document.readyState") == "complete")

    def move(self, step: int) -> None:
        """Go back or forward."""
        before = self.path
        self.script(f"history.go({step})")
        until(lambda: self.path != before)

    def script(self, text: str) -> object:
        """Run a script in the page."""
        return self.browser.execute_script(text)

    @property
    def path(self) -> str:
        """Path of the page that is shown."""
        return "/" + self.browser.current_url.partition("://")[2].partition("/")[2]

    @contextmanager
    def without_scripts(self) -> Iterator[None]:
        """Scripts are off."""
        self.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        try:
            yield
        finally:
            self.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

    def rejected(self, reason: str) -> int:
        """Requests that were answered and not counted for a reason."""
        return int(self.pixel.metrics().get(f'rejected_total{{reason="{reason}"}}', 0))

    @contextmanager
    def seeing(self) -> Iterator[Seen]:
        """What is counted of the walk within, once all of it has arrived."""
        self.settle()
        before = self._counts()
        seen = Seen({}, {})
        yield seen
        self.settle()
        for found, now, then in zip(seen, self._counts(), before, strict=True):
            found.update(now - then)

    def settle(self) -> None:
        """Wait until nothing more is asked for."""
        last, since = self._requests(), time.monotonic()
        while time.monotonic() - since < _QUIET:
            time.sleep(0.05)
            if (now := self._requests()) != last:
                last, since = now, time.monotonic()

    def _requests(self) -> list[float]:
        return [
            n for name, n in sorted(self.pixel.metrics().items()) if name.startswith(("hits", "rejected", "skipped"))
        ]

    def _counts(self) -> tuple[Counter[tuple[str, ...]], Counter[tuple[str, ...]]]:
        return Counter(self.pixel.counted()), Counter(self.pixel.loaded())


@contextmanager
def a_world(folder: Path, **pixel: str) -> Iterator[World]:
    """A world of its own in a folder, with settings of the pixel."""
    (port,) = free_ports(1)
    with ExitStack() as stack:
        given = {"domains": [SITE], "load_path": "/load.gif", **pixel}
        server = stack.enter_context(PixelServer(folder / "pixel", pixel=given))
        settings = load({}, environ={}, config=server.config).pixel
        (pages := folder / "pages").mkdir()
        stack.enter_context(Nginx(folder / "nginx", port, _sites(settings, port, pages, folder)))
        browser = stack.enter_context(chromium({f"{host}:443": port for host in (SITE, ELSEWHERE)}))
        yield World(browser, server, settings, pages, port)


def _sites(settings: PixelSettings, port: int, pages: Path, folder: Path) -> str:
    """nginx's `http { }`: the site, with a copy of the pixel that may be cached, and another site."""
    certificate = trustme.CA().issue_cert(SITE, ELSEWHERE)
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "pem")
    listen = f"listen 127.0.0.1:{port} ssl;"
    own = configuration(settings, part=Part.SERVER)
    pixel = own[own.index("location = /count.gif {") : own.index("\n}\n") + 3]
    cached = pixel.replace("location = /count.gif", "location = /cached.gif").replace(
        "    access_log off;", "    proxy_hide_header Cache-Control; add_header Cache-Control max-age=3600;", 1
    )
    return (
        f"types {{ text/html html; text/javascript js; }}\nssl_certificate {folder}/pem;\n"
        f"ssl_certificate_key {folder}/pem;\n{configuration(settings, part=Part.HTTP)}\n"
        f"server {{ {listen} server_name {SITE};\n{own}\n{cached}\nlocation / {{ root {pages}; }} }}\n"
        f"server {{ {listen} server_name {ELSEWHERE};\n{own}\nlocation / {{ root {pages}; }} }}\n"
    )
