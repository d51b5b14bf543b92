"""What the contract suites run on: every engine with every dialect it has, and how a test puts points into it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from pfa_flux import Analytics, Point, registry, settings
from pfa_flux.times import NS
from tests import memory_engine
from tests.data import HOUR
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace

registry.REGISTERED.append(memory_engine.REGISTRATION)


@dataclass(frozen=True)
class Target:
    """An engine in one of its configurations, and the dialect to ask it in."""

    engine: str
    dialect: str
    answers: str
    flux: bool = True
    auth: bool = False

    def __str__(self) -> str:
        more = ("" if self.flux else "-flux-off") + ("-auth" if self.auth else "")
        return f"{self.engine}{more}-{self.dialect}"


TARGETS = (
    Target("influxdb-1.8", "auto", "influxql"),
    Target("influxdb-1.8", "union", "union"),
    Target("influxdb-1.8", "influxql", "influxql"),
    Target("influxdb-1.8", "auto", "influxql", flux=False),
    Target("influxdb-1.8", "auto", "influxql", auth=True),
    Target("influxdb-1.12", "join", "join"),
    Target("influxdb-1.12", "union", "union"),
    Target("influxdb-1.12", "influxql", "influxql"),
    Target("influxdb-2.7", "auto", "influxql"),
    Target("influxdb-2.7", "join", "join"),
    Target("influxdb-2.7", "union", "union"),
    Target("influxdb-2.7", "influxql", "influxql"),
    Target("influxdb-2.9", "join", "join"),
    Target("influxdb-2.9", "union", "union"),
    Target("influxdb-2.9", "influxql", "influxql"),
    Target("kapacitor", "auto", "influxql"),
    Target("embedded", "auto", "sqlite"),
    Target(memory_engine.NAME, "auto", "python"),
)
"""`answers` is the dialect that figures come in."""

_TWINS = {
    "influxdb-1.8-union",
    "influxdb-1.8-auth-auto",
    "influxdb-2.9-union",
    "influxdb-2.9-influxql",
    "kapacitor-auto",
    "influxdb-2.9",
    "influxdb-1.8 flux off runner",
    "influxdb-1.8-flux-off-auto",
    "influxdb-2.7 runner",
}
"""Of targets, and of those who run tasks: each asks a server in a way that another one does, too; so it is slow."""


def ordinarily(each: Iterable[Any]) -> list[Any]:
    """Values of a parameter, those marked as slow that have a twin."""
    return [pytest.param(value, marks=pytest.mark.slow) if str(value) in _TWINS else value for value in each]


def at_length(each: Iterable[Any]) -> list[Any]:
    """Values of a slow test's parameter. Those that have a twin are for a release."""
    return [pytest.param(value, marks=pytest.mark.twin) if str(value) in _TWINS else value for value in each]


def rarely(each: Iterable[Any], *, but: str) -> list[Any]:
    """Values of a parameter, all of them marked as slow but one."""
    return [value if str(value) == but else pytest.param(value, marks=pytest.mark.slow) for value in each]


ENGINES_ONCE = tuple({(t.engine, t.flux): t for t in reversed(TARGETS) if not t.auth}.values())
"""One target for each engine, for what has nothing to do with dialects."""


SERVERLESS = ("embedded", memory_engine.NAME)
LASTING = tuple(t for t in ENGINES_ONCE if t.engine != memory_engine.NAME)
"""Those whose data outlives a process, as the command needs it."""

TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "influxdb-2.7": ("influxdb-2.7", {}),
    "influxdb-2.9": ("influxdb-2.9", {}),
    "kapacitor": ("kapacitor", {}),
    "influxdb-1.8 runner": ("influxdb-1.8", {}),
    "influxdb-1.8 flux off runner": ("influxdb-1.8", {"flux": False}),
    "influxdb-1.12 runner": ("influxdb-1.12", {}),
    "influxdb-2.7 runner": ("influxdb-2.7", {"backend": "runner"}),
    "embedded": ("embedded", {}),
    memory_engine.NAME: (memory_engine.NAME, {}),
}
"""Everybody who runs tasks, by a name: the engine, and how it is."""

every_backend = pytest.mark.parametrize("runs", ordinarily(TASKS))
server_backends = pytest.mark.parametrize("runs", ordinarily(["influxdb-2.7", "influxdb-2.9", "kapacitor"]))


def task_workspace(runs: str, make_workspace: MakeWorkspace) -> Workspace:
    """Fresh buckets where tasks are run as `TASKS` says."""
    engine, how = TASKS[runs]
    return make_workspace(engine, **how)


@contextmanager
def analytics(workspace: Workspace, now: int, **schema: Any) -> Iterator[Analytics]:
    """The library on a workspace, with a clock that stands still and a task name of the workspace's own."""
    own = settings.load(workspace.settings(), environ={})
    names = {"task_name": workspace.task_name, "loads_task_name": f"{workspace.task_name}_loads", **schema}
    task = replace(own.task, backend=workspace.backend)
    with Analytics(replace(own, schema=replace(own.schema, **names), task=task), clock=lambda: now) as made:
        yield made


def fill(workspace: Workspace, now: int, points: Iterable[Point]) -> None:
    """Put points into the raw bucket as others would: line protocol to a server, the engine's own way without one."""
    if workspace.serverless:
        with analytics(workspace, now) as made:
            made.write(points)
    else:
        workspace.client.write(workspace.raw, map(as_line, points))


def keep_for(workspace: Workspace, ns: int) -> None:
    """Let the raw bucket keep its points for so long."""
    if workspace.client.is_2:
        rule = {"type": "expire", "everySeconds": ns // NS, "shardGroupDurationSeconds": 3600}
        path = f"/api/v2/buckets/{workspace.client.bucket_id(workspace.raw)}"
        workspace.client.json("PATCH", path, {"retentionRules": [rule]})
    else:
        database, _, policy = workspace.raw.partition("/")
        workspace.client.influxql(
            f'ALTER RETENTION POLICY "{policy}" ON "{database}" DURATION {ns // HOUR}h SHARD DURATION 1h'
        )


def as_line(point: Point) -> str:
    """Line protocol of a point, tags in the order given."""
    tags = "".join(f",{name}={_escaped(value)}" for name, value in sorted(point.tags.items()) if value)
    value = f"{point.value}i" if isinstance(point.value, int) else repr(float(point.value))
    return f"{point.measurement}{tags} {point.field}={value} {point.time}"


def _escaped(value: str) -> str:
    return value.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def workspace_of(target: Target, make_workspace: MakeWorkspace) -> Workspace:
    """Fresh buckets on the target's engine."""
    return make_workspace(target.engine, flux=target.flux, auth=target.auth)
