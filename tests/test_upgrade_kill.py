"""A process that upgrades the files of 0.1 may be killed at any moment, and loses nothing of them."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import pytest

from tests.cli import clean_environment
from tests.engines.plugin import MakeWorkspace
from tests.test_upgrade_server import served
from tests.upgrading import (
    BOTH,
    DOMAIN,
    MADE,
    WINDOW,
    Json,
    asked,
    assert_downsampled,
    assert_kept_runs,
    assert_rows,
    copied,
    expected,
    known,
    late_windows,
    opened,
)


class Victim:
    """A process that works in a data directory, and may be killed at any moment."""

    def __init__(self, folder: Path, values: Mapping[str, str], number: int, warm: Path) -> None:
        order = {"folder": str(folder), "values": dict(values), "number": number, "warm": str(warm)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.upgrading", json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=MADE.parents[1],
            env=clean_environment(),
        )

    def go(self, now: int) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        self._process.stdin.write(f"{now}\n")
        self._process.stdin.flush()

    def line(self) -> str:
        """What it says next."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def end(self, *, kill: bool = False) -> str:
        """Kill it, or wait for its end. Returns what it had said."""
        if kill:
            self._process.kill()
        said, _ = self._process.communicate(timeout=60)
        return said


class Killer:
    """Kills writers while they work, and checks what they leave.

    Attributes:
        first: seconds from the start of a pass to the end of its write.
        whole: seconds of a whole pass.
        attempts: passes that were killed.
        written: of those, the ones whose write had ended.
    """

    def __init__(self, tmp_path: Path, values: Mapping[str, str], said: Json, seed: int) -> None:
        self.folder, self.values, self.said = tmp_path / "data", values, said
        self.warm, self.draw = tmp_path / "warm", random.Random(seed)
        self.attempts = 0
        self.written: set[int] = set()
        self._following: Victim | None = None
        # A pass in a copy measures how long there is something to kill.
        shutil.copytree(self.folder, tmp_path / "measured")
        victim = Victim(tmp_path / "measured", values, 0, self.warm)
        victim.go(self.now(0))
        begun = time.monotonic()
        assert victim.line() == "written"
        self.first = time.monotonic() - begun
        assert victim.line() == "done"
        self.whole = time.monotonic() - begun
        victim.end()

    def now(self, number: int) -> int:
        """Present of an attempt: each is a window after the last."""
        return int(self.said["now"]) + (6 + number) * WINDOW

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._following is not None:
            self._following.end(kill=True)

    def kill(self, count: int, *, within: float) -> Iterator[int]:
        """Kill so many, one after the other, each after a random time, of which more are short. Yields after each."""
        victim = self._follow()
        for number in range(count):
            victim.go(self.now(number))
            time.sleep(within * self.draw.random() ** 2)
            if "written" in victim.end(kill=True):
                self.written.add(number)
            self.attempts += 1
            # It starts early, and opens the folder only when it is told to go.
            victim = self._follow()
            yield number

    def _follow(self) -> Victim:
        self._following = Victim(self.folder, self.values, self.attempts, self.warm)
        return self._following

    def look(self) -> None:
        """Nothing that 0.1 knew is lost, however far the killed writer had come."""
        with opened(self.folder, self.said["now"], **self.values) as made:
            for each in self.said["answers"][:2]:
                assert_rows(asked(made, each["ask"])["rows"], each["answer"]["rows"])
            for what in BOTH:
                was, task = self.said["tasks"][what], made.task(what, backend="runner")
                assert (task.installed().id, task.installed().active) == (was["id"], was["active"])
                noted = late_windows(made, what)
                for end in was["late"]:
                    assert end in noted or task.verify(end - WINDOW, end).clean, (what, end)

    def finish(self) -> None:
        """Run once more, without a kill: the result is the same as if none had ever happened."""
        now = self.now(self.attempts)
        with opened(self.folder, now, **self.values) as made:
            for what in BOTH:
                task = made.task(what, backend="runner")
                if not self.said["tasks"][what]["active"]:
                    assert late_windows(made, what) == self.said["tasks"][what]["late"]
                    task.enable()
                task.run_due()
                found = known(made, what, self.said["start"])
                assert (found["id"], found["plan"]) == (self.said["tasks"][what]["id"], "up to date")
                assert (found["complete"], found["late"], found["verify"]["clean"]) == (True, [], True)
                assert_kept_runs(found["runs"], self.said["tasks"][what]["runs"])
            assert_downsampled(made, self.said)
            rows = made.hits([DOMAIN], by=["page"], start=self.said["now"], stop=now).rows
            found_hits = {int(row.key["page"][1:]): row.hits for row in rows}
        # A write keeps both hits or none, and both once it has returned.
        assert set(found_hits.values()) <= {2}
        assert self.written <= found_hits.keys() <= set(range(self.attempts))


@pytest.mark.slow
def test_kill_9_again_and_again_while_the_store_of_0_1_is_written_to_loses_nothing(tmp_path: Path) -> None:
    copied("embedded", tmp_path / "data")
    with Killer(tmp_path, {}, expected("embedded"), seed=25) as killer:
        for _ in killer.kill(25, within=killer.whole):
            killer.look()
        killer.finish()


@pytest.mark.slow
def test_kill_9_while_the_store_of_0_1_is_first_opened_loses_nothing(tmp_path: Path) -> None:
    copied("embedded", tmp_path / "data")
    with Killer(tmp_path, {}, expected("embedded"), seed=12) as killer:
        for number in killer.kill(25, within=2 * killer.first):
            killer.look()
            if number < 24:
                # Start again with what 0.1 left.
                shutil.rmtree(killer.folder)
                copied("embedded", killer.folder)
                killer.written.clear()
        killer.finish()


@pytest.mark.slow
def test_kill_9_again_and_again_loses_nothing_of_what_0_1_knew_of_a_servers_tasks(
    make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    _, values, said = served(make_workspace, tmp_path / "data")
    with Killer(tmp_path, values, said, seed=26) as killer:
        for _ in killer.kill(25, within=killer.whole):
            killer.look()
        killer.finish()
