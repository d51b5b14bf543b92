"""What the data can tell `pfa-flux init`: proposed as answers, or with `--yes` said and left as it is."""

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
    """Propose buckets and names in the data, where nobody has said any."""
    from pfa_flux.setup.discovery import discover

    settings = dialogue.draft.settings()
    said = dialogue.said & set(_BUCKETS)
    dialogue.found = found = discover(analytics.engine, settings, said)
    homes = {"raw_bucket": found.raw, "loads_bucket": found.loads, "rollup_bucket": found.rollup}
    for key, bucket in homes.items():
        words = _BUCKETS[key].format(bucket)
        flag = f"--{key.replace('_', '-')} {bucket}"
        if bucket and _agreed(dialogue, f"{words}, not in {getattr(settings, key) or settings.raw_bucket}", flag):
            dialogue.draft = dialogue.draft.with_values(**{key: bucket})
    for each in found.hits[:1] if "schema" not in dialogue.draft.document else ():
        words = f"{each.measurement} in {each.bucket} looks like page views of another pixel (field {each.field})"
        lines = f'hits_measurement = "{each.measurement}" and hits_field = "{each.field}" under [schema]'
        if _agreed(dialogue, words, lines):
            names = {"hits_measurement": each.measurement, "hits_field": each.field}
            dialogue.draft = replace(dialogue.draft, names={**dialogue.draft.names, **names})
    if found.floats:
        field = dialogue.draft.settings().schema.hits_field
        dialogue.say(f"{field} is a float in the current shard, so hits are written there as floats")


def _agreed(dialogue: Dialogue, words: str, how: str) -> bool:
    """Whether to take something that was found; without questions it is left, and how to take it is said."""
    if dialogue.asking:
        return typer.confirm(f"{words[0].upper()}{words[1:]}. Use it?", default=True, err=True)
    dialogue.say(f"{words}; it is left, and taken with {how}")
    return False


def proposed_domains(dialogue: Dialogue) -> tuple[str, ...]:
    """Domains that were viewed in the last 30 days, to be proposed where none is named; without questions said."""
    from pfa_flux import connect
    from pfa_flux.errors import AccessDeniedError, BucketNotFoundError
    from pfa_flux.setup.discovery import domains

    settings = dialogue.draft.settings()
    if settings.pixel.domains or "domains" in dialogue.given:
        return ()
    with connect(settings) as analytics:
        try:
            found, more = domains(analytics)
        except (AccessDeniedError, BucketNotFoundError):
            return ()
    if found and not dialogue.asking:
        flags = " ".join(f"--domain {name}" for name in found)
        rest = f" and {more} more" if more else ""
        dialogue.say(f"viewed in the last 30 days: {', '.join(found)}{rest}")
        dialogue.say(f"left: all domains count until some are named: {flags}")
    return found


def propose_tasks(dialogue: Dialogue) -> bool:
    """Propose to take over tasks of other hands that downsample the same. Whether that was agreed to."""
    from pfa_flux import connect

    adopt = False
    with connect(dialogue.draft.settings()) as analytics:
        tasks = [analytics.task(side) for side in dialogue.draft.settings().task.sides]
        for task in tasks:
            planned = task.plan()
            if planned.state == "foreign" and dialogue.asking:
                words = f"{planned.task!r} ({planned.ids[0]}): {planned.words}. Take it over, with its id and its rows?"
                adopt |= typer.confirm(words, default="published" in planned.words, err=True)
            for other in task.backend.neighbours() if planned.state != "duplicates" else ():
                adopt |= _neighbour(dialogue, task, other, free=planned.state == "create")
    return adopt


def _neighbour(dialogue: Dialogue, task: Task, other: Neighbour, *, free: bool) -> bool:
    """Whether a task of another name is taken over, as the one of this side; else what to do about it is said."""
    if not other.active:
        return False
    key = "task_name" if task.spec.what is Side.HITS else "loads_task_name"
    what = "page views" if task.spec.what is Side.HITS else "page loads"
    form = ", in the form that the idea was published in" if other.origin == "original" else ""
    words = f"the task {other.name!r} ({other.id}) downsamples the same {what}{form}"
    take = f'{key} = "{other.name}" under [schema], then pfa-flux init --adopt'
    question = f"{words[0].upper()}{words[1:]}. Take it over, with its id and its rows?"
    may = dialogue.asking and free and other.origin == "original"
    if may and typer.confirm(question, default=True, err=True):
        dialogue.draft = replace(dialogue.draft, names={**dialogue.draft.names, key: other.name})
        return True
    dialogue.say(f"warning: {words}, and both would write; disable one of them, or take it over: {take}")
    return False
