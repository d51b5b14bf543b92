"""`influxd upgrade` from InfluxDB 1.8 with Kapacitor to 2.7: the figures stay, and the tasks move to InfluxDB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pfa_flux import Analytics
from pfa_flux.settings import load as settings_of
from tests.cli import pfa_flux
from tests.contract import as_line
from tests.data import DAY, HOUR, MINUTE, T0, hit, load
from tests.engines import Server, start, start_upgraded

pytestmark = pytest.mark.slow

NOW = T0 + 2 * DAY + HOUR
ONION = f"{'c' * 55}d.onion"


@contextmanager
def opened(server: Server, folder: Path) -> Iterator[Analytics]:
    """The library on a server, on the second day of the data."""
    settings = settings_of({**server.settings(), "data_dir": str(folder)}, environ={})
    with Analytics(settings, clock=lambda: NOW) as made:
        yield made


def views() -> list[str]:
    """Two days of two domains: 576 hits of one, of which a third has no load, and 288 of another without any."""
    lines = []
    for number in range(576):
        at = T0 + number * 5 * MINUTE
        lines.append(as_line(hit(at, page=f"/p{number % 7}")))
        lines += [as_line(load(at + 1, page=f"/p{number % 7}"))] * (number % 3 > 0)
        lines += [as_line(hit(at + 2, ONION))] * (number % 2)
    return lines


def figures(made: Analytics, source: str) -> dict[str, tuple[int, int]]:
    """Hits and loads by domain, of an answer without a warning about its rows."""
    answer = made.blocked_ratio(start=T0, stop=T0 + 2 * DAY, source=source)
    assert not {"rollup_unproved", "rollup_unknown", "partial_data", "gaps"} & {each.code for each in answer.warnings}
    return {row.key["domain"]: (row.hits, row.js) for row in answer}


def test_figures_proofs_and_tasks_outlive_an_upgrade_of_the_server(tmp_path: Path) -> None:
    truth = {"example.com": (576, 384), ONION: (288, 0)}
    with start("kapacitor") as old:
        old.client.write("telegraf/autogen", views())
        with opened(old, tmp_path / "old") as before:
            for task in (before.task("hits"), before.task("loads")):
                task.install()
                task.backfill(T0, T0 + 2 * DAY)
                assert task.verify(T0, T0 + 2 * DAY).clean
            assert figures(before, "raw") == figures(before, "rollup") == truth
        old.stop_process()
        with start_upgraded(old) as new:
            # The credentials of 1.x are none of 2.x.
            env = {**new.env(), "PFA_FLUX_TOKEN": "pfa-flux:pfa-flux-tests", "PFA_FLUX_DATA_DIR": str(tmp_path / "new")}
            refused = pfa_flux("blocked-ratio", env=env)
            assert refused.code == 4
            assert "token" in refused.err
            with opened(new, tmp_path / "new") as after:
                assert figures(after, "raw") == figures(after, "rollup") == truth
                for task in (after.task("hits"), after.task("loads")):
                    assert task.plan().state == "create"
                    task.install()
                    assert (task.plan().state, task.status(T0).complete) == ("up to date", True)
                    assert task.verify(T0, T0 + 2 * DAY).clean
                assert figures(after, "rollup") == truth
                # What comes from now on is downsampled by InfluxDB's own tasks.
                new.client.write("telegraf/autogen", [as_line(hit(T0 + DAY + 3, page="/late"))])
                after.task("hits").repair(T0, T0 + 2 * DAY)
                assert figures(after, "rollup") == {**truth, "example.com": (577, 384)}
