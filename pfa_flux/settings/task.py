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
        every: width of a window in seconds, a multiple of 60.
        offset: how many seconds after a window's end the task computes it, less than `every`.
        lookback: how many windows each run recomputes to include late rows, at least 1.
        tags: tags to keep. Page loads have no `scheme`.
        backend: what runs the tasks: `auto`, `influxdb`, `kapacitor`, or `runner`: `pfa-flux task run --due`.
        loads: whether there is a task for page loads. If false, commands handle only the task for hits.
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
    """The settings in a `[task]` table. A wrong value adds a problem and is replaced by its default."""
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
            raise SettingsError(f"{where} offset must be less than every", 'Write for example offset = "1m".')
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
        raise SettingsError(f"{where} every must be whole minutes, up to a day", 'Write for example every = "15m".')


def _check_tags(task: TaskSettings, where: str) -> None:
    for tag in task.tags:
        if tag in {"sess", "time", "type"} or tag.startswith("_") or not tag.isprintable():
            raise SettingsError(
                f"{where} tags has {tag!r}, but rollups cannot have this tag",
                "Remove sess (every writer would add a series), type, time, and names that begin with an underscore.",
            )
    if "domain" not in task.tags:
        raise SettingsError(f"{where} tags must contain domain", 'Write tags = ["domain", "page", "scheme"].')
