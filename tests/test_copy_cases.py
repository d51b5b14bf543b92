"""What may be in the way of a copy: what a target cannot keep, what has expired, what is no other store."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from itertools import count as counter
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest

from pfa_flux import Analytics, PartialAnswerError, SettingsError, settings
from pfa_flux.cli.exits import exit_code
from pfa_flux.copying.copy import Copy
from pfa_flux.copying.stretches import stretches
from pfa_flux.engines.ask import Ask
from pfa_flux.engines.sqlite.engine import Embedded
from pfa_flux.helper.housekeeper import purge
from pfa_flux.schema import BOTH
from pfa_flux.times import NS
from pfa_flux.windows.spec import TaskSpec
from tests.cli import clean_environment, pfa_flux
from tests.contract import analytics, fill, keep_for
from tests.copies import downsampled, held, many, run_copy
from tests.data import DAY, HOUR, T0, hit, load
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace
from tests.load import get, send
from tests.pixel_server import PixelServer
from tests.stored import until

NOW = T0 + 10 * DAY


def to_file(workspace: Workspace, path: Path, **more: Any) -> str:
    """The settings of a workspace as a file. Returns its name."""
    given: Mapping[str, Any] = {**workspace.settings(), **more}
    path.write_text("".join(f'{key} = "{value}"\n' for key, value in given.items()))
    path.chmod(0o600)
    return str(path)


KILLED = """
import os, signal, sys
from pfa_flux.cli import app
from pfa_flux.copying.carry import Carrier

left, points = int(sys.argv[1]), Carrier._points

def some(self, rows):
    global left
    for point in points(self, rows):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        yield point

