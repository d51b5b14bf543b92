"""The www name of a domain, or the bare name of a www domain. A name that is not listed does not count."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pfa_flux.cli.setup.dialogue import Dialogue


def propose_twins(dialogue: Dialogue) -> None:
    """Propose missing twins for the domains and sites of the draft, or print them."""
    from pfa_flux.setup.draft import covered, www_twin

    settings = dialogue.draft.settings()
    counted = settings.pixel.domains
    named = dict.fromkeys((*counted, *(name for names in settings.sites.values() for name in names)))
    pairs = {twin: name for name in named if (twin := www_twin(name)) and not covered(twin, list(named))}
    if not pairs:
        return
    names = ", ".join(pairs)
    if not dialogue.interactive:
        dialogue.say(f"not counted: {names}. If visitors use this name too, add it with --site or --domain")
        return
    if not typer.confirm(f"Count {names} too?", default=True, err=True):
        return
    draft = dialogue.draft
    for site, domains in settings.sites.items():
        more = tuple(twin for twin, name in pairs.items() if name in domains)
        if more:
            draft = replace(draft, sites={**draft.sites, site: (*domains, *more)})
    # Without a list, all domains count.
    dialogue.draft = draft.with_domains(list(pairs)) if counted else draft
