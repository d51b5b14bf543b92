"""The table of biases in docs/number.md is what was measured: each row is a visit in a real Chromium."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from pfa_flux.setup.tags import image, tags
from tests.chromium import chromium
from tests.test_browser import until
from tests.test_views import (
    EMBEDS,
    LINK,
    VIEWS,
    walk,
    walk_back,
    walk_plainly,
    walk_prerendered,
    write_app,
    write_prerendering,
    write_two,
)
from tests.walks import ELSEWHERE, SITE, World, a_world, tracker

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[1] / "docs" / "number.md"
_NUMBERS = re.compile(r"(\d+)(?:–(\d+))? hits?, (\d+) loads?( of other pages)?")


class Row(NamedTuple):
    """A row of the table."""

    what: str
    moves: str
    found: str
    advised: str
    why: str


def table() -> dict[str, Row]:
    """The table, by its first column."""
    text = PAGE.read_text().partition("## What biases it")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line.count("|") > 4
    ]
    return {row[0]: Row(*row) for row in rows[2:]}


def agrees(said: str, seen: str) -> bool:
    """What was seen is what the table says, which may say a number of hits from–to."""
    low, high, loads, apart = _NUMBERS.fullmatch(said).groups()  # type: ignore[union-attr]
    hits, _, of_loads, of_others = _NUMBERS.fullmatch(seen).groups()  # type: ignore[union-attr]
    return int(low) <= int(hits) <= int(high or low) and (loads, apart) == (of_loads, of_others)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with a_world(tmp_path_factory.mktemp("biases")) as made:
        yield made


Visit = Callable[[World], None]
SCENARIOS: dict[str, tuple[Visit, Visit | None]] = {}
"""What is visited as most pages are, with an `<img>` and an analytics that counts each view; and as it is advised."""


def scenario(what: str, *given: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The visits of a row: its function is called with each of one or two arguments, or with none."""

    def add(visit: Callable[..., None]) -> Callable[..., None]:
        made: list[Visit] = [partial(visit, given=each) for each in given] or [visit]
        SCENARIOS[what] = made[0], made[1] if len(made) > 1 else None
        return visit

    return add


def usual(world: World, mode: str = "") -> str:
    """What a page has: the `<img>`, and an analytics."""
    return image(world.settings) + tracker(mode)


def shown(world: World, given: str) -> str:
    """The same, or what is advised: the second snippet, which counts loads, too."""
    return tags(world.settings) if given == "advised" else usual(world)


def documents(world: World, name: str, html: str, query: str = "", host: str = SITE) -> None:
    """View five documents by their addresses."""
    for number in range(1, VIEWS + 1):
        world.open(world.write(f"{name}/{number}.html", html) + query, host)


@contextmanager
def told(world: World, command: str, undo: dict[str, object], **given: object) -> Iterator[None]:
    """The browser is told something while this lasts."""
    world.browser.execute_cdp_cmd("Network.enable", {})
    world.browser.execute_cdp_cmd(command, given)
    try:
        yield
    finally:
        world.settle()
        world.browser.execute_cdp_cmd(command, undo)


@scenario("Bots that fetch images and run no scripts", "", "Examplebot/1.0")
def bots(world: World, given: str) -> None:
    agent = world.script("return navigator.userAgent")
    name = "bots" + given[:1]
    for number in range(1, VIEWS + 1):
        world.write(f"{name}/{number}.html", LINK.format(next=f"{number + 1}.html") + usual(world))
    undo = {"userAgent": agent}
    with told(world, "Network.setUserAgentOverride", undo, userAgent=given or agent), world.without_scripts():
        walk_plainly(world, f"/{name}/1.html")


@scenario("Feed readers and mail")
def readers(world: World) -> None:
    tag = image(world.settings).replace('src="', f'src="https://{SITE}')
    documents(world, "reader", tag, host=ELSEWHERE)


@scenario("Image blockers, text browsers, reading with images off")
def without_images(world: World) -> None:
    with chromium({f"{SITE}:443": world.port}, images=False) as browser:
        documents(replace(world, browser=browser), "dark", usual(world))


