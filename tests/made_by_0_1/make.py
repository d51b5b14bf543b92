"""Makes the files beside it: what version 0.1 left on disk and in servers, for the tests of upgrading in place.

It ran once, in the checkout and the environment of 0.1 (Python 3.11, SQLite 3.40.1, InfluxDB 2.7.12, Kapacitor 1.8.3),
where a copy of this folder lay in tests/:

    python -m tests.engines run influxdb-2.7 kapacitor -- python -m tests.made_by_0_1.make FOLDER

FOLDER is the one for the files. Clock, random numbers and seeds are fixed, so that another run gives the same bytes.
tests/oracle.py checks each answer of 0.1 before it is written to an expected.json. Where 0.1 is wrong, "right" holds
the oracle's counts beside its "answer". The files must not be made by a later version.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import closing
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pfa_flux
from pfa_flux import Analytics, Point, settings
from pfa_flux.times import NS, format_instant
from tests.data import DAY, HOUR, MINUTE, T0, hit, load
from tests.made_by_0_1.said import answers, save, told
from tests.made_by_0_1.visits import EEPSITE, ONION, odd_ones, visits

WINDOW = 15 * MINUTE
BOTH: tuple[Literal["hits", "loads"], ...] = ("hits", "loads")
URL = "http://127.0.0.1:8086"
"""Address of the server in the state of `server/`."""


class Clock:
    """The present, as 0.1 is told it."""

    now = T0

    def __call__(self) -> int:
        return self.now


CLOCK = Clock()


def inside(name: str) -> Any:
    """A module of 0.1 that is no part of its public API."""
    return import_module(f"pfa_flux.{name}")


# What 0.1 did.


def own(folder: Path, toml: str = "", **values: str) -> Any:
    """Settings for a data directory."""
    with tempfile.TemporaryDirectory() as other:
        config = Path(other) / "pfa-flux.toml"
        config.write_text(toml)
        return settings.load({"data_dir": str(folder), **values}, config=config, environ={})


def write_as_it_comes(made: Analytics, points: Iterable[Point], start: int, stop: int) -> None:
    """Write the points of each window before it ends, so that none is late."""
    points = list(points)
    for low in range(start, stop, WINDOW):
        CLOCK.now = low + WINDOW - NS
        made.write([point for point in points if low <= point.time < low + WINDOW])


def keep_house(with_settings: Any, now: int) -> None:
    """What `pfa-flux serve` does every 15 minutes: downsample, and purge old raw rows."""
    CLOCK.now = now
    inside("hits.housekeeper").Housekeeper(with_settings, lambda _: True, newest_series=10**9, clock=CLOCK).once()


def break_off_a_run(with_settings: Any) -> None:
    """Run the task of page loads in a process that dies while it works."""
    child = os.fork()
    if not child:
        inside("tasks.backends.runner").recompute = lambda *_: os._exit(9)
        with Analytics(with_settings, clock=CLOCK) as made:
            made.task("loads").run_due()
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def settle(path: Path) -> None:
    """Merge a database and its log into one file, and remove everything else in its folder."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for other in set(path.parent.iterdir()) - {path}:
        assert other.name.startswith((path.name, "lock", "spool.lock")), other
        other.unlink()


# The files.


def day(number: float) -> str:
    """RFC 3339 time so many days after T0."""
    return format_instant(T0 + int(number * DAY))


WHOLE = {"start": day(0), "stop": day(5)}
KOLKATA = {"start": "2026-01-12T00:00:00+05:30", "stop": "2026-01-17T00:00:00+05:30"}
EMBEDDED_ASKED: list[dict[str, Any]] = [
    {"by": ["domain"], **WHOLE},
    {"by": ["network"], **WHOLE},
    {"by": ["page"], **WHOLE},
    {"by": [], **WHOLE},
    {"by": ["time"], "every": "1d", **WHOLE},
    {"by": ["time"], "every": "1d", "tz": "Asia/Kolkata", **KOLKATA},
    {"by": ["network", "time"], "every": "1d", **WHOLE},
    {"by": ["domain", "page"], "networks": ["tor", "i2p"], **WHOLE},
    {"by": ["domain"], "domains": ["example.com", "empty.example"], **WHOLE},
    {"by": ["domain"], "start": day(0), "stop": day(2)},
    {"by": ["domain"], "start": day(3), "stop": day(5)},
    {"by": ["page"], "start": day(0.5), "stop": day(4.5), "pages": ["/grüße", "/日本語"]},
    {"by": ["time"], "every": "15m", "start": day(0.25), "stop": day(0.375)},
    {"by": ["domain"], "source": "rollup", **WHOLE},
    {"by": ["network"], "source": "raw", "start": day(3), "stop": day(5)},
]


