"""The source of page loads. Without one, every figure is 100%, so `pfa-flux init` asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

from pfa_flux.cli.options import note
from pfa_flux.settings.pixel import CHOICES

if TYPE_CHECKING:
    from pfa_flux.cli.setup.dialogue import Dialogue

_MENU = """\
What counts page loads, the page views that ran JavaScript?
  own      your analytics, which writes them to InfluxDB
  script   the pixel, from a script in the page
  tracker  the pixel, from the onload of your tracker's tag
  none     nothing yet: every figure will be 100%"""
OWN, SCRIPT, _, NONE = CHOICES["loads"]


def take_loads(dialogue: Dialogue, chosen: str | None, measurement: str | None, field: str | None) -> None:
    """Set the source of page loads from flags or an answer, and print their number in the last day.

    Without either, keep the value in the file.

    Raises:
        SettingsError: flags contradict each other, or a name is invalid.
    """
    from pfa_flux.errors import SettingsError

    flags = {"loads_measurement": measurement, "loads_field": field}
    named = {key: name for key, name in flags.items() if name is not None}
    if named and chosen not in {None, OWN}:
        raise SettingsError(
            f"--loads {chosen} has no measurement or field of its own", "Leave the names out, or use --loads own."
        )
    if named:
        chosen = OWN
    asked = chosen is None and dialogue.interactive
    if asked:
        chosen = _asked(dialogue)
    if chosen is not None:
        dialogue.draft = dialogue.draft.with_loads(chosen, **named)
        dialogue.draft.settings()
    if asked and chosen == OWN:
        _ask_names(dialogue)
    else:
        _tell(dialogue)


def _asked(dialogue: Dialogue) -> str:
    note(_MENU)
    pixel = dialogue.draft.settings().pixel
    if pixel.loads:
        usual = pixel.loads
    elif pixel.load_path:
        usual = SCRIPT
    elif dialogue.discovery.others or dialogue.loads_of_last_day() != 0:
        usual = OWN
    else:
        usual = NONE if dialogue.draft.text else SCRIPT
    while True:
        answer: str = typer.prompt("Page loads", default=usual, err=True).strip().lower()
        if answer in CHOICES["loads"]:
            return answer
        note(f"{answer!r} is not one of own, script, tracker and none")


def _ask_names(dialogue: Dialogue) -> None:
    """Ask for the names of the analytics' points until such points exist, or the user confirms the names."""
    from pfa_flux.errors import SettingsError

    begun = dialogue.draft
    while True:
        names = begun.settings().schema
        others = {each.measurement: each.field for each in dialogue.discovery.others}
        if others:
            note(f"Points that look like page loads: {_listed(others)}")
        usual = next(iter(others), names.loads_measurement)
        measurement = typer.prompt("Measurement", default=usual, err=True).strip()
        field = others.get(measurement, names.loads_field)
        field = typer.prompt("Field", default=field, err=True).strip()
        draft = begun.with_loads(OWN, loads_measurement=measurement, loads_field=field)
        try:
            draft.settings()
        except SettingsError as error:
            note(f"{error.message}\n{error.hint}")
            continue
        dialogue.draft = draft
        number = dialogue.loads_of_last_day()
        note(_number(dialogue, number))
        if number != 0 or typer.confirm("Use these names anyway?", default=False, err=True):
            return
        dialogue.draft = begun


def _listed(others: Mapping[str, str]) -> str:
    return ", ".join(f"{measurement} (field {field})" for measurement, field in others.items())


def _number(dialogue: Dialogue, number: int | None) -> str:
    settings = dialogue.draft.settings()
    names = settings.schema
    if number is None:
        return "page loads: not checked, because this token cannot read them"
    rows = "1 row" if number == 1 else f"{number or 'no'} rows"
    return f"page loads: {rows} of {names.loads_measurement} with the field {names.loads_field} in the last day"


def _tell(dialogue: Dialogue) -> None:
    """Print the source of page loads, and warn if there is none."""
    pixel = dialogue.draft.settings().pixel
    if pixel.load_path:
        dialogue.say(f"page loads: counted by the pixel, at {pixel.load_path}")
        return
    number = 0 if pixel.loads == NONE else dialogue.loads_of_last_day()
    if number != 0 or pixel.loads == OWN:
        dialogue.say(_number(dialogue, number))
    others = {each.measurement: each.field for each in dialogue.discovery.others}
    if number == 0 and others:
        (measurement, field), *_ = others.items()
        how = f"--loads own --loads-measurement {measurement} --loads-field {field}"
        dialogue.say(f"looks like page loads, but is not used: {_listed(others)}. To use it: {how}")
    if number == 0:
        dialogue.say(
            "warning: nothing counts page loads yet, so every figure will be 100%. To count them with the pixel: "
            "pfa-flux init --loads script"
        )