@scenario("Blockers that block the pixel", "*/count.gif*", "*/count.gif?*")
def blockers(world: World, given: str) -> None:
    with told(world, "Network.setBlockedURLs", {"urls": []}, urls=[given]):
        documents(world, "blocked", usual(world))


@scenario("Forged hits", "forged", "page of another site")
def forged(world: World, given: str) -> None:
    if given == "forged":
        for _ in range(VIEWS):
            url = f"http://{world.pixel.listen}/count.gif"
            urllib.request.urlopen(urllib.request.Request(url, headers={"Referer": f"https://{SITE}/"})).read()
    else:
        tag = image(world.settings, SITE).replace("no-referrer-when-downgrade", "unsafe-url")
        documents(world, "forged", tag, host=ELSEWHERE)


@scenario("Caches", "/cached.gif", "/count.gif")
def caches(world: World, given: str) -> None:
    documents(world, "cache", usual(world).replace("/count.gif", given))


@scenario("Rendered in advance and never shown")
def never_shown(world: World) -> None:
    rules = {"prerender": [{"source": "list", "urls": ["unseen.html"], "eagerness": "immediate"}]}
    world.write("never/unseen.html", usual(world))
    ahead = f'<script type="speculationrules">{json.dumps(rules)}</script>'
    before = world.rejected("prefetch")
    world.open(world.write("never/seen.html", usual(world) + ahead))
    until(lambda: world.rejected("prefetch") > before)


@scenario("Rendered in advance, then shown", "usual", "advised")
def rendered_in_advance(world: World, given: str) -> None:
    walk_prerendered(world, write_prerendering(world, f"ahead-{given}", shown(world, given)))


@scenario("Back and forward to a page that the browser has kept", "usual", "advised")
def restored(world: World, given: str) -> None:
    walk_back(world, write_two(world, f"back-{given}", shown(world, given)))


_CALLED = {
    "nothing": "which leaves the pixel alone", "insert": "which inserts a new pixel with each view",
    "replace": "which replaces the pixel", "innerHTML": "which sets `innerHTML`",
    "new Image()": "which calls `new Image()`", "fragment": "which gives the pixel another fragment",
    "swap": "which swaps the whole body, as Turbo does",
}  # fmt: skip
for embed, called in _CALLED.items():

    @scenario(f"A single-page app {called}", "usual", "advised")
    def app(world: World, given: str, embed: str = embed) -> None:
        walk(world, write_app(world, f"app-{given}-{list(EMBEDS).index(embed)}", shown(world, given), embed))


WORKER = """
addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  if (!event.request.url.startsWith(location.origin)) return;
  OWN
  event.respondWith(caches.open("all").then(async (cache) => {
    const known = await cache.match(event.request);
    if (known || event.request.mode === "navigate") return known ?? fetch(event.request);
    const made = await fetch(event.request);
    await cache.put(event.request, made.clone());
    return made;
  }));
});
"""


@scenario("A service worker that answers from its cache first", "usual", "advised")
def service_worker(world: World, given: str) -> None:
    apps = (PAGE.parent / "apps.md").read_text()
    (lines,) = re.findall(r"^```js\n(.*?)^```", apps, re.DOTALL | re.MULTILINE)
    world.write(f"worker-{given}/worker.js", WORKER.replace("OWN", lines if given == "advised" else ""))
    world.open(world.write(f"worker-{given}/start.html", ""))
    world.browser.execute_async_script(
        "const done = arguments[0]; navigator.serviceWorker.addEventListener('controllerchange', () => done());"
        "navigator.serviceWorker.register('worker.js');"
    )
    # The analytics is of another host, whose answers are not kept.
    elsewhere = tracker().replace('"/load.gif", {', f'"https://{ELSEWHERE}/load.gif", {{mode: "no-cors", ')
    elsewhere = elsewhere.replace('"same-origin"', '"unsafe-url"')
    documents(world, f"worker-{given}", image(world.settings) + elsewhere)


