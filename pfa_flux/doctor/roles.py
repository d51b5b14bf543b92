"""Roles of a token: a reader, the pixel, an administrator of tasks. The server is asked about each right."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import NamedTuple

from pfa_flux.analytics import Analytics
from pfa_flux.engines.ask import Rows
from pfa_flux.engines.base import Check
from pfa_flux.errors import AccessDeniedError, PfaFluxError
from pfa_flux.registry import open_writer, registration
from pfa_flux.windows.store_check import MEASUREMENT


class Role(NamedTuple):
    """A use of a token.

    Attributes:
        name: its name.
        commands: commands that it is for.
        rights: rights that it needs.
    """

    name: str
    commands: str
    rights: tuple[str, ...]


def check_roles(analytics: Analytics) -> Check:
    """Roles that the token has all rights for, and rights that it lacks for the others.

    The check fails if the token is enough for no role. It warns if the token has only some of the admin's own rights.
    """
    settings, engine = analytics.settings, analytics.engine
    task = analytics.task()
    reads: dict[str, Callable[[], object]] = {
        f"read {bucket}": partial(engine.rows, Rows(bucket, MEASUREMENT, "value"), 0, 1)
        for bucket in (*settings.raw_buckets, settings.rollup_bucket)
    }
    rights: dict[str, Callable[[], object]] = {
        **reads,
        f"write {settings.raw_bucket}": lambda: _ship(analytics),
        f"write {settings.rollup_bucket}": lambda: engine.probe_write(settings.rollup_bucket),
        "tasks": task.backend.probe,
    }
    held = {name for name, ask in rights.items() if _may(ask)}
    own = (f"write {settings.rollup_bucket}", *(("tasks",) if engine.capabilities.tasks == "influxdb" else ()))
    roles = (
        Role("reader", "blocked-ratio, report, view, task verify", tuple(reads)),
        Role("pixel", "serve", (f"write {settings.raw_bucket}",)),
        Role("admin", "install-task, task backfill, task verify --repair", (*reads, *own)),
    )
    lacks = {role.name: [right for right in role.rights if right not in held] for role in roles}
    has = [role for role in roles if not lacks[role.name]]
    summary = "; ".join((
        *(f"{role.name}: enough for {role.commands}" for role in has),
        *(f"{role.name}: no, it lacks {' and '.join(lacks[role.name])}" for role in roles if role not in has),
    ))  # fmt: skip
    if not has:
        return Check("token", "failed", summary, "Give it the rights of one role: docs/tokens.md has the table.")
    if lacks["admin"] and held.intersection(own):
        return Check("token", "warning", summary, "To install tasks, it needs the missing rights.")
    return Check("token", "ok", summary)


def _may(ask: Callable[[], object]) -> bool:
    """The token has a right. Other obstacles, such as a missing bucket, have checks of their own."""
    try:
        ask()
    except AccessDeniedError:
        return False
    except PfaFluxError:
        return True
    return True


def _ship(analytics: Analytics) -> None:
    """Test the right to write as the pixel does, through a relay if there is one."""
    if registration(analytics.settings.url).hits != "spool":
        analytics.engine.probe_write(analytics.settings.raw_bucket)
        return
    with closing(open_writer(analytics.settings)) as writer:
        writer.probe_write(analytics.settings.raw_bucket)