def embedded(target: Path) -> None:
    """Five days without a server: raw rows of the older half are purged, the newest half a day is not downsampled."""
    folder = target / "embedded"
    mine = own(folder, '[pixel]\nraw_retention = "2d"\n')
    points = [*visits(T0, T0 + 5 * DAY, 700, seed=1), *odd_ones(T0), *odd_ones(T0 + 4 * DAY + 9 * HOUR)]
    for half in range(10):
        start, stop = T0 + half * 12 * HOUR, T0 + (half + 1) * 12 * HOUR
        with Analytics(mine, clock=CLOCK) as made:
            write_as_it_comes(made, points, start, stop)
        # The pixel was stopped half a day ago.
        if half < 9:
            keep_house(mine, stop + 100 * NS)
    CLOCK.now = now = T0 + 5 * DAY + 5 * MINUTE
    late = [
        *(hit(T0 + 3 * DAY + 5 * HOUR + n * NS, "example.com", "/late", sess="f") for n in range(2)),
        hit(T0 + 4 * DAY + 2 * HOUR, ONION, "/", sess="f", scheme="http"),
        load(T0 + 3 * DAY + 5 * HOUR + MINUTE, "example.com", "/late", action="load", value=3.5),
    ]
    points += late
    with Analytics(mine, clock=CLOCK) as made:
        made.write(late)
        made.task("loads").note_late([late[-1].time])
    break_off_a_run(mine)
    with Analytics(mine, clock=CLOCK) as made:
        tasks = {what: told(made.task(what), T0) for what in BOTH}
        said = answers(made, EMBEDDED_ASKED, points)
        domains = made.domains(start=T0, stop=T0 + 5 * DAY).records()
        pages = made.pages(start=T0, stop=T0 + 5 * DAY).records()
    settle(folder / "pfa-flux.sqlite3")
    expected = {"now": now, "start": T0, "answers": said, "domains": domains, "pages": pages, "tasks": tasks}
    save(folder / "expected.json", expected)


CLOCK_ASKED: list[dict[str, Any]] = [
    {"by": ["domain"], "start": day(0), "stop": day(2)},
    {"by": ["network"], "start": day(0), "stop": day(2)},
    {"by": ["page"], "start": day(0), "stop": day(2)},
    {"by": ["time"], "every": "1d", "start": day(0), "stop": day(2)},
    {"by": ["time"], "every": "1d", "tz": "Asia/Kolkata", **KOLKATA, "stop": "2026-01-15T00:00:00+05:30"},
    {"by": ["domain"], "start": day(0), "stop": day(1)},
    {"by": ["domain"], "start": day(1), "stop": day(2)},
    {"by": ["domain"], "source": "raw", "start": day(1), "stop": day(2)},
    {"by": ["domain"], "source": "rollup", "start": day(0), "stop": day(1)},
]


def embedded_clock(target: Path) -> None:
    """A store that was purged while the clock was 400 days ahead. The clock was set right, and more rows arrived."""
    folder = target / "embedded-clock"
    mine = own(folder)
    points = visits(T0, T0 + 2 * DAY, 160, seed=2)
    with Analytics(mine, clock=CLOCK) as made:
        write_as_it_comes(made, points, T0, T0 + DAY)
    keep_house(mine, T0 + DAY + 100 * NS)
    keep_house(mine, T0 + 401 * DAY)
    with Analytics(mine, clock=CLOCK) as made:
        write_as_it_comes(made, points, T0 + DAY, T0 + 2 * DAY)
    # Downsamples nothing: the new rows are older than the instant up to which 0.1 has purged.
    CLOCK.now = now = T0 + 2 * DAY + 5 * MINUTE
    keep_house(mine, now)
    with Analytics(mine, clock=CLOCK) as made:
        tasks = {what: told(made.task(what), T0) for what in BOTH}
        said = answers(made, CLOCK_ASKED, points)
    settle(folder / "pfa-flux.sqlite3")
    save(folder / "expected.json", {"now": now, "start": T0, "answers": said, "tasks": tasks})


REFUSED = (
    (
        'partial write: field type conflict: input field "count" on measurement "pf_analytics_test_pixel" is type '
        "integer, already exists as type float dropped=2",
        [
            hit(T0 + 2 * HOUR, "example.com", "/", sess="00000000000000aa"),
            hit(T0 + 2 * HOUR + 1, "example.com", "/a b,c=d", sess="00000000000000aa"),
        ],
    ),
    (
        'partial write: field type conflict: input field "count" on measurement "pf_analytics_test_pixel" is type '
        "integer, already exists as type float dropped=2",
        [hit(T0 + 5 * HOUR, ONION, "/grüße", sess="00000000000000aa", scheme="http")],
    ),
    ("points beyond retention policy", [load(T0 + 6 * HOUR, EEPSITE, "/", action="load", sess="00000000000000aa")]),
)


