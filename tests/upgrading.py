"""What the tests of upgrading share: the files that 0.1 left, how the library is asked, how answers are compared.

As a program it is a process that writes to a data directory and runs what is due, for a test to kill while it works.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pfa_flux import Analytics, Point, settings
from tests.data import DAY, MINUTE, T0, hit
from tests.oracle import page_of

MADE = Path(__file__).with_name("made_by_0_1")
STORE = "pfa-flux.sqlite3"
WINDOW = 15 * MINUTE
DOMAIN = "upgraded.example"
"""Domain of hits that 0.1 knew nothing of."""

What = Literal["hits", "loads"]
BOTH: tuple[What, ...] = ("hits", "loads")
Json = dict[str, Any]


def expected(name: str) -> Any:
    """What 0.1 said, with pages in the form in which they are given since."""
    found = json.loads((MADE / name / "expected.json").read_text(encoding="utf-8"))
    for key in ("domains", "pages"):
        if key in found:
            found[key] = _canonical(found[key])
    for each in found.get("answers", ()):
        each["answer"]["rows"] = _canonical(each["answer"]["rows"])
        if "right" in each:
            each["right"] = _canonical(each["right"])
    return found


def _canonical(rows: Sequence[Json]) -> list[Json]:
    """0.1 kept pages as they were sent: no two of those here are forms of one."""
    made = [{**row, "page": page_of(row["page"])} if "page" in row else row for row in rows]
    keys = ("domain", "network", "page", "time")
    return sorted(made, key=lambda row: [row[key] for key in row if key in keys]) if made != list(rows) else made


def copied(name: str, folder: Path) -> Path:
    """Copy the data directory that 0.1 left, with the rights it had."""
    folder.mkdir(mode=0o700, parents=True)
    for path in (MADE / name).glob("*.sqlite3"):
        shutil.copyfile(path, folder / path.name)
        (folder / path.name).chmod(0o600)
    return folder


@contextmanager
def opened(folder: Path, now: int, **values: str) -> Iterator[Analytics]:
    """The library on a data directory, with a clock that stands still."""
    own = settings.load({"data_dir": str(folder), **values}, environ={})
    with Analytics(own, clock=lambda: now) as made:
        yield made


def new_hit(at: int, page: str = "/") -> Point:
    return hit(at, DOMAIN, page, sess="new")


def content(folder: Path) -> dict[str, bytes]:
    """Files of a folder, without those that a reader of SQLite leaves beside a database."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(("-wal", "-shm"))}


# How the library is asked.


def asked(made: Analytics, ask: Json) -> Json:
    return dict(json.loads(made.blocked_ratio(**ask).to_json()))


def late_windows(made: Analytics, what: What) -> list[int]:
    """Ends of the windows that late hits or loads were noted for."""
    return made.task(what, backend="runner").late_windows()


def known(made: Analytics, what: What, start: int) -> Json:
    """All that the library knows of a task that pfa-flux runs itself, in the form of expected.json.

    As make.py does, which stays as 0.1 ran it and is not run by a later version.
    """
    task = made.task(what, backend="runner")
    installed, gaps, proof, status = task.installed(), task.gaps(start), task.verify(start), task.status(start)
    found = {
        "name": task.spec.name,
        "id": installed.id,
        "active": installed.active,
        "last_run": installed.last_run,
        "last_error": installed.last_error,
        "plan": task.plan().state,
        "complete": status.complete,
        "gaps": {
            "state": gaps.state,
            "known_from": gaps.raw_kept_from,
            "raw_windows": gaps.raw_windows,
            "missing": gaps.missing,
            "short": gaps.short,
            "newest": gaps.newest,
            "unknown": gaps.unknown,
        },
        "verify": {
            "clean": proof.clean,
            # Of a server 0.1 also compared windows of before there was any raw row.
            "windows": proof.windows + (proof.unknown if made.settings.url else 0),
            "unknown": 0 if made.settings.url else proof.unknown,
            "rows": proof.rows,
            "count": proof.count,
            "spans": proof.ranges,
        },
        "late": late_windows(made, what),
        "runs": [
            [run.id, run.scheduled_for, run.status, run.started, run.finished, run.error] for run in task.runs(500)
        ],
        "logs": task.logs(),
    }
    return dict(json.loads(json.dumps(found)))


# How answers are compared.


def assert_answer(found: Json, said: Json) -> None:
    """The figures are equal; a later version may ask in another dialect, and give more warnings."""
    for key in ("start", "stop", "engine", "source"):
        assert (key, found[key]) == (key, said[key])
    if found["source"] == "rollup" and "gaps" in said["warnings"]:
        # A window that one side has missed is left out of the other, too, which 0.1 did not do.
        for name in ("hits", "js"):
            assert sum(row[name] for row in found["rows"]) <= sum(row[name] for row in said["rows"])
    else:
        assert_rows(found["rows"], said["rows"])
    assert set(said["warnings"]) <= {each["code"] for each in found["warnings"]}


def assert_rows(found: Sequence[Json], said: Sequence[Json]) -> None:
    """The rows are equal but for the last digits of intervals, which depend on the machine, and names as shown."""
    assert [_rounded(row) for row in found] == [_rounded(row) for row in said]


def _rounded(row: Json) -> Json:
    said = {key: value for key, value in row.items() if not key.endswith("_display")}
    return {key: round(value, 9) if isinstance(value, float) else value for key, value in said.items()}


def counts(rows: Sequence[Json], ask: Json) -> list[Json]:
    """Keys and counts of the rows that have any."""
    return [{key: row[key] for key in (*ask["by"], "hits", "js")} for row in rows if row["hits"] or row["js"]]


def assert_downsampled(made: Analytics, said: Json) -> None:
    """All windows are downsampled: figures are those of 0.1, or the right ones where its windows had gaps."""
    for each in said["answers"]:
        found = asked(made, each["ask"])
        if "right" in each:
            assert counts(found["rows"], each["ask"]) == each["right"]
        else:
            assert_rows(found["rows"], each["answer"]["rows"])


def assert_kept_runs(found: Sequence[Sequence[str]], before: Sequence[Sequence[str]]) -> None:
    """Runs that had ended are unchanged, newest first; a run that was broken off has failed."""
    assert [run[0] for run in found[-len(before) :]] == [run[0] for run in before]
    for run, was in zip(found[-len(before) :], before, strict=True):
        if was[2] == "started":
            assert (*run[:4], bool(run[4]), bool(run[5])) == (*was[:2], "failed", was[3], True, True)
        else:
            assert run == was


def main(order: str) -> None:
    """Read the present from standard input, then write a current and a late hit, and run what is due."""
    told = json.loads(order)
    # Import and connect first, so that a kill falls into the work itself.
    with opened(Path(told["warm"]), T0, **told["values"]) as made:
        made.blocked_ratio(start=T0, stop=T0 + DAY)
    print("ready", flush=True)
    now = int(sys.stdin.readline())
    with opened(Path(told["folder"]), now, **told["values"]) as made:
        made.write([new_hit(at, f"/{told['number']}") for at in (now - 3 * MINUTE, now - 5 * WINDOW)])
        print("written", flush=True)
        for task in (made.task("hits", backend="runner"), made.task("loads", backend="runner")):
            if task.installed().active:
                task.run_due()
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
