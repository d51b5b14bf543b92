"""What servers say is cut, made printable and rid of what visitors sent before anything shows it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import time
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pfa_flux import connect, foreign, settings
from pfa_flux.errors import PfaFluxError, QueryError
from tests.cli import Result, pfa_flux
from tests.engines.plugin import MakeWorkspace
from tests.load import get, send
from tests.meddling import Lines, Meddling
from tests.pixel_server import PixelServer
from tests.stored import HITS, hits_by_page, until
from tests.test_shipping import both, pixel

CANARY = "c4n4ry"
PAGE = f"/reset/{CANARY}"


class Liar(Meddling):
    """A proxy that refuses every write of points with words of its own, made of the lines that came."""

    def __init__(self, target: str, status: int, words: Callable[[Lines], bytes]) -> None:
        super().__init__(target)
        self.status, self.words, self.told = status, words, 0

    def _write(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        plain = gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body
        if plain.startswith(b"pfa_flux_check"):
            self._forward(request, plain)
            self._reply(request, 204, b"")
            return
        if plain.startswith(b"#"):
            self._reply(request, 204, b"")
            return
        self._reply(request, self.status, self.words(plain.decode().split("\n")))
        self.told += 1


def public(server: PixelServer) -> str:
    """All that a pixel tells anybody of itself."""
    doctor = pfa_flux("doctor", "--config", str(server.config))
    retried = pfa_flux("quarantine", "--retry", "--quiet", "--config", str(server.config))
    return "\n".join((server.log, server.get("/healthz"), server.get("/metrics"), doctor.out, doctor.err, retried.err))


def shown(server: PixelServer, *flags: str) -> Result:
    return pfa_flux("quarantine", "--config", str(server.config), *flags)


@both
def test_a_type_conflict_is_told_by_its_field_and_types(
    name: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = make_workspace(name)
    workspace.client.write(workspace.raw, [f'{HITS},domain=x count="1" {time.time_ns()}'])
    with pixel(tmp_path, workspace) as server:
        assert send(server.listen, [get(PAGE)]).counted == 1
        until(lambda: server.metrics()["quarantined"] == 1, "a refused hit in quarantine")
        text = public(server)
        assert "a field has another type in the store, and neither integers nor floats are taken" in text
        assert CANARY not in text


@pytest.mark.slow
def test_a_full_tag_is_told_without_the_page_that_it_was_full_for(
    make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace, now = make_workspace("influxdb-1.8"), time.time_ns()
    workspace.client.write(workspace.raw, [f"{HITS},page=/{n},type=pixel count=1i {now + n}" for n in range(100_000)])
    # To count that many values takes a busy server longer than two seconds.
    with pixel(tmp_path, workspace, timeout=30) as server:
        assert send(server.listen, [get(PAGE), get("/7")]).counted == 2
        until(lambda: server.metrics()["quarantined"] == 1, "a refused hit in quarantine")
        text = public(server)
        assert f'max-values-per-tag limit exceeded (100000/100000): measurement="{HITS}"' not in text
        assert "partial write: max-values-per-tag limit exceeded (100000/100000): … dropped=1" in text
        assert CANARY not in text
        # Whole for its owner.
        assert f'tag="page" value="{PAGE}"' in shown(server, "--format", "json").json[0]["reason"]
        assert f'tag="page" value="{PAGE}"' in " ".join(shown(server).out.split())
    assert hits_by_page(workspace)["/7"] == 2


@both
def test_a_line_that_is_echoed_is_not_told(name: str, make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace(name)
    with Meddling(workspace.server.url) as proxy:
        proxy.lines = lambda lines: [line.replace("count=1i", "count=oops") for line in lines]
        with pixel(tmp_path, workspace, url=proxy.url) as server:
            assert send(server.listen, [get(PAGE, f"{CANARY}.example")]).counted == 1
            until(lambda: server.metrics()["quarantined"] == 1, "a refused hit in quarantine")
            text = public(server)
            assert "unable to parse" in text
            assert CANARY not in text
            assert PAGE in shown(server, "--format", "json").json[0]["reason"]


def _escaped(lines: Lines) -> bytes:
    return json.dumps({"message": f"unauthorized: {json.dumps(lines[0])} and \u202e\x1b[31m {lines[0]!r}"}).encode()


LIES: dict[str, tuple[int, Callable[[Lines], bytes]]] = {
    "a line as it is, 400": (400, lambda lines: lines[0].encode()),
    "its tags, 422": (422, lambda lines: f'{{"error": "bad {lines[0].split(" ")[0]}"}}'.encode()),
    "quoted twice, 400": (400, _escaped),
    "a page of HTML, 500": (500, lambda lines: f"<html><p>{lines[0]}</p></html>".encode() * 50),
    "half a line, 503": (503, lambda lines: lines[0][: lines[0].index(CANARY) + 6].encode()),
    "words between spaces, 403": (403, lambda lines: " ".join(re.split(r"\W+", lines[0])).encode()),
    "UTF-16, 400": (400, lambda lines: lines[0].encode("utf-16")),
}


@pytest.mark.parametrize("lie", LIES)
def test_no_word_of_a_visitor_leaves_the_store_whatever_a_server_says(
    lie: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace, (status, words) = make_workspace("influxdb-2.7"), LIES[lie]
    with (
        Liar(workspace.server.url, status, words) as proxy,
        pixel(tmp_path, workspace, url=proxy.url) as server,
    ):
        assert send(server.listen, [get(PAGE, f"{CANARY}.example")]).counted == 1
        until(lambda: proxy.told >= 1, "a write that was refused")
        until(lambda: server.metrics()["ship_retries_total"] + server.metrics()["quarantined"] >= 1, "a word of it")
        text = public(server)
        assert CANARY not in text
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_a_page_called_unauthorized_does_not_hold_up_the_others(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace("influxdb-2.7")
    bad = "/unauthorized"
    with Meddling(workspace.server.url) as proxy:
        proxy.lines = lambda lines: [line.replace("1i", "oops") if f"page={bad}" in line else line for line in lines]
        with pixel(tmp_path, workspace, url=proxy.url) as server:
            assert send(server.listen, [get(bad), get("/good")]).counted == 2
            until(lambda: server.metrics()["quarantined"] == 1, "a refused hit in quarantine")
    assert hits_by_page(workspace) == {"/good": 1}


@both
def test_an_error_of_the_library_holds_no_page_not_even_in_its_traceback(
    name: str, make_workspace: MakeWorkspace
) -> None:
    workspace = make_workspace(name)
    with connect(settings.load(workspace.settings(), environ={})) as analytics:
        transport = analytics.engine.transport  # type: ignore[attr-defined]
        with pytest.raises(QueryError) as caught:
            transport.write(workspace.raw, [f"{HITS},page={PAGE} count=oops 1"])
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert PAGE in caught.value.said
    assert "unable to parse" in caught.value.message


WORDS = st.text(st.characters(codec="utf-8"), max_size=300)


@given(WORDS, st.text("abcdefghijklmnopqrstuvwxyz/\\\"' =,0123456789", max_size=60))
@example('tag="page" value="', '/a" partial write "/b')
@example("unable to parse '", "m,page=/order/4711 count=1i 1'")
def test_of_words_about_points_only_known_ones_are_left(start: str, page: str) -> None:
    got = foreign.said_of_points(f"{start}{page} dropped=2", {"count"})
    assert len(got) <= foreign.MOST
    assert got.isprintable()
    known = foreign._VOCABULARY | {"count", foreign.GAP, ""}
    for word in got.split(" "):
        assert word.strip(foreign._EDGE).lower() in known or re.fullmatch(r"dropped=\d+|\(\d+/\d+\)[:,.]?", word), word


@given(WORDS, st.sampled_from(['page="{}"', "page={} ", '(r) => r.page == "{}"', '"page":"{}"', "at {} now", "'{}'"]))
def test_words_about_a_question_hold_no_path_and_no_tag(start: str, shape: str) -> None:
    got = foreign.said(f"{start} {shape.format(PAGE)} {start}")
    assert CANARY not in got
    assert got.isprintable()
    assert len(got) <= foreign.MOST


def test_what_helps_is_left() -> None:
    assert foreign.said('compilation failed: error @1:2-1:3: undefined identifier "x"') == (
        'compilation failed: error @1:2-1:3: undefined identifier "x"'
    )
    assert foreign.said('could not find bucket "websites/analytics"') == 'could not find bucket "websites/analytics"'
    conflict = (
        'failure writing points to database: partial write: field type conflict: input field "count" on measurement '
        '"m" is type integer, already exists as type float dropped=1'
    )
    assert foreign.said_of_points(conflict, {"count", "m"}) == conflict
    assert foreign.said_of_points("dropped 1 points outside retention policy: m,page=/x at 1970 violates").startswith(
        "dropped … points outside retention policy: … at … violates"
    )
    assert foreign.said("a\x1b[31m\nb\u202ec") == "a\\x1b[31m b\\x202ec"
    assert foreign.said("x" * 400) == "x" * 299 + "…"


CELLS = [
    ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
    ("+1", "'+1"),
    ("-1", "'-1"),
    ("@SUM(A1)", "'@SUM(A1)"),
    ("\t=1", "'\\x09=1"),
    ("\r=1", "'\\x0d=1"),
    (" =1", "' =1"),
    ("a\x1b[31m", "a\\x1b[31m"),
    ("/\u202etxt.exe", "/\\x202etxt.exe"),
    ("/page?a=1", "/page?a=1"),
    ("/‌می‌خواهم/😀", "/‌می‌خواهم/😀"),
    (-0.5, -0.5),
    (7, 7),
    (None, None),
    ("", ""),
]


@pytest.mark.parametrize(("value", "expected"), CELLS)
def test_a_cell_does_nothing_to_a_spreadsheet_or_terminal(value: object, expected: object) -> None:
    assert foreign.cell(value) == expected


def test_csv_and_json_of_pages_that_would_run(tmp_path: Path) -> None:
    own = settings.load({"data_dir": str(tmp_path)}, environ={})
    now = time.time_ns()
    with connect(own) as analytics:
        from pfa_flux.engines.base import Point

        evil = ["=cmd|' /C calc'!A0", "@SUM(A1)", "/\x1b[31m\u202e"]
        tags = [{"domain": "example.com", "page": page, "scheme": "https", "sess": "0"} for page in evil]
        analytics.engine.write(own.raw_bucket, [Point(HITS, each, "count", 1, now - 10**9) for each in tags])
        table = analytics.blocked_ratio(by=["page"], start="1h")
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert {row["page"] for row in rows} == {"'=cmd|' /C calc'!A0", "'@SUM(A1)", "/%1B[31m%E2%80%AE"}
    assert {row["hits"] for row in rows} == {"1"}
    text = table.to_json()
    assert not set("\x1b\u202e") & set(text)
    # The path is told in its canonical form, which is plain.
    assert {row["page"] for row in json.loads(text)["rows"]} == {*evil[:2], "/%1B[31m%E2%80%AE"}


def test_an_error_within_the_helper_is_told_by_its_place(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pfa_flux.helper import process

    class EndedError(Exception):
        pass

    def end(_: int) -> None:
        raise EndedError

    def fail(*_: object) -> None:
        raise PfaFluxError(CANARY)

    monkeypatch.setattr("os._exit", end)
    with pytest.raises(EndedError):
        process._guarded(fail, None, None, None)  # type: ignore[arg-type]
    assert CANARY not in caplog.text
    assert "the helper process failed: PfaFluxError at test_foreign.py:" in caplog.text