def spool(target: Path) -> None:
    """Hits of a pixel that was started three times and never reached its InfluxDB, and some that InfluxDB refused."""
    folder, draw = target / "spool", random.Random(3)
    real, os.urandom = os.urandom, draw.randbytes
    pages = inside("hits.pixel").Page
    waiting: list[list[str | int]] = []
    starts = [
        [(0, [("hit", "https://example.com/")] * 3), (2, [("hit", "https://example.com/grüße?q=1#f"),
                                                           ("load", "https://example.com/grüße")])],
        [(3600, [("hit", "http://abcdefghijklmnop.onion/a b,c=d"), ("hit", "https://bücher.example/日本語/\\")])],
        [(90000, [("hit", "http://example.i2p/"), ("load", "https://example.com/"), ("hit", "https://example.com/")]),
         (90000, [("hit", "https://example.com/%E2%82%AC/€")]), (90000, [("hit", "https://example.com:8443/")])],
    ]  # fmt: skip
    try:
        for turns in starts:
            CLOCK.now = T0 + turns[0][0] * NS
            made = inside("hits.spool").Spool(folder, "normal", 1 << 30)
            for seconds, asked in turns:
                CLOCK.now = T0 + seconds * NS + 123_456_789
                made.commit([pages(_view(*each)) for each in asked], CLOCK.now)
            made.close()
    finally:
        os.urandom = real
    reader = inside("hits.spool").SpoolReader(folder)
    for turn in reader.after(0, 10**6):
        waiting += [[*view, turn.sess, turn.time + n] for n, view in enumerate(turn.views)]
    for number, (reason, lines) in enumerate(REFUSED):
        as_lines = list(map(inside("engines.lineprotocol").line, lines))
        reader.quarantine.put(T0 + (7 + number) * HOUR + 5, reason, as_lines)
    lines = [line for each in reader.quarantine.all() for line in each.lines]
    reader.close()
    settle(folder / "spool.sqlite3")
    shown = [
        {"refused": format_instant(T0 + n * HOUR), "kept_until": format_instant(T0 + n * HOUR + 7 * DAY), "points": p,
         "reason": REFUSED[i][0]}
        for n, p, i in ((7, 3, 0), (9, 1, 2))
    ]  # fmt: skip
    save(folder / "expected.json", {"waiting": waiting, "quarantine": shown, "quarantine_lines": lines})


def _view(kind: str, referer: str) -> Any:
    """The page view of a request, as 0.1 made it."""
    module = inside("hits.hit")
    none = dict.fromkeys(("host", "forwarded_host", "forwarded_proto"))
    asked = SimpleNamespace(referer=referer.encode(), prefetch=False, gpc=False, dnt=False, **none)
    return module.page_view(kind, asked, module.Rules(inside("pixel_settings").PixelSettings()))


SERVER_ASKED: list[dict[str, Any]] = [
    {"by": ["domain"], "start": day(0), "stop": day(2)},
    {"by": ["network"], "start": day(0), "stop": day(2)},
    {"by": ["page"], "start": day(0), "stop": day(2)},
    {"by": ["time"], "every": "1d", "start": day(0), "stop": day(2)},
    {"by": ["time"], "every": "1d", "tz": "Asia/Kolkata", **KOLKATA, "stop": "2026-01-14T00:00:00+05:30"},
    {"by": ["domain"], "source": "rollup", "start": day(0), "stop": day(2)},
]


