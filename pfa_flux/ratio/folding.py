"""Names stored in other forms than the canonical one. Filters find them, and answers sum them under one name.

Other writers and version 0.1 stored such names. A task cannot change them, because downsampled rows keep the tags of
raw data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

from pfa_flux import names
from pfa_flux.engines.ask import Below, Forms, Rows, Sums, Where
from pfa_flux.engines.base import Engine
from pfa_flux.ratio.answer_warning import AnswerWarning
from pfa_flux.ratio.phrasing import plain
from pfa_flux.ratio.question import Question
from pfa_flux.settings import Settings
from pfa_flux.settings.rules import Rules


class Folding:
    """Folds the names of one question into their canonical forms, and records which it folded."""

    def __init__(self, settings: Settings, question: Question) -> None:
        rules = Rules(settings.pixel)
        self._question, self._selects = question, cache(question.selects)
        self._forms: dict[str, Callable[[str], str]] = {"domain": cache(rules.domain), "page": cache(rules.stored_page)}
        self._masks = settings.pixel.masks
        self._folded: dict[tuple[str, str], str] = {}

    def where(self, engine: Engine, rows: Iterable[Rows]) -> Where:
        """Filters that find every stored form of the requested names.

        A pattern in the query finds the forms of a domain. The forms of a page depend on the settings, so the stored
        values are read first.
        """
        domains = (*map(self._form_of, self._question.exact), *map(Below, self._question.below))
        if not self._question.pages:
            return {"domain": domains, "page": ()}
        span = self._question.start, self._question.stop
        stored = {value for each in dict.fromkeys(rows) for value in engine.tag_values(each, "page", *span)}
        forms = {value: form for value in stored if (form := self._forms["page"](value)) in self._question.pages}
        # The tag may be missing from rows of an answer.
        self._folded |= {("page", value): form for value, form in forms.items() if value != form}
        return {"domain": domains, "page": tuple(sorted({*self._question.pages, *forms}))}

    def domains_before(self, engine: Engine, rows: Rows, stop: int) -> Where | None:
        """Filters without patterns for the domains of rows before an instant; None if there are none."""
        if not self._question.domains:
            return {}
        stored = engine.tag_values(rows, "domain", 0, stop)
        matching = tuple(sorted(value for value in stored if self._selects(self._forms["domain"](value))))
        return {"domain": matching} if matching else None

    @staticmethod
    def _form_of(domain: str) -> str | Forms:
        """A pattern for the forms of a domain. A value that is not a domain has no other form."""
        return Forms(domain) if names.domain_and_port(domain) == domain else domain

    def sums(self, sums: Sums, tags: tuple[str, ...]) -> Sums:
        """Sums under canonical names, for the requested domains."""
        chosen = bool(self._question.domains)
        forms = [
            {value: self._forms[tag](value) for value in {values[place] for values in sums}}
            for place, tag in enumerate(tags)
        ]
        plain = all(value == form for by_value in forms for value, form in by_value.items())
        if plain and (not chosen or all(map(self._selects, forms[0]))):
            return sums
        folded: Sums = {}
        for values, windows in sums.items():
            key = tuple([by_value[value] for by_value, value in zip(forms, values, strict=True)])
            if chosen and not self._selects(key[0]):
                continue
            if key != values:
                pairs = zip(tags, values, key, strict=True)
                self._folded |= {(tag, value): form for tag, value, form in pairs if value != form}
            there = folded.setdefault(key, windows)
            if there is not windows:
                for window, value in windows.items():
                    there[window] += value
        return folded

    @property
    def warnings(self) -> tuple[AnswerWarning, ...]:
        """Rows have other forms of a domain or page; they are counted as one.

        Nothing has to be done: the figures are right.
        """
        if not self._folded:
            return ()
        count = len(self._folded)
        names = "name was another form" if count == 1 else "names were other forms"
        # A mask may hide a secret.
        shown = [(stored, form) for (_, stored), form in self._folded.items() if form not in self._masks]
        example = ", such as {} of {}".format(*map(plain, min(shown))) if shown else ""
        return (
            AnswerWarning(
                "names_folded",
                f"{count} stored {names} of a domain or page{example}. Counted under the canonical name.",
            ),
        )
