"""The second snippet in a real Chromium: each view is a hit, and a load where scripts run, and none counts twice."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from pfa_flux.setup.tags import image, tags, views
from tests.test_browser import until
from tests.walks import World, a_world

VIEWS = 5

APP = """
<main></main>
<script>
addEventListener("click", (event) => {{
  if (event.target.tagName !== "A") return;
  event.preventDefault();
  const html = `{tag}`;
  ({move})(event.target.href);
  ({embed})(html, event.target.href);
}});
</script>
"""
PUSH = '(url) => history.pushState({}, "", url)'
NAVIGATE = """(url) => {
  navigation.addEventListener("navigate", (event) => event.intercept(), {once: true});
  navigation.navigate(url);
}"""
LINK = '<a href="{next}">next</a>'
_NEXT = "const a = document.querySelector('a'); a.href = a.href.replace(/[0-9]+[.]/, (n) => `${parseInt(n) + 1}.`);"
EMBEDS = {
    "nothing": f"() => {{ {_NEXT} }}",
    "insert": f"(html) => {{ document.body.insertAdjacentHTML('beforeend', html); {_NEXT} }}",
    "replace": f"""(html) => {{
        const made = document.createRange().createContextualFragment(html);
        document.querySelector('img').replaceWith(made); {_NEXT} }}""",
    "innerHTML": f"(html) => {{ document.querySelector('main').innerHTML = html; {_NEXT} }}",
    "new Image()": f"(html) => {{ const img = new Image(); img.src = '/count.gif'; {_NEXT} }}",
    "fragment": f"""(html, url) => {{
        document.body.insertAdjacentHTML('beforeend', html.replace('count.gif', 'count.gif#' + url)); {_NEXT} }}""",
    # As Turbo does it: the next document's body instead of this one's, with its scripts run.
    "swap": """async (html, url) => {
        const made = new DOMParser().parseFromString(await (await fetch(url)).text(), 'text/html');
        for (const old of made.querySelectorAll('script:not([data-app])')) {
          const script = document.createElement('script'); script.textContent = old.textContent;
          old.replaceWith(script);
        }
        document.body.replaceWith(made.body);
    }""",
}
"""How an app embeds the pixel anew with each view."""


def write_app(world: World, name: str, shown: str, embed: str, move: str = PUSH, before: str = "") -> str:
    """An app of five pages, which are documents, too. Returns the path of the first."""
    tag = image(world.settings)
    for number in range(1, VIEWS + 1):
        link = LINK.format(next=f"/{name}/{number + 1}.html")
        app = APP.format(tag=tag, move=move, embed=EMBEDS[embed]).replace("<script>", "<script data-app>")
        world.write(f"{name}/{number}.html", f"{before}{link}{app}{shown}")
    return f"/{name}/1.html"


def walk(world: World, first: str) -> None:
    """View five pages, the others by their links."""
    world.open(first)
    for number in range(2, VIEWS + 1):
        world.click("next")
        assert world.path.endswith(f"/{number}.html")
        # The app has drawn it.
        until(partial(leads_to, world, number + 1))


def leads_to(world: World, number: int) -> bool:
    """The page has the link to the one of a number."""
    return bool(world.script(f"return document.querySelector('a').href.endsWith('/{number}.html')"))


def pages(name: str, count: int = VIEWS) -> dict[tuple[str, ...], int]:
    """A view of each of the first pages."""
    return {("site.test", f"/{name}/{number}.html"): 1 for number in range(1, count + 1)}


def write_prerendering(world: World, name: str, shown: str) -> str:
    """Five pages, each of which has the next rendered in advance."""
    for number in range(1, VIEWS + 1):
        rules = f'{{"prerender": [{{"source": "list", "urls": ["{number + 1}.html"], "eagerness": "immediate"}}]}}'
        ahead = f'<script type="speculationrules">{rules}</script>' if number < VIEWS else ""
        world.write(f"{name}/{number}.html", f"{LINK.format(next=f'{number + 1}.html')}{shown}{ahead}")
    return f"/{name}/1.html"


def has_been_asked_in_advance(world: World, before: int) -> bool:
    """The pixel has been asked for by a page that is rendered in advance."""
    return world.rejected("prefetch") > before


def walk_prerendered(world: World, first: str) -> None:
    """View five pages, four of which were rendered in advance."""
    for number in range(1, VIEWS + 1):
        before = world.rejected("prefetch")
        if number == 1:
            world.open(first)
        else:
            world.click("next")
            state = "return performance.getEntriesByType('navigation')[0].activationStart > 0"
            assert world.script(state) is True
        if number < VIEWS:
            until(partial(has_been_asked_in_advance, world, before))
            world.settle()


def write_two(world: World, name: str, shown: str) -> str:
    """Two pages that lead to each other."""
    for number, other in ((1, 2), (2, 1)):
        world.write(f"{name}/{number}.html", LINK.format(next=f"{other}.html") + shown)
    return f"/{name}/1.html"


def walk_back(world: World, first: str) -> None:
    """View two pages, then go back, forward and back, to what the browser has kept of them."""
    world.open(first)
    world.click("next")
    for step in (-1, 1, -1):
        world.script("window.kept = true")
        world.move(step)
        world.settle()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with a_world(tmp_path_factory.mktemp("views")) as made:
        yield made


@pytest.mark.parametrize("embed", EMBEDS)
def test_five_views_of_an_app_are_five_hits_and_five_loads_however_it_embeds_the_pixel(
    world: World, embed: str
) -> None:
    name = f"app-{list(EMBEDS).index(embed)}"
    first = write_app(world, name, tags(world.settings), embed)
    with world.seeing() as seen:
        walk(world, first)
    assert (seen.hits, seen.loads) == (pages(name), pages(name))


def test_the_same_visits_without_scripts_are_hits_alone(world: World) -> None:
    first = write_app(world, "app-off", tags(world.settings), "insert")
    prerendering = write_prerendering(world, "ahead-off", tags(world.settings))
    with world.seeing() as seen, world.without_scripts():
        walk_plainly(world, first)
        walk_plainly(world, prerendering)
    assert (seen.hits, seen.loads) == ({**pages("app-off"), **pages("ahead-off")}, {})


def walk_plainly(world: World, first: str) -> None:
    """View five pages, without running a script to see when they are there."""
    world.open(first)
    for number in range(2, VIEWS + 1):
        world.browser.find_element("link text", "next").click()
        until(partial(is_at, world, f"/{number}.html"))


def is_at(world: World, end: str) -> bool:
    """The browser is at a page."""
    return world.path.endswith(end)


HIDDEN = "<script>Object.defineProperty(window, 'navigation', {value: undefined})</script>"


@pytest.mark.parametrize(
    ("move", "before"),
    [(PUSH, ""), (NAVIGATE, ""), (PUSH, HIDDEN)],
    ids=["History API", "Navigation API", "without it"],
)
def test_moves_back_and_forward_in_an_app_are_views_and_other_changes_are_none(
    world: World, move: str, before: str
) -> None:
    name = f"moves-{[PUSH, NAVIGATE].index(move)}{len(before)}"
    first = write_app(world, name, tags(world.settings), "nothing", move, before)
    with world.seeing() as seen:
        walk(world, first)
        world.move(-2)
        world.move(1)
        # The same page: another fragment, another query, what an app remembers of it; and another address for a view.
        world.script("location.hash = 'part'")
        world.script("history.pushState({}, '', '?tab=2')")
        world.script("history.replaceState({scroll: 7}, '')")
        world.script("history.replaceState({}, '', 'renamed.html')")
        world.script("history.pushState({}, '', '4.html')")
    expected = pages(name)
    expected["site.test", f"/{name}/3.html"] += 1
    expected["site.test", f"/{name}/4.html"] += 2
    assert (seen.hits, seen.loads) == (expected, expected)


def test_five_views_of_pages_rendered_in_advance_are_five_hits_and_five_loads(world: World) -> None:
    first = write_prerendering(world, "ahead", tags(world.settings))
    with world.seeing() as seen:
        walk_prerendered(world, first)
    assert (seen.hits, seen.loads) == (pages("ahead"), pages("ahead"))


def test_a_page_that_is_restored_is_a_hit_and_a_load_again(world: World) -> None:
    first = write_two(world, "back", tags(world.settings))
    with world.seeing() as seen:
        walk_back(world, first)
        # It is the document that was there before, and no other.
        assert world.script("return window.kept") is True
    expected = {("site.test", "/back/1.html"): 3, ("site.test", "/back/2.html"): 2}
    assert (seen.hits, seen.loads) == (expected, expected)


def test_views_without_the_trackers_load_are_hits_alone(world: World) -> None:
    """The tracker's own tag asks for loads in its `onload`, and is blocked: the pages' own snippet is not."""
    blocked = "<script src='https://blocked.test/t.js' onload='window.pfaLoaded = new Image()'></script>"
    shown = image(world.settings) + blocked + views(world.settings)
    first = write_app(world, "blocked", shown, "insert")
    with world.seeing() as seen:
        walk(world, first)
    assert (seen.hits, seen.loads) == (pages("blocked"), {})


def test_a_pixel_that_is_embedded_again_is_asked_for_once_even_if_memory_was_cleared(world: World) -> None:
    first = write_app(world, "cleared", tags(world.settings), "innerHTML")
    with world.seeing() as seen:
        world.open(first)
        for number in range(2, VIEWS + 1):
            world.script("document.querySelectorAll('img').forEach((img) => img.remove())")
            world.browser.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
            world.click("next")
            assert world.path.endswith(f"/{number}.html")
    assert (seen.hits, seen.loads) == (pages("cleared"), pages("cleared"))


@pytest.mark.slow
def test_where_documents_alone_are_views_an_app_is_one_and_a_page_rendered_in_advance_is_too(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with a_world(tmp_path_factory.mktemp("documents"), views="documents") as world:
        app = write_app(world, "app", tags(world.settings), "insert")
        ahead = write_prerendering(world, "ahead", tags(world.settings))
        with world.seeing() as seen:
            walk(world, app)
            walk_prerendered(world, ahead)
        expected = {**pages("app", 1), **pages("ahead")}
        assert (seen.hits, seen.loads) == (expected, expected)
        first = write_two(world, "back", tags(world.settings))
        with world.seeing() as seen:
            walk_back(world, first)
        assert (seen.hits, seen.loads) == (pages("back", 2), pages("back", 2))