@scenario("The pixel's address is opened by itself")
def address_bar(world: World) -> None:
    for _ in range(VIEWS):
        world.open("/count.gif")


@scenario("A preview that says so (`Purpose: preview`)")
def preview(world: World) -> None:
    with told(world, "Network.setExtraHTTPHeaders", {"headers": {}}, headers={"Purpose": "preview"}):
        documents(world, "preview", usual(world))


@scenario("Pages of one renderer that load together: frames")
def frames(world: World) -> None:
    for number in range(1, VIEWS + 1):
        world.write(f"frames/{number}.html", usual(world))
    inner = "".join(f'<iframe src="{number}.html"></iframe>' for number in range(1, VIEWS + 1))
    world.open(world.write("frames/all.html", inner))


@scenario("Pages of one renderer that load together: `window.open`", "", "noopener")
def windows(world: World, given: str) -> None:
    for number in range(1, VIEWS + 1):
        world.write(f"windows/{number}.html", usual(world))
    world.open(world.write("windows/start.html", ""))
    first = world.browser.current_window_handle
    world.script(f"for (let n = 1; n <= {VIEWS}; n++) window.open(`${{n}}.html`, '_blank', '{given}')")
    until(lambda: len(world.browser.window_handles) == VIEWS + 1)
    world.settle()
    for handle in set(world.browser.window_handles) - {first}:
        world.browser.switch_to.window(handle)
        world.browser.close()
    world.browser.switch_to.window(first)


_LONG = "<div style='height: 30000px'></div>"


@scenario("Lazy images", "lazy", "eager")
def lazy(world: World, given: str) -> None:
    documents(world, "lazy", _LONG + usual(world).replace('"eager"', f'"{given}"'))


_RENAMED = "<script>history.replaceState({}, '', 'renamed.html')</script>"


@scenario("`history.replaceState` before the tag", "before", "behind")
def renamed(world: World, given: str) -> None:
    # The browser asks for an image as soon as it reads of it, before it runs the script in front.
    html = _RENAMED + usual(world) if given == "before" else usual(world) + _RENAMED
    documents(world, f"renamed-{given}", html)


@scenario("An analytics that reports the canonical link", "canonical", "")
def canonical(world: World, given: str) -> None:
    documents(world, "canonical", usual(world, given))


@scenario("Addresses beyond about 4,000 characters", "short", "advised")
def long_addresses(world: World, given: str) -> None:
    html = tags(world.settings) if given == "advised" else usual(world, "short")
    documents(world, "long", html, "?" + "x" * 4200)


@scenario("Referrer policy `no-referrer`", "bare", "with its own")
def referrer_policy(world: World, given: str) -> None:
    html = usual(world)
    if given == "bare":
        html = html.replace('<img src="/count.gif" referrerpolicy="same-origin"', '<img src="/count.gif"')
    documents(world, "policy", '<meta name="referrer" content="no-referrer">' + html)


@scenario("Analytics that samples, or asks for consent first")
def samples(world: World) -> None:
    documents(world, "samples", usual(world, "samples"))


@scenario("The page is left early")
def left_early(world: World) -> None:
    documents(world, "early", usual(world, "late"))
    world.open(world.write("early/end.html", ""))


def test_every_row_of_the_table_has_its_visit_and_every_visit_its_row() -> None:
    assert sorted(SCENARIOS) == sorted(table())
    assert {what for what, (_, advised) in SCENARIOS.items() if advised} == {
        row.what for row in table().values() if row.advised != "–"
    }
    assert re.search(r"measured in Chromium \d+", PAGE.read_text())


@pytest.mark.parametrize("what", SCENARIOS)
def test_a_row_of_the_table_is_what_is_measured(world: World, what: str) -> None:
    row = table()[what]
    for said, visit in zip((row.found, row.advised), SCENARIOS[what], strict=True):
        if visit is not None:
            with world.seeing() as seen:
                visit(world)
            assert agrees(said, str(seen)), (said, str(seen), seen)
