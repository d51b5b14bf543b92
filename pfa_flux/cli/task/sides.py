"""The tasks that a command acts on: for hits and page loads, unless a flag or the settings leave out a side."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pfa_flux.cli.choices import Runs
from pfa_flux.cli.options import note
from pfa_flux.errors import InvalidValueError, PfaFluxError, UnreachableError
from pfa_flux.schema import Side
from pfa_flux.settings import Settings

if TYPE_CHECKING:
    from pfa_flux.tasks.task import Task

Js = Annotated[bool, typer.Option("--js", help="Only page loads of the JavaScript analytics.")]
HitsOnly = Annotated[bool, typer.Option("--hits-only", help="Only hits.")]
CreateBuckets = Annotated[bool, typer.Option("--create-buckets", help="Create missing buckets.")]
Backend = Annotated[Runs, typer.Option(help="Program that runs the tasks.")]


def _option(name: str, annotation: Any, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


_FLAGS = (
    _option("js", Js, default=False),
    _option("hits_only", HitsOnly, default=False),
    _option("backend", Backend, default="auto"),
)


def with_tasks(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flags that choose tasks. The command receives connected `tasks` instead of these flags and `settings`."""

    @wraps(command)
    def wrapper(*, js: bool, hits_only: bool, backend: str, settings: Settings, quiet: bool, **kwargs: Any) -> None:
        from pfa_flux import connect

        if js and hits_only:
            raise InvalidValueError("--js and --hits-only are both given", "Leave both out to act on both sides.")
        flag = Side.LOADS if js else Side.HITS if hits_only else None
        sides = (flag,) if flag else settings.task.sides
        with connect(settings) as analytics:
            made = tuple(analytics.task(side, backend=str(backend)) for side in sides)
            command(tasks=Tasks(made, settings, flag, quiet), quiet=quiet, **kwargs)

    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name not in {"tasks", "quiet"}]
    given = [_option("settings", Settings, default=inspect.Parameter.empty)]
    given.append(_option("quiet", bool, default=inspect.Parameter.empty))
    wrapper.__signature__ = signature.replace(parameters=[*own, *_FLAGS, *given])  # type: ignore[attr-defined]
    return wrapper


@dataclass(frozen=True)
class Tasks:
    """Tasks to act on.

    Attributes:
        each: one task for each side, hits first.
        settings: the settings.
        flag: the side chosen by a flag; None without one.
        quiet: print no notes.
    """

    each: tuple[Task, ...]
    settings: Settings
    flag: Side | None
    quiet: bool

    def of(self, task: Task, text: str) -> str:
        """A text about one task, preceded by its side if there are two."""
        return f"{task.spec.what}: {text}" if len(self.each) > 1 else text

    @property
    def side_column(self) -> tuple[str, ...]:
        """The column with the side, if there are two."""
        return ("side",) if len(self.each) > 1 else ()

    def headed(self, task: Task) -> None:
        """Print the heading of a block about one task, if there are two."""
        from pfa_flux.cli import render

        if len(self.each) > 1:
            shown = render.console()
            if task is not self.each[0]:
                shown.print()
            shown.print(f"{task.spec.what}", style="bold underline")

    def joined(self, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The results of the tasks as one value. The result for page loads is nested in that for hits, as `loads`."""
        first, *more = results
        return {**first, **{task.spec.what.value: one for task, one in zip(self.each[1:], more, strict=True)}}

    def act(self, do: Callable[[Task], object], tasks: Sequence[Task] | None = None) -> None:
        """Act on one task after the other. If one fails, the other still runs.

        Raises:
            PfaFluxError: the first failure; a second one is printed.
        """
        failures: dict[str, PfaFluxError] = {}
        for task in self.each if tasks is None else tasks:
            try:
                do(task)
            except UnreachableError:
                raise
            except PfaFluxError as error:
                # Print an error of both tasks once.
                failures.setdefault(error.message, error)
                if len(self.each) > 1:
                    blame(task, error)
        for other in list(failures.values())[1:]:
            note(f"{other.message}\n{other.hint}")
        for first in failures.values():
            raise first

    def installed(self, *, active: bool = False) -> list[Task]:
        """The installed tasks, optionally without disabled ones. Prints which tasks are skipped.

        Raises:
            TaskError: several tasks have the same name.
        """
        tasks = [(task, task.backend.find()) for task in self.each]
        ready = [task for task, installed in tasks if any(one.active or not active for one in installed)]
        for task, installed in tasks:
            if task in ready:
                task.installed()
            elif ready and not self.quiet:
                lacks = "disabled" if installed else "not installed. To install it: pfa-flux install-task"
                note(f"{task.spec.name} is skipped: it is {lacks}")
        # Acting on the first task reports what is wrong.
        return ready or [self.each[0]]


def blame(task: Task, error: PfaFluxError) -> None:
    """Name the task in an error that does not name it."""
    if task.spec.name not in error.message:
        error.message = f"{task.spec.name}: {error.message}"
