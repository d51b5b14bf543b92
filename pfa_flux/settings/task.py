"""The settings of the tasks: `[task]` in pfa-flux.toml."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from pfa_flux import registry
from pfa_flux.errors import SettingsError
from pfa_flux.schema import BOTH, Side
from pfa_flux.settings.checks import boolean, choice, duration, positive_int, strings, table
from pfa_flux.settings.problems import Problems


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """How the tasks downsample.

    Attributes:
        every: width of a window in seconds, whole minutes.
        offset: seconds after a window's end at which it is put together, less than a window.
        lookback: windows that each run recomputes, so that late rows are taken up; at least 1.
        tags: tags that are kept; page loads are without `scheme`.
        backend: who runs the tasks: auto, influxdb, kapacitor, or runner: `pfa-flux task run --due`.
        loads: commands are about the task of page loads, too, and not of hits alone.
    """

    every: int = 900
    offset: int = 60
    lookback: int = 2
    tags: tuple[str, ...] = ("domain", "page", "scheme")
    backend: str = "auto"
    loads: bool = True

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides that are downsampled."""
        return BOTH if self.loads else (Side.HITS,)


KEYS = tuple(each.name for each in fields(TaskSettings))


def parse(value: object, source: object, problems: Problems) -> TaskSettings:
    """The settings of a `[task]` table; what is wrong in it goes into `problems`, and has its default."""
    values: dict[str, Any] = {}
    for key, item in table(value, "task", source, KEYS, problems).items():
        with problems.of(f"task.{key}"):
            values[key] = _value(key, item, source)
    task = TaskSettings(**values)
    where = f"{source}: [task]"
    if problems.none_of("task.every"):
        with problems.of("task.every"):
            _check_every(task, where)
    if problems.none_of("task.every", "task.offset") and task.offset >= task.every:
        with problems.of("task.offset"):
            raise SettingsError(f"{where} offset is not less than every", 'Write for example offset = "1m".')
    with problems.of("task.tags"):
        _check_tags(task, where)
    return task


def _value(key: str, item: object, source: object) -> Any:
    where = f"{source}: [task] {key}"
    if key in {"every", "offset"}:
        return 0 if key == "offset" and item == "0s" else duration(item, where)
    if key == "lookback":
        return positive_int(item, where)
    if key == "tags":
        return strings(item, where)
    if key == "loads":
        return boolean(item, where)
    return choice(item, where, registry.choices(registry.backends()))


def _check_every(task: TaskSettings, where: str) -> None:
    if task.every % 60 or task.every > 86400:
        raise SettingsError(f"{where} every is not whole minutes up to a day", 'Write for example every = "15m".')


def _check_tags(task: TaskSettings, where: str) -> None:
    for tag in task.tags:
        if tag in {"sess", "time", "type"} or tag.startswith("_") or not tag.isprintable():
            raise SettingsError(
                f"{where} tags has {tag!r}, which cannot be kept",
                "Leave out sess (it would keep a series for each writer), type, time and names with an underscore "
                "in front.",
            )
    if "domain" not in task.tags:
        raise SettingsError(f"{where} tags is without domain", 'Write tags = ["domain", "page", "scheme"].')