Carrier._points = some
app(sys.argv[2:])
"""


@pytest.mark.parametrize(
    ("there", "after"),
    [
        ("influxdb-2.7", 6500),
        pytest.param("embedded", 700, marks=pytest.mark.slow),
        *(pytest.param("influxdb-1.8", after, marks=pytest.mark.slow) for after in (1, 400, 5001, 6900, 7300)),
    ],
)
def test_a_copy_that_was_killed_goes_on_and_doubles_nothing(
    there: str, after: int, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    one, other = make_workspace("embedded"), make_workspace(there, backend="runner")
    fill(one, NOW, [*many(NOW), *(hit(NOW - DAY + n * 10 * NS, page=f"/{n % 7}", sess="k") for n in range(6000))])
    with analytics(one, NOW) as source:
        downsampled(source)
    here, to = to_file(one, tmp_path / "here.toml"), to_file(other, tmp_path / "there.toml")
    command = ["copy", "--config", here, "--to", to, "--format", "json"]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(after), *command], env=clean_environment(), capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with analytics(one, NOW) as source, analytics(other, NOW) as target:
        whole, part = held(source.engine, source.settings), held(target.engine, target.settings)
    assert part.items() < whole.items()
    assert len(part) >= (after - 1) // 5000 * 5000
    done = pfa_flux(*command)
    assert done.code == 0, done.err
    assert "comparing hits: " in done.err
    assert done.json["equal"]
    assert sum(kind["counts"]["written"] for kind in done.json["kinds"]) >= len(whole) - len(part)
    with analytics(other, NOW) as target:
        assert held(target.engine, target.settings) == whole
        assert all(target.task(side.value).verify(NOW - 3 * DAY).clean for side in BOTH)


def test_a_pixel_changes_its_store_without_losing_or_doubling_a_hit(
    make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    other = make_workspace("influxdb-2.7")
    with PixelServer(tmp_path, pixel={"load_path": "/load.gif"}) as server:
        send(server.listen, [get(f"/{n % 3}") for n in range(30)] + [get("/1", path="/load.gif")] * 4)
        old = str(server.config.rename(tmp_path / "old.toml"))
        kept = (tmp_path / "old.toml").read_text()
        top = "".join(f'{k} = "{v}"\n' for k, v in other.settings().items() if k != "data_dir")
        server.config.write_text(top + kept)
        assert pfa_flux("copy", "--config", old, "--to", str(server.config)).code == 0
        send(server.listen, [get("/late")] * 10)
        server.stop()
        server.start()
        send(server.listen, [get("/new")] * 20)

        def hits() -> dict[str, int]:
            with Analytics(settings.load({}, config=server.config, environ={})) as made:
                return {row.key["page"]: row.hits or 0 for row in made.hits(by=["page"])}

        until(lambda: hits().get("/new") == 20, "all shipped")
        rest = pfa_flux("copy", "--config", old, "--to", str(server.config), "--start", "2d", "--format", "json")
        assert rest.code == 0, rest.err
        assert hits() == {"/0": 10, "/1": 10, "/2": 10, "/late": 10, "/new": 20}
        counts = {kind["rows"]: kind["counts"] for kind in rest.json["kinds"]}
        assert (counts["hits"]["written"], counts["hits"]["own"], counts["page loads"]["written"]) == (10, 20, 0)
        assert "hits: the target has 20 rows of its own in this range; they stay" in rest.err


def test_the_command_counts_copies_and_refuses(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    one, other = make_workspace("influxdb-2.7", backend="runner"), make_workspace("embedded")
    here, to = to_file(one, tmp_path / "here.toml"), to_file(other, tmp_path / "there.toml")
    empty = pfa_flux("copy", "--config", here, "--to", to)
    assert empty.code == 3
    assert "nothing to copy" in empty.err
    fill(one, NOW, [hit(NOW - HOUR), hit(NOW - HOUR + 1), load(NOW - HOUR)])
    counted = pfa_flux("copy", "--config", here, "--to", to, "--dry-run", "--format", "json")
    assert counted.code == 0
    assert [(each["rows"], each["source"], each["target"]) for each in counted.json] == [
        ("hits", 2, 0),
        ("page loads", 1, 0),
        ("hits, 15 min", 0, 0),
        ("page loads, 15 min", 0, 0),
    ]
    assert not (other.folder / "data").exists()
    done = pfa_flux("copy", "--config", here, "--to", to)
    assert (done.code, done.out.strip().splitlines()[-1]) == (0, f"{other.folder}/data/pfa-flux.sqlite3 has all 3 rows")
    # The same server under another name.
    alias = one.settings()["url"].replace("127.0.0.1", "localhost")
    same = pfa_flux("copy", "--config", here, "--to", to_file(one, tmp_path / "same.toml", url=alias))
    assert same.code == 2
    assert "source and target of the copy are the same store" in same.err


@pytest.mark.slow
def test_the_command_knows_stores_by_what_they_are(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    one, other = make_workspace("influxdb-2.7", backend="runner"), make_workspace("embedded")
    here, to = to_file(one, tmp_path / "here.toml"), to_file(other, tmp_path / "there.toml")
    fill(one, NOW, [hit(NOW - HOUR), hit(NOW - HOUR + 1), load(NOW - HOUR)])
    assert pfa_flux("copy", "--config", here, "--to", to).code == 0
    # What the environment says is about the source.
    again = pfa_flux("copy", "--to", to, "--format", "json", env={**one.env(), "PFA_FLUX_DATA_DIR": "/nowhere"})
    assert [kind["counts"]["written"] for kind in again.json["kinds"]] == [0, 0, 0, 0]
    assert pfa_flux("copy", "--config", here, "--to", here).code == 2
    (tmp_path / "link").symlink_to(other.folder / "data")
    linked = to_file(other, tmp_path / "linked.toml", data_dir=tmp_path / "link", raw_bucket="another/name")
    assert pfa_flux("copy", "--config", to, "--to", linked).code == 2
    missing = to_file(one, tmp_path / "missing.toml", rollup_bucket=f"{one.rollup}_2", raw_bucket=f"{one.raw}_2")
    refused = pfa_flux("copy", "--config", to, "--to", missing)
    assert refused.code == 1
    assert "--create-buckets" in refused.err
    try:
        assert pfa_flux("copy", "--config", to, "--to", missing, "--create-buckets").code == 0
    finally:
        for bucket in (f"{one.rollup}_2", f"{one.raw}_2"):
            one.client.drop_bucket(bucket)


def test_what_a_target_cannot_store_is_said_and_the_rest_is_there(make_workspace: MakeWorkspace) -> None:
    one, other = make_workspace("embedded"), make_workspace("influxdb-2.7", backend="runner")
    floats = [hit(NOW - HOUR + n) for n in range(4)]
    points = [
        *(replace(point, value=1.0) for point in floats),
        *(hit(NOW - 2 * HOUR + n) for n in range(3)),
        *(load(NOW - HOUR + n, value=value) for n, value in enumerate((12.5, 7, 3.0))),
        hit(NOW - HOUR, page="/ends with \\"),
        hit(NOW - HOUR, page="/two\nlines"),
        hit(NOW - HOUR, page="/😀 ,=\"'$", host="web 1"),
    ]
    fill(one, NOW, points)
    with analytics(one, NOW) as source, analytics(other, NOW) as target:
        done = run_copy(source, target)
        hits, loads = done.tallies[:2]
        assert (hits.source, hits.equal, hits.missing, hits.refused, done.clean) == (10, 8, 2, 2, False)
        assert "cannot carry an empty name, a newline" in hits.reason
        assert (loads.equal, loads.missing) == (3, 0)
        # One shard has one type: fewer are changed than would be if all were.
        assert (hits.retyped, loads.retyped) == (4, 1)
        values = {key: value for key, (_, value) in held(source.engine, source.settings).items()}
        there = {key: value for key, (_, value) in held(target.engine, target.settings).items()}
        assert there.items() < values.items()


def test_downsampled_rows_outlive_their_raw_rows_at_the_target(make_workspace: MakeWorkspace) -> None:
    one, two, three = (
        make_workspace("embedded"),
        make_workspace("influxdb-2.7", backend="runner"),
        make_workspace("embedded"),
    )
    fill(one, NOW, many(NOW))
    with analytics(one, NOW) as source, analytics(two, NOW) as middle, analytics(three, NOW) as target:
        for made, side in product((source, middle, target), BOTH):
            made.task(side.value).install()
        for side in BOTH:
            source.task(side.value).run_due()
        assert isinstance(source.engine, Embedded)
        own = replace(source.settings, pixel=replace(source.settings.pixel, raw_retention=DAY // NS))
        assert purge(source.engine, own, NOW, 0) > 0
        asked: Any = {"by": ["page"], "start": NOW - 2 * DAY, "stop": NOW - HOUR, "source": "rollup"}
        before = [(r.key, r.hits, r.js) for r in source.blocked_ratio(**asked)]
        assert before
        for one_of, other in ((source, middle), (middle, target)):
            assert run_copy(one_of, other).clean
            answer = other.blocked_ratio(**asked)
            assert [(r.key, r.hits, r.js) for r in answer] == before
            assert {warning.code for warning in answer.warnings} <= {"other_names"} | {
                warning.code for warning in source.blocked_ratio(**asked).warnings
            }
            for side in BOTH:
                other.task(side.value).run_due()
                other.task(side.value).repair_all()
                assert other.task(side.value).verify(NOW - 3 * DAY).clean
            assert [(r.key, r.hits, r.js) for r in other.blocked_ratio(**asked)] == before
        assert held(target.engine, target.settings) == held(source.engine, source.settings)


def test_a_target_that_keeps_less_gets_what_it_keeps(make_workspace: MakeWorkspace) -> None:
    import time

    now = time.time_ns()
    one, other = make_workspace("embedded"), make_workspace("influxdb-2.7", backend="runner")
    keep_for(other, DAY)
    fill(one, now, [hit(now - n * 6 * HOUR) for n in range(8)])
    with analytics(one, now) as source, analytics(other, now) as target:
        done = run_copy(source, target)
        assert (done.clean, done.tallies[0].source, done.counted[0].older) == (True, 4, True)
        assert len(held(target.engine, target.settings)) == 4


def test_loads_have_their_bucket_and_names_are_the_targets(make_workspace: MakeWorkspace) -> None:
    one, other = make_workspace("embedded"), make_workspace("influxdb-2.7", backend="runner")
    fill(one, NOW, many(NOW))
    bucket = f"{other.raw.partition('/')[0]}_loads/autogen"
    names = {"hits_measurement": "h", "loads_field": "ms", "rollup_hits_measurement": "rh", "rollup_loads_field": "n"}
    other.client.make_bucket(bucket)
    try:
        with analytics(one, NOW) as source, analytics(other, NOW, **names) as plain:
            downsampled(source)
            with Analytics(replace(plain.settings, loads_bucket=bucket), clock=lambda: NOW) as target:
                assert run_copy(source, target).clean
                assert held(target.engine, target.settings) == held(source.engine, source.settings)
                assert all(target.task(side.value).verify(NOW - 3 * DAY).clean for side in BOTH)
    finally:
        other.client.drop_bucket(bucket)


@pytest.mark.slow
def test_a_source_without_a_rollup_bucket_gives_its_raw_rows(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    one, other = make_workspace("influxdb-2.7"), make_workspace("embedded")
    one.client.drop_bucket(one.rollup)
    fill(one, NOW, [hit(NOW - HOUR), load(NOW - HOUR)])
    done = pfa_flux(
        "copy", "--config", to_file(one, tmp_path / "here.toml"), "--to", to_file(other, tmp_path / "there.toml")
    )
    assert done.code == 0
    assert "the source has no rollup bucket" in done.err
    assert "has all 2 rows" in done.out


class Doubtful(Embedded):
    """A store each of whose answers is partial."""

    _said = counter()

    @property
    def partial_answers(self) -> int:
        return next(self._said)


def test_a_source_that_answers_in_part_is_not_copied(tmp_path: Path) -> None:
    here, there = (settings.load({"data_dir": str(tmp_path / name)}, environ={}) for name in ("a", "b"))
    with closing(Embedded(here)) as source:
        source.write(here.raw_bucket, [hit(T0)])
    with closing(Doubtful(here)) as source, closing(Embedded(there)) as target:
        made = Copy(source, target, here, there)
        counted = made.count(T0, T0 + DAY)
        with pytest.raises(PartialAnswerError, match="a copy would lack rows") as caught:
            made.run(counted, T0, T0 + DAY)
        assert exit_code(caught.value) == 4
        assert not target.exists() or held(target, there) == {}


class Short(Embedded):
    """A store that counts more rows than it shows."""

    def rows(self, *asked: Any) -> list[Any]:
        return super().rows(*asked)[1:]


def test_a_source_that_shows_fewer_rows_than_it_counts_is_not_copied(tmp_path: Path) -> None:
    here, there = (settings.load({"data_dir": str(tmp_path / name)}, environ={}) for name in ("a", "b"))
    with closing(Short(here)) as source, closing(Embedded(there)) as target:
        source.write(here.raw_bucket, [hit(T0), hit(T0 + 1)])
        made = Copy(source, target, here, there)
        with pytest.raises(PartialAnswerError, match="counts 2 rows of hits, but returns only 1"):
            made.run(made.count(T0, T0 + DAY), T0, T0 + DAY)


def test_a_target_that_loses_rows_is_found_out(tmp_path: Path) -> None:
    here, there = (settings.load({"data_dir": str(tmp_path / name)}, environ={}) for name in ("a", "b"))
    with closing(Embedded(here)) as source, closing(Short(there)) as target:
        source.write(here.raw_bucket, [hit(T0), hit(T0 + 1)])
        made = Copy(source, target, here, there)
        done = made.run(made.count(T0, T0 + DAY), T0, T0 + DAY)
        assert (done.clean, done.tallies[0].missing, done.proved) == (False, 1, 0)


def test_stores_with_other_windows_are_no_source_and_target(tmp_path: Path) -> None:
    own, other = (settings.load({"data_dir": str(tmp_path / name)}, environ={}) for name in ("a", "b"))
    wide = replace(other, task=replace(other.task, every=3600))
    with closing(Embedded(own)) as source, closing(Embedded(other)) as target:
        with pytest.raises(SettingsError, match="every differs between the settings of source and target"):
            Copy(source, target, own, wide)
        with pytest.raises(SettingsError, match="excluded_actions differs"):
            Copy(source, target, own, replace(other, schema=replace(other.schema, excluded_actions=())))


def test_a_range_is_cut_so_that_no_part_is_large(tmp_path: Path) -> None:
    own = settings.load({"data_dir": str(tmp_path)}, environ={})
    rows = TaskSpec.from_settings(own).raw
    with closing(Embedded(own)) as store:
        times = [*range(T0 + HOUR, T0 + HOUR + 3000), *(T0 + n * HOUR + 1 for n in range(200)), T0 + 90 * DAY]
        store.write(own.raw_bucket, [hit(time) for time in times])
        store.write(own.raw_bucket, [hit(T0 + 5 * HOUR, sess=f"{n}") for n in range(30)])
        found = list(stretches(((store, rows), (store, rows)), T0 + 1, T0 + 91 * DAY, 50))
        assert sum(each.source for each in found) == len(set(times)) + 30 - (T0 in times)
        assert all(before.stop <= after.start for before, after in pairwise(found))
        large = [each for each in found if each.rows > 50]
        assert [(each.start, each.stop - each.start, each.rows) for each in large] == [(T0 + 5 * HOUR, 1, 60)]
        assert len(found) < 3 * 6500 / 50


def test_downsampled_rows_of_the_embedded_store_are_counted_as_rows(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("embedded")
    fill(workspace, NOW, [hit(T0 + n) for n in range(9)])
    with analytics(workspace, NOW) as made:
        made.task().install()
        made.task().run_due()
        rollup = made.task().rollup
        assert made.engine.unproved(rollup.spec.windows, (T0, T0 + DAY)) == []
        day = Ask(replace(rollup.spec.rollup, count=True), T0, T0 + DAY)
        assert made.engine.aggregate([day, replace(day, rows=rollup.spec.rollup)]) == [{(): {T0: 1}}, {(): {T0: 9}}]
