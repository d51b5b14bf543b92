"""`pfa-flux doctor URL`: each mistake in a page is found, with what to do, and nothing is ever counted by looking."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme

from pfa_flux import InvalidValueError
from pfa_flux.doctor.site import fetch
from pfa_flux.doctor.site.markup import Markup
from pfa_flux.doctor.site.page import address, check_page
from pfa_flux.doctor.site.tags import loads
from pfa_flux.engines.base import Check
from pfa_flux.settings import Settings, load
from pfa_flux.setup.tags import image, script, tracker, views
from tests.engines.process import free_ports
from tests.pixel_server import PixelServer
from tests.site_server import Page, SiteServer, lead

SITE, TWIN, STATS = "example.test", "www.example.test", "stats.test"
I2P, ONION = "example.i2p", f"{'a' * 55}d.onion"
A = f"{SITE}/a"


@dataclass
class World:
    """A site, its pixel, and the settings."""

    site: SiteServer
    pixel: PixelServer
    settings: Settings

    def look(self, html: str | None = None, url: str = f"http://{A}", **headers: str) -> dict[str, Check]:
        """What is found in a page; whatever that is, nothing has counted."""
        if html is not None:
            self.site.pages[A] = Page(html, headers={name.replace("_", "-"): value for name, value in headers.items()})
        found = check_page(url, self.settings)
        for check in found:
            assert (check.status == "ok") == (check.advice == ""), check
        metrics = self.pixel.metrics()
        assert {name: value for name, value in metrics.items() if name.startswith("hits_total")} == {
            'hits_total{kind="hit"}': 0
        }
        return {check.name: check for check in found}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PixelServer]:
    given = {"load_path": "/load.gif", "domains": [SITE, STATS, I2P], "masks": ["/secret/*"]}
    with PixelServer(tmp_path_factory.mktemp("pixel"), pixel=given) as pixel:
        yield pixel


@pytest.fixture
def world(served: PixelServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with SiteServer(served) as site:
        lead(monkeypatch, {SITE: site.port, STATS: site.port})
        yield World(site, served, load({}, environ={}, config=served.config))


def whole(world: World, tag: str = "") -> str:
    """A page as it should be, or with another tag."""
    own = world.settings.pixel
    return f"<!doctype html><title>a</title>{tag or image(own)}{script(own)}{views(own)}"


def test_a_page_as_it_should_be_gives_a_hit_and_a_load_and_none_is_counted(world: World) -> None:
    checks = world.look(whole(world))
    assert {name: check.status for name, check in checks.items()} == {
        **dict.fromkeys(
            ("page", "domain", "pixel's tag", "hit", "script for loads", "load", "script for views", "arrived"), "ok"
        ),
        TWIN: "skipped",
        "a view": "ok",
    }
    assert checks["a view"].found == (
        f"A view of http://{A} with JavaScript counts as 1 hit and 1 load on {SITE} /a; without, 1 hit."
    )
    assert checks["hit"].found == f"1 hit on {SITE} /a"
    assert checks["arrived"].found == "the pixel of these settings received 2 requests of this visit, and counted none"
    assert checks[TWIN].found == f"not checked: {TWIN} has no address"
    assert [(method, at) for method, at, _ in world.site.asked] == [
        ("GET", A), ("HEAD", f"{SITE}/count.gif"), ("GET", f"{SITE}/count.gif"), ("HEAD", f"{SITE}/load.gif"),
        ("GET", f"{SITE}/load.gif"),
    ]  # fmt: skip
    assert {referer for _, at, referer in world.site.asked if at != A} == {f"http://{A}"}


def test_neither_tag_nor_script_is_in_the_page(world: World) -> None:
    checks = world.look("<p>hello</p><!-- <img src='/count.gif'> --><template><img src='/count.gif'></template>")
    tag, loads = checks["pixel's tag"], checks["script for loads"]
    assert (tag.status, tag.found) == ("failed", "no <img> in the page requests /count.gif")
    assert tag.advice == f"Put this at the end of each page: {image(world.settings.pixel)}"
    assert loads.status == "failed"
    assert loads.found.startswith("nothing in the page requests /load.gif")
    assert loads.advice == f"Put this after the pixel's tag: {script(world.settings.pixel)}"
    assert checks["a view"] == Check(
        "a view", "warning", f"As far as determined, a view of http://{A} counts as nothing.", "Fix the problems above."
    )
    assert [method for method, _, _ in world.site.asked] == ["GET"]


@pytest.mark.parametrize(
    ("tag", "status", "found", "advice"),
    [
        ('<img src="/count.gif?x=1" referrerpolicy=same-origin>', "warning", "has a query", "Leave out the query"),
        ('<IMG loading="LAZY" src="/count.gif">', "warning", 'loading="lazy"', 'Write loading="eager"'),
        ('<noscript><img src="/count.gif"></noscript>', "warning", "within <noscript>", "Take it out"),
        ('<img src="data:," data-src="/count.gif">', "failed", "data attribute", "Exclude it from lazy loading"),
        ('<img src="/count.gif"><img src="http://stats.test/count.gif">', "warning", "2 addresses", "Keep only one"),
        ('<img src="../count.gif">', "ok", f"requests http://{SITE}/count.gif", ""),
        (f'<base href="http://{SITE}/x/y/"><img src="../../count.gif">', "ok", f"http://{SITE}/count.gif", ""),
    ],
)
def test_how_the_tag_is_written(world: World, tag: str, status: str, found: str, advice: str) -> None:
    check = world.look(whole(world, tag))["pixel's tag"]
    assert (check.status, found in check.found, advice in check.advice) == (status, True, True), check


def test_a_tag_in_noscript_is_a_hit_without_javascript_alone(world: World) -> None:
    found = world.look(whole(world, '<noscript><img src="/count.gif"></noscript>'))["a view"].found
    assert found == f"A view of http://{A} with JavaScript counts as 1 load on {SITE} /a; without, 1 hit."


def test_two_tags_are_two_hits(world: World) -> None:
    found = world.look(whole(world, '<img src="/count.gif"><img src="/count.gi%66">'))["a view"].found
    assert found == f"A view of http://{A} with JavaScript counts as 2 hits and 1 load on {SITE} /a; without, 2 hits."


@pytest.mark.parametrize(
    ("tag", "header", "status", "found"),
    [
        ('<img src="/count.gif">', "no-referrer", "warning", f"1 hit on {SITE} (unknown), not on {SITE} /a"),
        ('<img src="/count.gif">', "origin", "warning", f"1 hit on {SITE} /, not on {SITE} /a"),
        ('<img src="/count.gif" referrerpolicy="origin">', "", "warning", f"1 hit on {SITE} /, not on"),
        ('<img src="/count.gif" referrerpolicy="same-origin">', "no-referrer", "ok", f"1 hit on {SITE} /a"),
        ('<meta name=referrer content=origin><img src="/count.gif">', "unsafe-url", "warning", f"1 hit on {SITE} /,"),
        ('<img src="http://stats.test/count.gif">', "", "warning", f"1 hit on {SITE} /, not on"),
        ('<img src="http://stats.test/count.gif" referrerpolicy="no-referrer-when-downgrade">', "", "ok", "1 hit on"),
        ('<img src="/count.gif">', "nonsense, unsafe-url, nonsense", "ok", f"1 hit on {SITE} /a"),
    ],
)
def test_a_referrer_policy_that_hides_the_page(world: World, tag: str, header: str, status: str, found: str) -> None:
    check = world.look(whole(world, tag), Referrer_Policy=header)["hit"]
    assert (check.status, found in check.found) == (status, True), check
    if status == "warning":
        assert "do not send the page" in check.found
        assert 'referrerpolicy="same-origin"' in check.advice


def test_without_a_referer_a_host_that_is_no_site_counts_nothing(world: World) -> None:
    world.site.adds = {"Host": "elsewhere.test"}
    world.site.drops = ("host",)
    check = world.look(whole(world, '<img src="/count.gif" referrerpolicy="no-referrer">'))["hit"]
    assert (check.status, "no_referer (because of the referrer policy" in check.found) == ("failed", True)


def test_a_base_that_leads_the_tag_away(world: World) -> None:
    checks = world.look(whole(world, f'<base href="http://nowhere.test/">{image(world.settings.pixel)}'))
    assert checks["hit"].status == "failed"
    assert checks["hit"].found.startswith("<base href> points the tag to another host: nowhere")
    assert f"http://{SITE}/count.gif" in checks["hit"].advice


def test_a_content_security_policy_that_forbids_it(world: World) -> None:
    check = world.look(whole(world), Content_Security_Policy="default-src 'none'; img-src https://cdn.test")[
        "pixel's tag"
    ]
    assert (check.status, check.advice) == ("failed", "Add 'self' to its img-src.")
    assert world.look(whole(world), Content_Security_Policy="img-src 'self'")["pixel's tag"].status == "ok"


def test_a_domain_that_is_not_in_the_list(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lead(monkeypatch, {"other.test": world.site.port})
    world.site.pages["other.test/a"] = Page(whole(world))
    checks = world.look(url="http://other.test/a")
    assert checks["domain"].status == checks["hit"].status == checks["load"].status == "failed"
    assert checks["hit"].found.endswith("would not count the view: domain_not_allowed")
    assert checks["hit"].advice == "Add other.test to domains under [pixel], and restart pfa-flux serve."


def test_a_pixel_with_other_settings_than_these(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lead(monkeypatch, {"other.test": world.site.port})
    world.site.pages["other.test/a"] = Page(whole(world))
    own = world.settings
    world.settings = replace(own, pixel=replace(own.pixel, domains=(*own.pixel.domains, "other.test")))
    check = world.look(url="http://other.test/a")["hit"]
    assert (check.status, check.advice) == (
        "failed", "Restart pfa-flux serve: it runs with other settings."
    )  # fmt: skip


def test_without_a_list_anybody_can_have_others_counted(world: World) -> None:
    world.settings = replace(world.settings, pixel=replace(world.settings.pixel, domains=()))
    check = world.look(whole(world))["domain"]
    assert (check.status, f'domains = ["{SITE}"]' in check.advice) == ("warning", True)


@pytest.mark.parametrize("as_get", [False, True])
def test_a_front_that_takes_the_mark_away_is_found_and_counts_nothing(world: World, as_get: bool) -> None:
    """The one who does so and turns HEAD into GET besides would count: so the mark is in two headers."""
    world.site.drops = ("sec-purpose",) if as_get else ("sec-purpose", "purpose")
    world.site.as_get = as_get
    check = world.look(whole(world))["hit"]
    if as_get:
        assert check.status == "ok"
        return
    assert check.status == "warning"
    assert "the mark of this check did not reach it" in check.found
    assert "Pass on Sec-Purpose and Purpose" in check.advice
    assert world.look()["a view"].found == f"What a view of http://{A} counts as could not be determined."
    assert {method for method, at, _ in world.site.asked if at != A} == {"HEAD"}


@pytest.mark.parametrize(("word", "status"), [("own", "warning"), ("bot", "warning")])
def test_a_front_that_leaves_this_request_out(world: World, word: str, status: str) -> None:
    world.site.adds = {"X-Pfa-Skip": word}
    checks = world.look(whole(world))
    found = f"1 hit on {SITE} /a, but not for you: skipped_{word}"
    assert (checks["hit"].status, checks["hit"].found) == (status, found)
    assert "1 hit and 1 load" in checks["a view"].found


def test_a_pixel_that_is_not_there(world: World) -> None:
    world.site.pixel = None
    check = world.look(whole(world))["hit"]
    assert (check.status, check.found) == (
        "failed", f"http://{SITE}/count.gif answers 404, unlike the pixel"
    )  # fmt: skip
    assert "pfa-flux nginx prints" in check.advice


def test_the_scripts_may_be_in_files_of_the_site(world: World) -> None:
    own = world.settings.pixel
    text = f"{script(own)}{views(own)}".replace("<script>", "").replace("</script>", ";\n")
    world.site.pages[f"{SITE}/s.js"] = Page(text, headers={"Content-Type": "text/javascript"})
    checks = world.look(f'{image(own)}<script src="https://cdn.test/x.js"></script><script src="s.js"></script>')
    assert [checks[name].status for name in ("script for loads", "load", "script for views")] == ["ok"] * 3


def test_doctor_knows_who_was_said_to_count_loads(world: World) -> None:
    pixel, none = world.settings.pixel, 'nothing counts loads (loads = "none" under [pixel]), so every figure is 100%'
    empty = Markup(f"http://{A}", f"http://{A}")
    found = loads(empty, [], replace(pixel, loads="none", load_path=""))[1]
    assert (found.status, found.found) == ("warning", none)
    # The tag that is asked for is the one that was chosen.
    missing = loads(empty, [], replace(pixel, loads="tracker"))[1]
    assert missing.advice == f"Put this after the pixel's tag: {tracker(pixel)}"


def test_a_tracker_that_asks_for_the_load_once_it_is_there(world: World) -> None:
    onload = "window.pfaLoaded = Object.assign(new Image(), {referrerPolicy: 'same-origin', src: '/load.gif'})"
    page = f'{image(world.settings.pixel)}<script src="https://t.test/t.js" async onload="{onload}"></script>'
    assert world.look(page)["load"].found == f"1 load on {SITE} /a"


def test_scripts_that_were_printed_for_other_settings(world: World) -> None:
    own = world.settings.pixel
    other = replace(own, load_path="/other.gif", views="documents")
    checks = world.look(image(own) + script(other) + views(other))
    assert checks["script for loads"].status == "failed"
    assert checks["script for loads"].found == f"requests http://{SITE}/other.gif, but load_path is /load.gif"
    assert checks["script for views"].found == 'does not match views = "navigations" under [pixel]'
    checks = world.look(image(own) + script(own) + views(replace(own, path="/pixel.gif")))
    assert checks["script for views"].found == 'looks for img[src="/pixel.gif"], which is not in the page'
    world.settings = replace(world.settings, pixel=replace(own, load_path=""))
    checks = world.look(whole(world) + script(own))
    assert checks["script for loads"].advice.startswith('Set load_path = "/load.gif" under [pixel]')


def test_loads_that_others_count(world: World) -> None:
    world.settings = replace(world.settings, pixel=replace(world.settings.pixel, load_path=""))
    checks = world.look(whole(world))
    assert checks["script for loads"].status == "skipped"
    assert checks["a view"].found == (
        f"A view of http://{A} counts as 1 hit on {SITE} /a, with or without JavaScript; "
        "your own analytics counts loads."
    )


def test_a_masked_page_counts_on_its_pattern(world: World) -> None:
    world.site.pages[f"{SITE}/secret/1"] = Page(whole(world))
    assert world.look(url=f"http://{SITE}/secret/1")["hit"] == Check("hit", "ok", f"1 hit on {SITE} /secret/*")


def test_redirects_are_followed_and_said(world: World) -> None:
    world.site.pages[f"{SITE}/"] = Page(status=301, headers={"Location": "/a"})
    world.site.pages[f"{SITE}/loop"] = Page(status=302, headers={"Location": "/loop"})
    checks = world.look(whole(world), url=f"http://{SITE}")
    assert checks["page"].found == f"http://{SITE}/ redirects to http://{A}"
    assert checks["hit"].found == f"1 hit on {SITE} /a"
    check = world.look(url=f"http://{SITE}/loop")["page"]
    assert (check.status, "redirects without end" in check.found) == ("failed", True)


def test_what_is_no_page(world: World) -> None:
    world.site.pages[f"{SITE}/text"] = Page("text", headers={"Content-Type": "text/plain"})
    assert world.look(url=f"http://{SITE}/none")["page"].found == f"http://{SITE}/none answers 404"
    assert "is text/plain, not HTML" in world.look(url=f"http://{SITE}/text")["page"].found
    (port,) = free_ports(1)
    assert "nothing listens at" in world.look(url=f"http://127.0.0.1:{port}/")["page"].found
    for text in ("ftp://a/", "http://", "https://a:b/", "https://a\n/"):
        with pytest.raises(InvalidValueError):
            address(text)
    assert address("example.com") == "https://example.com/"


def test_a_page_that_is_too_large_is_read_in_part(world: World) -> None:
    checks = world.look(f"{image(world.settings.pixel)}{'x' * (fetch.MOST + 1)}")
    assert (checks["page"].status, "its first 4 MiB" in checks["page"].found) == ("warning", True)
    assert checks["hit"].status == "ok"


def test_www_that_redirects_or_counts_or_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lead(monkeypatch, {SITE: world.site.port, TWIN: world.site.port})
    world.site.pages[f"{TWIN}/a"] = Page(status=301, headers={"Location": f"http://{A}"})
    assert world.look(whole(world))[TWIN] == Check(TWIN, "ok", f"redirects to http://{A}")
    world.site.pages[f"{TWIN}/a"] = Page(whole(world))
    check = world.look()[TWIN]
    assert (check.status, "does not count according to the settings (domain_not_allowed)" in check.found) == (
        "failed",
        True,
    )
    assert check.advice == (
        f"Add {TWIN} to domains under [pixel], and restart pfa-flux serve, or redirect {TWIN} to {SITE}."
    )
    world.site.pages[f"{TWIN}/a"] = Page(status=404)
    assert world.look()[TWIN].status == "skipped"


def test_www_that_counts_as_a_domain_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with PixelServer(tmp_path, pixel={"domains": [SITE, TWIN]}) as pixel, SiteServer(pixel) as site:
        world = World(site, pixel, load({}, environ={}, config=pixel.config))
        lead(monkeypatch, {SITE: site.port, TWIN: site.port})
        site.pages[f"{TWIN}/a"] = Page(whole(world))
        check = world.look(whole(world))[TWIN]
        assert (check.status, check.found) == (
            "warning", f"serves the page itself, under another domain: a view counts as 1 hit on {TWIN} /a"
        )  # fmt: skip
        world.settings = replace(world.settings, sites={"blog": (SITE, TWIN)})
        assert world.look()[TWIN] == Check(TWIN, "ok", f"a view counts as 1 hit on {TWIN} /a")


def test_names_of_other_networks_are_looked_at_through_a_proxy_alone(world: World) -> None:
    world.settings = replace(world.settings, sites={"blog": (SITE, I2P, ONION, "*.example.i2p")})
    checks = world.look(whole(world))
    for name in (I2P, ONION):
        assert (checks[name].status, checks[name].found) == ("skipped", f"not checked: {name} is not in the DNS")
        assert "--proxy" in checks[name].advice
    assert not any(I2P in at or ONION in at for _, at, _ in world.site.asked)
    # The server takes whole addresses, as a proxy does.
    world.site.pages[f"{I2P}/a"] = Page(whole(world))
    proxy = f"http://127.0.0.1:{world.site.port}"
    found = {check.name: check for check in check_page(f"http://{A}", world.settings, proxy=proxy)}
    assert found[I2P] == Check(I2P, "ok", f"a view counts as 1 hit and 1 load on {I2P} /a")
    assert (found[ONION].status, "answers 404" in found[ONION].found) == ("skipped", True)
    assert world.pixel.metrics()['hits_total{kind="hit"}'] == 0


def test_https(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(SITE).configure_cert(context)
    with SiteServer(world.pixel, tls=context) as tls:
        lead(monkeypatch, {SITE: world.site.port, TWIN: world.site.port}, https=tls.port)
        tls.pages[A] = Page(whole(world))
        check = world.look(url=f"https://{A}")["page"]
        assert (check.status, check.found) == (
            "failed", f"TLS to {SITE} failed: unable to get local issuer certificate"
        )  # fmt: skip
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        checks = world.look(url=f"https://{A}")
        assert checks["a view"].found.startswith(f"A view of https://{A} with JavaScript counts as 1 hit and 1 load on")
        assert (checks[TWIN].status, "TLS to" in checks[TWIN].found) == ("skipped", True)
        tls.pages[A] = Page(whole(world, f'<img src="http://{SITE}/count.gif">'))
        check = world.look(url=f"https://{A}")["pixel's tag"]
        assert (check.status, "which browsers do not load over http" in check.found) == ("failed", True)


def test_another_pixel_than_that_of_the_settings(world: World, tmp_path: Path) -> None:
    with PixelServer(tmp_path) as other:
        own = replace(world.settings.pixel, admin=other.admin)
        world.settings = replace(world.settings, pixel=own)
        check = world.look(whole(world))["arrived"]
        assert (check.status, check.found) == ("warning", "the pixel of these settings did not receive this visit")
        world.settings = replace(world.settings, pixel=replace(own, admin=""))
        assert world.look()["arrived"].status == "skipped"