def server(target: Path) -> None:
    """Two days of an InfluxDB whose tasks pfa-flux runs itself: the rows, and what is remembered of the tasks."""
    folder = target / "server"
    engine = {name: os.environ[f"PFA_FLUX_TEST_INFLUXDB_2_7_{name.upper()}"] for name in ("url", "token", "org")}
    mine = own(folder, **engine)
    points = [
        *visits(T0, T0 + 2 * DAY, 150, seed=4),
        *(hit(T0 + 3 * HOUR + shift, "edge.example", sess="e") for shift in (-1, 0, 1)),
    ]
    late = [
        hit(T0 + 30 * HOUR, "example.com", "/late", sess="f"),
        hit(T0 + 40 * HOUR, EEPSITE, "/", sess="f", scheme="http"),
        load(T0 + 30 * HOUR + MINUTE, "example.com", "/late", action="load", value=3.5),
    ]
    now = T0 + 2 * DAY + 5 * MINUTE
    with Analytics(mine, clock=CLOCK) as made:
        state = vars(made)["_store"]

        def task(what: str) -> Any:
            # Its id depends on the address, and this server has another.
            there = own(folder, url=URL)
            return inside("tasks.task").Task(made.engine, state, there, what, "runner", CLOCK)

        for half in range(4):
            start, stop = T0 + half * 12 * HOUR, T0 + (half + 1) * 12 * HOUR
            write_as_it_comes(made, points, start, stop)
            CLOCK.now = stop + 100 * NS
            for what in BOTH:
                if not half:
                    task(what).install()
                if half < 3:
                    task(what).run_due()
        CLOCK.now = now
        made.write(late)
        task("loads").note_late([late[-1].time])
        task("loads").disable()
        tasks = {what: told(task(what), T0) for what in BOTH}
        said = answers(made, SERVER_ASKED, [*points, *late])
        hold(folder / "raw.lp", engine, "telegraf/autogen", {"pf_analytics_test_pixel": "count",
                                                             "pf_analytics_test": "response_time"})  # fmt: skip
        hold(folder / "rollup.lp", engine, "websites/analytics", {"pf_analytics_pixel": "hitcount",
                                                                  "pf_analytics_loads": "loadcount"})  # fmt: skip
        for what in BOTH:
            made.task(what).install()
            hold_task(folder / f"influxdb-2.7-{what}.flux", engine["url"], engine["token"], made.task(what).spec.name)
    settle_server(folder)
    save(folder / "expected.json", {"now": now, "start": T0, "url": URL, "answers": said, "tasks": tasks})


def settle_server(folder: Path) -> None:
    """The same as `settle`, in a folder with other files."""
    kept = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in {".lp", ".flux"}}
    for name in kept:
        (folder / name).unlink()
    settle(folder / "pfa-flux.sqlite3")
    for name, content in kept.items():
        (folder / name).write_bytes(content)


def hold(path: Path, engine: dict[str, str], bucket: str, fields: dict[str, str]) -> None:
    """Write a bucket's rows down as line protocol, as the server has them."""
    from tests.engines.http import Client

    client = Client(engine["url"], engine["token"], engine["org"])
    database, _, policy = bucket.partition("/")
    lines = []
    for measurement, name in fields.items():
        for row in client.influxql(f'SELECT "{name}" FROM "{measurement}" GROUP BY *', db=database, rp=policy):
            moment, value = row.pop("time"), row.pop(name)
            tags = {key: text for key, text in row.items() if text}
            assert isinstance(value, float) == (measurement == "pf_analytics_test"), row
            lines.append(inside("engines.lineprotocol").line(Point(measurement, tags, name, value, moment)))
    path.write_text("\n".join((*sorted(lines), "")), encoding="utf-8")


def hold_task(path: Path, url: str, token: str, name: str) -> None:
    """Write a task's Flux down as its server has it."""
    from tests.engines.http import Client

    found = Client(url, token, "").json("GET", "/api/v2/tasks?limit=100")["tasks"]
    (text,) = [task["flux"] for task in found if task["name"] == name]
    path.write_text(text, encoding="utf-8")


def kapacitor(target: Path) -> None:
    """The tasks in a Kapacitor, with @URL@ and @TOKEN@ of the InfluxDB behind it, which @DIGEST@ depends on."""
    folder = target / "server"
    url = os.environ["PFA_FLUX_TEST_KAPACITOR_INFLUXDB_URL"]
    its = os.environ["PFA_FLUX_TEST_KAPACITOR_URL"]
    CLOCK.now = T0 + 2 * DAY
    with tempfile.TemporaryDirectory() as data, Analytics(own(Path(data), url=url, kapacitor_url=its), CLOCK) as made:
        for what in BOTH:
            made.task(what).install()
            path = folder / f"kapacitor-{what}.flux"
            hold_task(path, f"{its}/kapacitor/v1", "", made.task(what).spec.name)
            text = path.read_text(encoding="utf-8")
            text = re.sub(r"^// Spec [0-9a-f]{12}$", "// Spec @DIGEST@", text, count=1, flags=re.MULTILINE)
            path.write_text(text.replace(url, "@URL@").replace('token: ""', 'token: "@TOKEN@"'), encoding="utf-8")


def main(target: Path) -> None:
    assert pfa_flux.__version__ == "0.1.0", "only 0.1 can leave what 0.1 leaves"
    for name in ("embedded", "embedded-clock", "spool", "server"):
        shutil.rmtree(target / name, ignore_errors=True)
    time.time_ns = CLOCK
    embedded(target)
    embedded_clock(target)
    spool(target)
    server(target)
    kapacitor(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
