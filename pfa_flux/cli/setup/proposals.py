"""What `pfa-flux init` learns from the data. It proposes this as answers, or with `--yes` only prints it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from pfa_flux.schema import Side

if TYPE_CHECKING:
    from pfa_flux import Analytics
    from pfa_flux.cli.setup.dialogue import Dialogue
    from pfa_flux.tasks.runners.base import Neighbour
    from pfa_flux.tasks.task import Task

_BUCKETS = {
    "raw_bucket": "page views or page loads are in the bucket {}",
    "loads_bucket": "page loads are in the bucket {}",
    "rollup_bucket": "downsampled rows are in the bucket {}",
}


def propose_names(dialogue: Dialogue, analytics: Analytics) -> None:
    """Propose buckets and names that the data shows and nobody has set."""
    from pfa_flux.setup.discovery import discover

    settings = dialogue.draft.settings()
    said = dialogue.known_keys & set(_BUCKETS)
    dialogue.discovery = found = discover(analytics.engine, settings, said)
    homes = {"raw_bucket": found.raw, "loads_bucket": found.loads, "rollup_bucket": found.rollup}
    for key, bucket in homes.items():
        place = _BUCKETS[key].format(bucket)
        flag = f"--{key.replace('_', '-')} {bucket}"
        if bucket and _agreed(dialogue, f"{place}, not in {getattr(settings, key) or settings.raw_bucket}", flag):
            dialogue.draft = dialogue.draft.with_values(**{key: bucket})
    for each in found.hits[:1] if "schema" not in dialogue.draft.document else ():
        source = f"{each.measurement} in {each.bucket} looks like page views of another pixel (field {each.field})"
        lines = f'hits_measurement = "{each.measurement}" and hits_field = "{each.field}" under [schema]'
        if _agreed(dialogue, source, lines):
            names = {"hits_measurement": each.measurement, "hits_field": each.field}
            dialogue.draft = replace(dialogue.draft, names={**dialogue.draft.names, **names})
    if found.floats:
        field = dialogue.draft.settings().schema.hits_field
        dialogue.say(f"{field} is a float in the current shard, so hits are written there as floats")


def _agreed(dialogue: Dialogue, finding: str, how: str) -> bool:
    """Ask whether to use a finding. Without questions, print how to use it instead."""
    if dialogue.interactive:
        return typer.confirm(f"{finding[0].upper()}{finding[1:]}. Use it?", default=True, err=True)
    dialogue.say(f"{finding}. This is not used. To use it: {how}")
    return False


def proposed_domains(dialogue: Dialogue) -> tuple[str, ...]:
    """Domains viewed in the last 30 days, as a proposal if none is set. Without questions, they are only printed."""
    from pfa_flux import connect
    from pfa_flux.errors import AccessDeniedError, BucketNotFoundError
    from pfa_flux.setup.discovery import domains

    settings = dialogue.draft.settings()
    if settings.pixel.domains or "domains" in dialogue.given:
        return ()
    with connect(settings) as analytics:
        try:
            viewed, more = domains(analytics)
        except (AccessDeniedError, BucketNotFoundError):
            return ()
    if viewed and not dialogue.interactive:
        flags = " ".join(f"--domain {name}" for name in viewed)
        rest = f" and {more} more" if more else ""
        dialogue.say(f"viewed in the last 30 days: {', '.join(viewed)}{rest}")
        dialogue.say(f"all domains count until you name some: {flags}")
    return viewed


def propose_tasks(dialogue: Dialogue) -> bool:
    """Propose to take over tasks of others that downsample the same data. Returns whether the user agreed."""
    from pfa_flux import connect

    adopt = False
    with connect(dialogue.draft.settings()) as analytics:
        tasks = [analytics.task(side) for side in dialogue.draft.settings().task.sides]
        for task in tasks:
            planned = task.plan()
            if planned.state == "foreign" and dialogue.interactive:
                question = (
                    f"{planned.task!r} ({planned.ids[0]}): {planned.words}. Take it over, with its id and its rows?"
                )
                adopt |= typer.confirm(question, default="published" in planned.words, err=True)
            for other in task.backend.neighbours() if planned.state != "duplicates" else ():
                adopt |= _neighbour(dialogue, task, other, free=planned.state == "create")
    return adopt


def _neighbour(dialogue: Dialogue, task: Task, other: Neighbour, *, free: bool) -> bool:
    """Propose to take over another task as the task of this side, or print how to. Returns whether the user agreed."""
    if not other.active:
        return False
    key = "task_name" if task.spec.what is Side.HITS else "loads_task_name"
    what = "page views" if task.spec.what is Side.HITS else "page loads"
    form = ", in the form that was first published" if other.origin == "original" else ""
    finding = f"the task {other.name!r} ({other.id}) downsamples the same {what}{form}"
    take = f'{key} = "{other.name}" under [schema], then pfa-flux init --adopt'
    question = f"{finding[0].upper()}{finding[1:]}. Take it over, with its id and its rows?"
    may = dialogue.interactive and free and other.origin == "original"
    if may and typer.confirm(question, default=True, err=True):
        dialogue.draft = replace(dialogue.draft, names={**dialogue.draft.names, key: other.name})
        return True
    dialogue.say(f"warning: {finding}, so both would write. Disable one of them, or take it over: {take}")
    return False
