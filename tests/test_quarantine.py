"""What InfluxDB has refused is seen, and written again when the reason is gone: `pfa-flux quarantine`."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from pfa_flux import settings
from pfa_flux.errors import UnreachableError
from pfa_flux.helper.retry import retry
from pfa_flux.journal.spool import Spool, SpoolReader, quarantine_of
from pfa_flux.schema import Side
from pfa_flux.settings import Settings
from pfa_flux.tasks.state import State
from pfa_flux.windows.spec import TaskSpec
from tests.cli import Result, pfa_flux
from tests.engines.plugin import MakeWorkspace
from tests.load import get, send
from tests.pixel_server import PixelServer
from tests.stored import HITS, LOADS, hits_by_page, points, until
from tests.test_shipping import both, pages, pixel

SECOND = 10**9
HOUR = 3600 * SECOND
REFUSED = 1_760_000_000 * SECOND + 123
"""2025-10-09T08:53:20Z, and a little."""


def line(measurement: str, page: str, time: int) -> str:
    return f"{measurement},domain=example.com,page={page},scheme=https,sess=0,type=pixel count=1i {time}"


def put_by(own: Settings, *lines: list[str], at: int = 0, reason: str = "field type conflict") -> None:
    """A spool with rows of refused lines."""
    Spool(own.data_dir, "normal", 1 << 30).close()
    reader = SpoolReader(own.data_dir)
    for each in lines:
        reader.quarantine.put(at or time.time_ns(), reason, each)
    reader.close()


def asked(server: PixelServer, *flags: str) -> Result:
    return pfa_flux("quarantine", "--config", str(server.config), *flags)


@both
def test_a_retry_writes_what_the_server_takes_now_while_the_pixel_serves(
    name: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace, another = make_workspace(name), make_workspace(name)
    # The field of hits is a text in the shard of today, and stays one.
    workspace.client.write(workspace.raw, [f'{HITS},domain=x count="1" {time.time_ns()}'])
    with pixel(tmp_path, workspace, load_path="/load.gif") as server:
        server.config.chmod(0o600)
        assert send(server.listen, [*pages(5), get(path="/load.gif")]).counted == 6
        until(lambda: server.metrics()["quarantined"] == 5, "refused hits in quarantine")
        shown = asked(server)
        assert shown.code == 5
        assert "field type conflict" in " ".join(shown.out.split())
        again = asked(server, "--retry", "--format", "json")
        assert (again.code, again.err) == (5, "0 points were written\n")
        assert sum(each["points"] for each in again.json) == 5
        assert all("field type conflict" in each["reason"] for each in again.json)
        moved = asked(server, "--retry", "--raw-bucket", another.raw)
        assert (moved.code, moved.out, moved.err) == (0, "", "5 points were written\nthe quarantine is empty\n")
        until(lambda: server.metrics()["quarantined"] == 0, "an empty quarantine")
        assert send(server.listen, [get(path="/load.gif")]).counted == 1
        until(lambda: server.metrics()["journal_rows"] == 0, "an empty spool")
    assert hits_by_page(another) == {f"/{n}": 1 for n in range(5)}
    assert len(points(workspace, LOADS)) == 2


@both
def test_of_several_rows_those_that_are_refused_again_stay_with_the_new_reason(
    name: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    own = replace(settings.load(make_workspace(name).settings(), environ={}), data_dir=tmp_path)
    now = time.time_ns()
    put_by(own, [line(HITS, "/a", now), line(HITS, "/b", now)], ["no line protocol"], [line(HITS, "/c", now)])
    with quarantine_of(own) as found:
        written, left = retry(own, found)
        assert written == 3
        (stays,) = left
        assert stays.lines == ["no line protocol"]
        assert "unable to parse" in stays.reason
        assert found.all() == left


def test_what_is_late_is_noted_for_repair(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    own = replace(settings.load(make_workspace("influxdb-2.7").settings(), environ={}), data_dir=tmp_path)
    now = time.time_ns()
    put_by(own, [line(HITS, "/late", now - 5 * HOUR), line(HITS, "/now", now)], [line(LOADS, "/late", now - 9 * HOUR)])
    with quarantine_of(own) as found:
        assert retry(own, found) == (3, [])
    for spec, hours in ((TaskSpec.from_settings(own), 5), (TaskSpec.from_settings(own, Side.LOADS), 9)):
        late = now - hours * HOUR
        assert State(own).late_windows(spec).ends == [late // spec.width * spec.width + spec.width]


def test_nothing_is_lost_where_the_server_is_away(tmp_path: Path) -> None:
    own = settings.load({"url": "http://127.0.0.1:9", "org": "o", "data_dir": str(tmp_path)}, environ={})
    put_by(own, ["a b=1i 1"])
    with quarantine_of(own) as found:
        with pytest.raises(UnreachableError):
            retry(own, found)
        assert [each.lines for each in found.all()] == [["a b=1i 1"]]
    done = pfa_flux("quarantine", "--retry", "--url", own.url, "--org", "o", "--data-dir", str(tmp_path))
    assert (done.code, "cannot be reached" in done.err) == (4, True)


def test_what_is_shown_printed_and_dropped(tmp_path: Path) -> None:
    own = settings.load({"data_dir": str(tmp_path)}, environ={})
    place = ("--data-dir", str(tmp_path))
    put_by(own, ["a b=1i 1", "a b=2i 2"], ["a b=3i 3"], at=REFUSED)
    put_by(own, ["c d=1i 1"], at=REFUSED + 60 * SECOND, reason="unable to parse")
    table = pfa_flux("quarantine", *place)
    assert (table.code, table.err) == (5, "")
    assert [row.split() for row in table.out.splitlines()] == [
        ["refused", "kept", "until", "points", "reason"],
        ["2025-10-09T08:53:20Z", "2025-10-16T08:53:20Z", "3", "field", "type", "conflict"],
        ["2025-10-09T08:54:20Z", "2025-10-16T08:54:20Z", "1", "unable", "to", "parse"],
    ]
    assert pfa_flux("quarantine", "--format", "json", *place).json == [
        {
            "refused": f"2025-10-09T08:{minute}:20Z",
            "kept_until": f"2025-10-16T08:{minute}:20Z",
            "points": count,
            "reason": reason,
        }
        for minute, count, reason in ((53, 3, "field type conflict"), (54, 1, "unable to parse"))
    ]
    lines = pfa_flux("quarantine", "--lines", *place)
    assert (lines.code, lines.out) == (0, "a b=1i 1\na b=2i 2\na b=3i 3\nc d=1i 1\n")
    assert pfa_flux("quarantine", "--drop", *place).out == "4 points were removed\n"
    empty = pfa_flux("quarantine", *place)
    assert (empty.code, empty.out, empty.err) == (0, "", "the quarantine is empty\n")
    quiet = pfa_flux("quarantine", "--quiet", "--format", "json", *place)
    assert (quiet.code, quiet.json, quiet.err) == (0, [], "")


def test_dropped_points_are_overwritten_in_the_file(tmp_path: Path) -> None:
    own = settings.load({"data_dir": str(tmp_path)}, environ={})
    put_by(own, ["page=/secret"])
    assert b"/secret" in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert pfa_flux("quarantine", "--drop", "--data-dir", str(tmp_path)).code == 0
    assert b"/secret" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_a_wrong_call_is_told_what_to_do(tmp_path: Path) -> None:
    both = pfa_flux("quarantine", "--retry", "--drop", "--data-dir", str(tmp_path))
    assert (both.code, both.err) == (2, "pfa-flux: --retry, --lines and --drop cannot be combined\nUse one of them.\n")
    none = pfa_flux("quarantine", "--data-dir", str(tmp_path))
    assert (none.code, "no pixel has shipped to InfluxDB from there" in none.err) == (1, True)
    assert "PFA_FLUX_DATA_DIR" in none.err
    (tmp_path / "spool.sqlite3").write_text("no database at all" * 100)
    broken = pfa_flux("quarantine", "--data-dir", str(tmp_path))
    assert (broken.code, "cannot be used: file is not a database" in broken.err) == (1, True)
    (tmp_path / "spool.sqlite3").unlink()
    put_by(settings.load({"data_dir": str(tmp_path)}, environ={}), ["a b=1i 1"])
    nowhere = pfa_flux("quarantine", "--retry", "--data-dir", str(tmp_path))
    assert (nowhere.code, nowhere.err) == (
        2,
        "pfa-flux: no InfluxDB is set\nSet its address with --url or PFA_FLUX_URL.\n",
    )
