"""`pfa-flux demo`: the whole of pfa-flux on simulated visits with known blocking."""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pfa_flux.cli.options import note, with_settings
from pfa_flux.settings import Settings

if TYPE_CHECKING:
    from rich.progress import Progress

    from pfa_flux import Analytics

_DAYS = 4
_BATCH = 2_000
_NEXT_EMBEDDED = "Next, with your own site:\n  pfa-flux init\n  pfa-flux serve"
_NEXT_INFLUXDB = (
    "Next, with your own InfluxDB:\n"
    "  pfa-flux install-task --url http://localhost:8086 --token-file token\n"
    "  pfa-flux blocked-ratio --url http://localhost:8086 --token-file token --domain example.com"
)


@with_settings
def demo(*, settings: Settings, quiet: bool) -> None:
    """Simulate visits over clearnet, Tor and I2P, downsample them, and compare the blocked ratio with the truth.

    Without --url, the demo uses a temporary directory. With --url, it creates its own buckets. Both are removed at the
    end.
    """
    from rich.progress import Progress

    from pfa_flux.cli import render
    from pfa_flux.demo import HOSTS

    shown, errors = render.console(), render.console(sys.stderr)
    with _place(settings) as analytics:
        with Progress(console=errors, disable=quiet or not errors.is_terminal, transient=True) as progress:
            done = _fill(analytics, progress)
        by_network = analytics.blocked_ratio(by=["network"], start=f"{_DAYS}d")
        by_domain = analytics.blocked_ratio(by=["domain"], start=f"{_DAYS}d")
        by_day = analytics.blocked_ratio(by=["time"], start=f"{_DAYS}d", every="1d")
    shown.print(f"\n{_DAYS} days of simulated visits: {render.escaped(by_network.sentence)}\n")
    shown.print(render.blocked_ratio(shown, by_network, {host.network: host.blocked for host in HOSTS}))
    shown.print(render.blocked_ratio(shown, by_domain, {host.domain: host.blocked for host in HOSTS}))
    shown.print(render.blocked_ratio(shown, by_day))
    if not quiet:
        note(
            f"{done}\n"
            "truth is the simulated share that blocks. A 95% interval misses it one time in twenty.\n\n"
            f"{_NEXT_INFLUXDB if settings.url else _NEXT_EMBEDDED}"
        )


@contextmanager
def _place(settings: Settings) -> Iterator[Analytics]:
    """A temporary place for the demo: a directory, or two buckets and a task."""
    from pfa_flux import connect

    mark = secrets.token_hex(4)
    with tempfile.TemporaryDirectory(prefix="pfa-flux-demo-") as directory:
        own = replace(settings, data_dir=Path(directory) / "data")
        if settings.url:
            own = replace(
                own,
                raw_bucket=f"pfa_flux_demo_{mark}/autogen",
                rollup_bucket=f"pfa_flux_demo_{mark}_15m/autogen",
                schema=replace(settings.schema, task_name=f"pfa_flux_demo_{mark}"),
            )
        with connect(own) as analytics:
            try:
                analytics.engine.create_bucket(own.raw_bucket)
                yield analytics
            finally:
                if settings.url:
                    _remove(analytics)


def _remove(analytics: Analytics) -> None:
    backend = analytics.task().backend
    for task in backend.find():
        backend.remove(task)
    for bucket in (analytics.settings.raw_bucket, analytics.settings.rollup_bucket):
        if analytics.engine.has_bucket(bucket):
            analytics.engine.drop_bucket(bucket)


def _fill(analytics: Analytics, progress: Progress) -> str:
    """Write and downsample the page views. Returns a text about how the rollups compare with the raw data."""
    from pfa_flux.demo import page_views, points
    from pfa_flux.times import NS

    made = list(points(page_views(time.time_ns(), _DAYS), analytics.settings.schema))
    bar = progress.add_task("writing page views", total=len(made))
    for first in range(0, len(made), _BATCH):
        progress.advance(bar, analytics.write(made[first : first + _BATCH]))
    bar = progress.add_task("downsampling to 15 minutes", total=2)
    task = analytics.task()
    task.install(create_bucket=True)
    progress.advance(bar)
    start = time.time_ns() - _DAYS * 86400 * NS
    task.backfill(start)
    verification = task.verify(start)
    progress.advance(bar)
    return (
        f"Task {task.spec.name} installed, run by {task.backend.name}, and past windows filled: {verification.rows:,} "
        f"rows of 15 minutes, which {'equal' if verification.clean else 'DIFFER FROM'} the raw data."
    )
