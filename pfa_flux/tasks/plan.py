"""What `install-task` would change: the spec compared with the installed task."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from pfa_flux.engines.base import Engine
from pfa_flux.errors import AccessDeniedError, BucketNotFoundError
from pfa_flux.registry import OWN_BACKEND
from pfa_flux.schema import Side
from pfa_flux.tasks.runners.base import Backend, Installed
from pfa_flux.tasks.task_flux import origin_of
from pfa_flux.windows.spec import TaskSpec

State = Literal["create", "change", "up to date", "disabled", "foreign", "duplicates", "unknown"]

_WORDS: dict[State, str] = {
    "create": "the task is not installed",
    "change": "the installed task differs from the settings",
    "up to date": "the installed task matches the settings",
    "disabled": "the task is disabled, so nothing is downsampled",
}
_ADVICE: dict[State, str] = {
    "create": "Run pfa-flux install-task.",
    "change": "Run pfa-flux install-task: it keeps the task's id and history.",
    "up to date": "",
    "disabled": "Run pfa-flux task enable.",
    "foreign": "To take it over with its id and rows, run pfa-flux install-task --adopt. Otherwise rename it.",
    "duplicates": "Remove all but one: pfa-flux task remove --id ID.",
    "unknown": "",
}


FLOATS = (
    "Run pfa-flux install-task --adopt, which turns them into integers, or set PFA_FLUX_ROLLUP_BUCKET to another "
    "bucket."
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What an installation would change.

    Attributes:
        task: name of the task.
        backend: what runs the task.
        state: `create`, `change` or `up to date`; `disabled`: the task matches, but it is disabled; `foreign`: pfa-flux
            did not create the task of this name; `duplicates`: several tasks have the name, and each would write the
            same rows; `unknown`: the token may not see tasks.
        ids: ids of the tasks with this name.
        make_bucket: whether the rollup bucket is missing. It is created only on request.
        diff: lines that would change, as a unified diff without secrets.
        words: the state in a sentence.
        advice: what to do. Empty if there is nothing to do.
    """

    task: str
    backend: str
    state: State
    ids: tuple[str, ...]
    make_bucket: bool
    diff: tuple[str, ...]
    words: str
    advice: str

    @property
    def differs(self) -> bool:
        """Whether something is known to need a change."""
        return self.state not in {"up to date", "unknown"} or self.make_bucket


def plan(engine: Engine, backend: Backend, spec: TaskSpec) -> Plan:
    """Compare the spec with the installed task. This changes nothing."""
    tasks = backend.find()
    hidden = None if tasks else backend.hidden()
    state = "unknown" if hidden else _state(backend, tasks)
    make_bucket = not has_bucket(engine, spec.rollup_bucket)
    if hidden:
        words, advice = hidden.message, hidden.hint
    else:
        words, advice = _sentence(state, backend, spec, tasks), _ADVICE[state]
    if state == "create" and not make_bucket and keeps_floats(engine, backend, spec):
        floats = f"another program has written {spec.field!r} as floats into {spec.rollup_bucket!r}"
        words += f", and it would fail: {floats}"
        advice = FLOATS
    if make_bucket:
        words += f"; the bucket {spec.rollup_bucket!r} is missing"
        makes = "Run pfa-flux install-task --create-buckets"
        advice = f"{makes}." if state == "create" else advice or f"{makes}, then pfa-flux task backfill."
    diff = _diff(backend, tasks[0]) if state in {"change", "foreign"} else ()
    ids = tuple(task.id for task in tasks)
    return Plan(spec.name, backend.name, state, ids, make_bucket, diff, words, advice)


def has_bucket(engine: Engine, bucket: str) -> bool:
    """Whether a bucket exists. If the token may not read it, a refused write shows whether it exists."""
    try:
        if engine.has_bucket(bucket):
            return True
        engine.probe_write(bucket)
    except AccessDeniedError:
        return True
    except BucketNotFoundError:
        return False
    return True


def keeps_floats(engine: Engine, backend: Backend, spec: TaskSpec) -> bool:
    """Whether floats of other writers would make a server's task fail. pfa-flux as the backend repairs them itself."""
    if backend.name == OWN_BACKEND:
        return False
    due = spec.due(engine.now())
    return engine.keeps_floats(spec.rollup, due - spec.reach, due)


def _state(backend: Backend, tasks: list[Installed]) -> State:
    if not tasks:
        return "create"
    if len(tasks) > 1:
        return "duplicates"
    (task,) = tasks
    if backend.name != OWN_BACKEND and origin_of(task.text) in {"original", "foreign"}:
        return "foreign"
    if task.text != backend.text():
        return "change"
    return "up to date" if task.active else "disabled"


def _sentence(state: State, backend: Backend, spec: TaskSpec, tasks: list[Installed]) -> str:
    if state == "create" and spec.what is Side.LOADS:
        return f"{_WORDS[state]}, so there is no ratio after the raw page loads expire"
    if state == "duplicates":
        ids = ", ".join(task.id for task in tasks)
        return f"{len(tasks)} tasks have this name ({ids}), and each would write the same rows"
    if state == "foreign":
        if origin_of(tasks[0].text) == "original":
            return "a task of this name was installed by hand, in the originally published form"
        return "a task of this name exists that pfa-flux did not create"
    if state == "change" and backend.name != OWN_BACKEND and origin_of(tasks[0].text) == "altered":
        return "the installed task was changed after pfa-flux created it"
    return _WORDS[state]


def _diff(backend: Backend, task: Installed) -> tuple[str, ...]:
    before, after = backend.masked(task.text).splitlines(), backend.masked(backend.text()).splitlines()
    lines = list(difflib.unified_diff(before, after, "installed", "settings", lineterm="", n=1))
    if not lines:
        # Only the masked token differs.
        return ("its token differs",)
    return tuple(lines)
