"""`pfa-flux init` asks who counts page loads, and leaves nobody with figures of 100% that it has not warned of."""

from __future__ import annotations

import re
import time
import tomllib
from pathlib import Path

import pytest

from tests.contract import as_line
from tests.data import MINUTE, load
from tests.engines.plugin import MakeWorkspace
from tests.initial import ROOT, Folder, Terminal, run

SCRIPT = (
    '<script>window.pfaLoaded = Object.assign(new Image(), {referrerPolicy: "same-origin", src: "/load.gif"})</script>'
)
NOBODY = "warning: nobody counts page loads yet, so every figure will be 100%. "


def init(folder: Path, *flags: str) -> tuple[dict[str, object], str, str]:
    """The settings that `init` writes, the tags and nginx's part for them, and what it notes."""
    done = run(folder, "init", "--yes", "--config", "a.toml", "--data-dir", "data", *flags)
    assert done.code == 0, done.err
    printed = run(folder, "tags", "--config", "a.toml").out + run(folder, "nginx", "--config", "a.toml").out
    return tomllib.loads((folder / "a.toml").read_text()), f"\n{printed}", done.err


def test_the_pixels_script_is_set_up_and_printed(tmp_path: Path) -> None:
    written, printed, noted = init(tmp_path, "--loads", "script")
    assert written["pixel"] == {"load_path": "/load.gif", "loads": "script"}
    assert f"\n{SCRIPT}\n" in printed
    assert "location = /load.gif {" in printed
    assert "page loads: counted by the pixel, at /load.gif\n" in noted
    # That it was said once is enough.
    assert init(tmp_path)[:2] == (written, printed)


def test_the_tag_of_a_tracker_is_that_of_the_docs(tmp_path: Path) -> None:
    written, printed, _ = init(tmp_path, "--loads", "tracker")
    assert written["pixel"] == {"load_path": "/load.gif", "loads": "tracker"}
    # A later run without the flag, and what nginx is given, know it still.
    assert init(tmp_path)[0] == written
    assert SCRIPT not in printed
    (tag,) = re.findall(r'^<script src="https://tracker.*?</script>', printed, re.DOTALL | re.MULTILINE)
    assert tag in (ROOT / "docs/deployment.md").read_text()


def test_a_path_of_ones_own_is_kept_and_taken_out_where_nobody_counts(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[pixel]\nload_path = "/l.gif"\n')
    assert init(tmp_path, "--loads", "script")[0]["pixel"] == {"load_path": "/l.gif", "loads": "script"}
    written, printed, noted = init(tmp_path, "--loads", "none")
    assert written["pixel"] == {"loads": "none"}
    assert "/load.gif" not in printed
    assert NOBODY in noted


def test_without_an_answer_the_file_stays_and_nobody_is_said_aloud(tmp_path: Path) -> None:
    written, _, noted = init(tmp_path)
    assert written == {"data_dir": str(tmp_path / "data")}
    assert f"{NOBODY}To count them with the pixel: pfa-flux init --loads script\n" in noted


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--loads", "script", "--loads-field", "x"), "--loads script has no measurement or field of its own"),
        (("--loads-measurement", "_hidden"), "loads_measurement is '_hidden', not a name"),
    ],
)
def test_a_contradiction_is_refused(flags: tuple[str, ...], words: str, tmp_path: Path) -> None:
    done = run(tmp_path, "init", "--yes", "--config", "a.toml", "--data-dir", "data", *flags)
    assert (done.code, done.out, words in done.err, list(tmp_path.glob("a.*"))) == (2, "", True, [])


@pytest.fixture
def place(make_workspace: MakeWorkspace, tmp_path: Path) -> Folder:
    """A folder for a server that has three page loads of the last day."""
    workspace = make_workspace("influxdb-2.7")
    now = time.time_ns()
    workspace.client.write(workspace.raw, [as_line(load(now - n * MINUTE)) for n in (1, 2, 3)])
    return Folder(workspace, tmp_path)


def test_ones_own_analytics_is_tried_on_the_data(place: Folder) -> None:
    found = place.init("--loads", "own")
    assert found.code == 0, found.err
    words = "page loads: 3 rows of pf_analytics_test with the field response_time in the last day\n"
    assert (words in found.err, NOBODY in found.err) == (True, False)
    # It is the default of the file, and needs no words in it.
    assert "loads_measurement" not in place.file.read_text()
    other = place.init("--loads-measurement", "events", "--loads-field", "ms")
    assert "page loads: no rows of events with the field ms in the last day\n" in other.err
    assert NOBODY in other.err
    written = tomllib.loads(place.file.read_text())["schema"]
    assert (written["loads_measurement"], written["loads_field"]) == ("events", "ms")
    place.remove_tasks()


def test_on_a_terminal_names_that_have_no_rows_are_asked_for_again(place: Folder) -> None:
    place.file.write_text(place.begun + 'load_path = "/l.gif"\n')
    place.token_file.write_text(place.token)
    flags = ("--url", place.workspace.server.url, "--token-file", str(place.token_file), "--data-dir", "data")
    terminal = Terminal(place.folder, *flags, "--site", "blog=example.i2p")
    terminal.answer("none     nobody yet: every figure will be 100%\nPage loads [script]: ", "own")
    terminal.answer("Measurement [pf_analytics_test]: ", "events")
    terminal.answer("Field [response_time]: ", "")
    terminal.answer("page loads: no rows of events with the field response_time in the last day", "n")
    terminal.answer("Measurement [pf_analytics_test]: ", "")
    terminal.answer("Field [response_time]: ", "")
    assert terminal.end() == 0, terminal.shown
    assert "page loads: 3 rows of pf_analytics_test with the field response_time in the last day" in terminal.shown
    assert tomllib.loads(place.file.read_text())["pixel"] == {
        "max_pages": 7, "domains": ["example.i2p"], "loads": "own"
    }  # fmt: skip
    place.remove_tasks()
