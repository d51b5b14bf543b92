"""Upgrading in place: readers take the files of version 0.1 as they are, and writers lose nothing of them.

`made_by_0_1/make.py` made the files. The `expected.json` beside each holds what 0.1 answered, checked by the oracle.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pfa_flux import StoreError
from tests.cli import clean_environment, pfa_flux
from tests.data import DAY, HOUR, MINUTE, T0
from tests.load import get, send
from tests.pixel_server import PixelServer
from tests.stored import until
from tests.upgrading import (
    BOTH,
    DOMAIN,
    STORE,
    WINDOW,
    Json,
    asked,
    assert_answer,
    assert_downsampled,
    assert_kept_runs,
    assert_rows,
    content,
    copied,
    counts,
    expected,
    known,
    late_windows,
    new_hit,
    opened,
)

# Without a server: five days. The raw rows of the older half are purged, the newest twelve hours not downsampled.


def test_a_reader_gives_the_figures_of_0_1_and_changes_no_byte(tmp_path: Path) -> None:
    folder, said = copied("embedded", tmp_path / "data"), expected("embedded")
    before = content(folder)
    with opened(folder, said["now"]) as made:
        for each in said["answers"]:
            assert_answer(asked(made, each["ask"]), each["answer"])
        assert_rows(made.domains(start=T0, stop=T0 + 5 * DAY).records(), said["domains"])
        assert_rows(made.pages(start=T0, stop=T0 + 5 * DAY).records(), said["pages"])
    assert content(folder) == before


def test_a_reader_knows_the_tasks_their_windows_and_their_runs_and_changes_no_byte(tmp_path: Path) -> None:
    folder, said = copied("embedded", tmp_path / "data"), expected("embedded")
    before = content(folder)
    with opened(folder, said["now"]) as made:
        for what in BOTH:
            assert known(made, what, said["start"]) == said["tasks"][what]
    assert content(folder) == before


def command(folder: Path, ask: Json) -> list[str]:
    """`pfa-flux blocked-ratio` for what the library was asked for."""
    words = ["blocked-ratio", "--data-dir", str(folder), "--format", "json"]
    for option, value in ask.items():
        name = {"domains": "domain", "networks": "network", "pages": "page"}.get(option, option)
        for each in value if isinstance(value, list) else [value]:
            words += [f"--{name}", each]
    return words


def test_the_commands_give_the_figures_of_0_1_and_change_no_byte(tmp_path: Path) -> None:
    folder, said = copied("embedded", tmp_path / "data"), expected("embedded")
    before = content(folder)
    chosen = [each for each in said["answers"] if each["ask"]["by"] in (["page"], ["time"], ["domain", "page"])]
    assert len(chosen) == 6
    for each in chosen:
        done = pfa_flux(*command(folder, each["ask"]))
        assert done.code == 0
        assert_answer(done.json, each["answer"])
    for what in BOTH:
        task, place = said["tasks"][what], ("--data-dir", str(folder), "--js" if what == "loads" else "--hits-only")
        runs = pfa_flux("task", "runs", "--format", "json", *place)
        assert (runs.code, [list(run.values()) for run in runs.json]) == (0, task["runs"])
        status = pfa_flux("task", "status", "--format", "json", "--start", "2026-01-12T00:00:00Z", *place)
        assert (status.code, status.json["id"], status.json["plan"]) == (5, task["id"], "up to date")
        assert (status.json["last_run"], status.json["unknown_windows"]) == (task["last_run"], task["gaps"]["unknown"])
    assert content(folder) == before


def without_rights() -> list[str]:
    """Prefix of a command that makes it obey file permissions, which root does not."""
    if os.geteuid():
        return []
    given_up = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
    if shutil.which("setpriv") is None or subprocess.run([*given_up, "true"], check=False).returncode:
        pytest.skip("root ignores file permissions, and setpriv does not work here")
    return given_up


@pytest.mark.parametrize("read_before", [True, False], ids=["read before", "never read"])
def test_where_nothing_may_be_written_the_figures_are_right_or_it_says_so(tmp_path: Path, read_before: bool) -> None:
    folder, said = copied("embedded", tmp_path / "data"), expected("embedded")
    each = said["answers"][0]
    if read_before:
        # Leaves the log and the shared memory; SQLite needs them in a directory that it cannot write to.
        with opened(folder, said["now"]) as made:
            asked(made, each["ask"])
    before, names = content(folder), {path.name for path in folder.iterdir()}
    folder.chmod(0o500)
    try:
        program = str(Path(sys.executable).with_name("pfa-flux"))
        done = subprocess.run(
            [*without_rights(), program, *command(folder, each["ask"])],
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        folder.chmod(0o700)
    assert (content(folder), {path.name for path in folder.iterdir()}) == (before, names)
    if read_before or done.returncode == 0:
        assert done.returncode == 0, done.stderr
        assert_answer(json.loads(done.stdout), each["answer"])
    else:
        assert (done.returncode, done.stdout, STORE in done.stderr) == (1, "", True)


def test_a_first_write_keeps_figures_tasks_late_windows_and_runs(tmp_path: Path) -> None:
    folder, said = copied("embedded", tmp_path / "data"), expected("embedded")
    with opened(folder, said["now"]) as made:
        assert made.write([new_hit(said["now"])]) == 1
    with opened(folder, said["now"]) as made:
        for each in said["answers"]:
            assert_answer(asked(made, each["ask"]), each["answer"])
        for what in BOTH:
            assert known(made, what, said["start"]) == said["tasks"][what]
        (row,) = made.hits([DOMAIN], start=said["now"], stop=said["now"] + 1).rows
        assert row.hits == 1


def test_the_next_run_downsamples_what_0_1_left_and_keeps_the_history(tmp_path: Path) -> None:
    folder, said = copied("embedded", tmp_path / "data"), expected("embedded")
    now = said["now"] + MINUTE
    with opened(folder, now) as made:
        for what in BOTH:
            made.task(what).run_due()
    with opened(folder, now) as made:
        assert_downsampled(made, said)
        for what in BOTH:
            found, was = known(made, what, said["start"]), said["tasks"][what]
            same = ("name", "id", "active", "plan")
            assert {key: found[key] for key in same} == {key: was[key] for key in same}
            assert (found["last_error"], found["complete"], found["late"]) == ("", True, [])
            assert (was["gaps"]["missing"] != [], found["gaps"]["missing"], found["gaps"]["short"]) == (True, [], [])
            assert found["gaps"]["known_from"] == was["gaps"]["known_from"] == T0 + 60 * HOUR
            assert (found["verify"]["clean"], found["verify"]["unknown"]) == (True, was["verify"]["unknown"])
            assert found["verify"]["rows"] == was["verify"]["rows"]
            assert len(found["runs"]) == len(was["runs"]) + 1
            assert found["runs"][0][1:3] == ["2026-01-17T00:00:00Z", "success"]
            assert_kept_runs(found["runs"], was["runs"])
            assert [line for line in was["logs"] if line not in found["logs"]] == []


def test_late_windows_are_repaired_after_the_upgrade_and_only_then_forgotten(tmp_path: Path) -> None:
    folder, said = copied("embedded", tmp_path / "data"), expected("embedded")
    assert [len(said["tasks"][what]["late"]) for what in BOTH] == [2, 1]
    for what in BOTH:
        with opened(folder, said["now"]) as made:
            made.write([new_hit(said["now"])])
            late = late_windows(made, what)
            assert late == said["tasks"][what]["late"]
            assert [made.task(what).verify(end - WINDOW, end).clean for end in late] == [False] * len(late)
            assert made.task(what).repair_all() == [(end - WINDOW, end) for end in late]
    with opened(folder, said["now"]) as made:
        for what in BOTH:
            assert late_windows(made, what) == []
            for end in said["tasks"][what]["late"]:
                assert made.task(what).verify(end - WINDOW, end).clean
        for each in said["answers"]:
            if each["ask"].get("source") != "rollup":
                # All windows are proved now, and may be what is read.
                assert_rows(asked(made, each["ask"])["rows"], each["answer"]["rows"])


def test_the_command_repairs_late_windows_of_0_1(tmp_path: Path) -> None:
    folder, said = copied("embedded", tmp_path / "data"), expected("embedded")
    assert pfa_flux("task", "repair", "--data-dir", str(folder)).code == 0
    with opened(folder, said["now"]) as made:
        for what in BOTH:
            assert late_windows(made, what) == []
            for end in said["tasks"][what]["late"]:
                assert made.task(what).verify(end - WINDOW, end).clean


def test_a_task_of_0_1_can_be_disabled_and_enabled_and_keeps_its_id(tmp_path: Path) -> None:
    folder, said = copied("embedded", tmp_path / "data"), expected("embedded")
    for state, code in (("disable", "disabled"), ("enable", "up to date")):
        with opened(folder, said["now"]) as made:
            getattr(made.task("hits"), state)()
        with opened(folder, said["now"]) as made:
            was = said["tasks"]["hits"]
            assert known(made, "hits", said["start"]) == {**was, "plan": code, "active": code == "up to date"}
            assert known(made, "loads", said["start"]) == said["tasks"]["loads"]


def test_a_reader_that_was_there_before_the_first_write_goes_on(tmp_path: Path) -> None:
    folder, said = copied("embedded", tmp_path / "data"), expected("embedded")
    each, was = said["answers"][0], said["tasks"]["hits"]
    with opened(folder, said["now"]) as reader, opened(folder, said["now"]) as writer:
        assert_answer(asked(reader, each["ask"]), each["answer"])
        assert known(reader, "hits", said["start"]) == was
        writer.write([new_hit(said["now"])])
        assert_answer(asked(reader, each["ask"]), each["answer"])
        assert known(reader, "hits", said["start"]) == was
        writer.task("hits").run_due()
        assert_rows(asked(reader, each["ask"])["rows"], each["answer"]["rows"])
        assert known(reader, "hits", said["start"])["late"] == []
        (row,) = reader.hits([DOMAIN], start=said["now"], stop=said["now"] + 1).rows
        assert row.hits == 1


def test_while_a_process_of_0_1_writes_nobody_else_does_and_readers_go_on(tmp_path: Path) -> None:
    folder, said = copied("embedded", tmp_path / "data"), expected("embedded")
    before, each = content(folder), said["answers"][0]
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        print(4711, file=lock, flush=True)
        with opened(folder, said["now"]) as made:
            with pytest.raises(StoreError, match="4711"):
                made.write([new_hit(said["now"])])
            with pytest.raises(StoreError, match="4711"):
                made.task("hits").run_due()
            assert_answer(asked(made, each["ask"]), each["answer"])
    assert content(folder) == {**before, "lock": b"4711\n"}
    with opened(folder, said["now"]) as made:
        assert made.write([new_hit(said["now"])]) == 1


def test_serve_goes_on_with_the_store_of_0_1_and_purges_its_raw_rows(tmp_path: Path) -> None:
    said = expected("embedded")
    server = PixelServer(tmp_path, options=["--accept-clock"])
    copied("embedded", server.data_dir)
    raw = {"by": ["domain"], "source": "raw", "start": "2026-01-12T00:00:00Z", "stop": "2026-01-17T00:00:00Z"}
    with server:
        assert send(server.listen, [get("/after", DOMAIN)] * 3).counted == 3
        assert server.counted()[DOMAIN, "/after"] == 3
        # All of them are older than 30 days.
        with opened(server.data_dir, time.time_ns()) as made:
            until(lambda: asked(made, raw)["rows"] == [], "raw rows purged")
    assert server.log.count("Traceback") == 0
    with opened(server.data_dir, time.time_ns()) as made:
        for each in said["answers"]:
            if each["ask"].get("source") != "raw":
                found = asked(made, each["ask"])
                right = each.get("right") or counts(each["answer"]["rows"], each["ask"])
                assert counts(found["rows"], each["ask"]) == right
        for what in BOTH:
            found = known(made, what, said["start"])
            assert (found["id"], found["active"]) == (said["tasks"][what]["id"], True)
            assert_kept_runs(found["runs"], said["tasks"][what]["runs"])


# Without a server: raw rows were purged while the clock was 400 days ahead. It was set right, and more rows arrived.


def test_all_rows_of_a_store_whose_clock_was_ahead_can_be_read_by_source(tmp_path: Path) -> None:
    folder, said = copied("embedded-clock", tmp_path / "data"), expected("embedded-clock")
    before = content(folder)
    by_source = [each for each in said["answers"] if each["ask"].get("source")]
    assert [each["ask"]["source"] for each in by_source] == ["raw", "rollup"]
    with opened(folder, said["now"]) as made:
        for each in by_source:
            found = asked(made, each["ask"])
            assert_rows(found["rows"], each["answer"]["rows"])
            # 0.1 took them for expired.
            assert "raw_expired" not in {warning["code"] for warning in found["warnings"]}
    assert content(folder) == before
    with opened(folder, said["now"] + MINUTE) as made:
        made.write([new_hit(said["now"])])
        for what in BOTH:
            made.task(what).run_due()
    with opened(folder, said["now"] + MINUTE) as made:
        for each in by_source:
            assert_rows(asked(made, each["ask"])["rows"], each["answer"]["rows"])
        for what in BOTH:
            found, was = known(made, what, said["start"]), said["tasks"][what]
            assert (found["id"], found["active"], found["plan"]) == (was["id"], True, "up to date")
            assert_kept_runs(found["runs"], was["runs"])


@pytest.mark.parametrize("writes", [False, True], ids=["reader", "writer"])
def test_a_store_whose_clock_was_ahead_counts_raw_and_downsampled_rows(tmp_path: Path, writes: bool) -> None:
    folder, said = copied("embedded-clock", tmp_path / "data"), expected("embedded-clock")
    now = said["now"] + MINUTE
    if writes:
        with opened(folder, now) as made:
            made.write([new_hit(T0 + 3 * DAY)])
            for what in BOTH:
                made.task(what).run_due()
                assert made.task(what).verify(T0 + DAY, T0 + 2 * DAY).clean
    with opened(folder, now) as made:
        for each in said["answers"]:
            right = each.get("right") or counts(each["answer"]["rows"], each["ask"])
            assert counts(asked(made, each["ask"])["rows"], each["ask"]) == right


def test_serve_downsamples_the_rows_of_a_store_whose_clock_was_ahead_before_it_purges_them(tmp_path: Path) -> None:
    # All is older than 30 days, and nothing says that the clock is right.
    server, said = PixelServer(tmp_path, options=["--accept-clock"]), expected("embedded-clock")
    copied("embedded-clock", server.data_dir)
    raw = next(each["ask"] for each in said["answers"] if each["ask"].get("source") == "raw")
    with server, opened(server.data_dir, time.time_ns()) as made:
        until(lambda: asked(made, raw)["rows"] == [], "raw rows purged")
    with opened(server.data_dir, time.time_ns()) as made:
        whole = said["answers"][0]
        assert counts(asked(made, whole["ask"])["rows"], whole["ask"]) == whole["right"]
