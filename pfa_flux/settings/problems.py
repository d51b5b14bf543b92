"""A collection of everything that is wrong with the settings, in the order of the checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pfa_flux.errors import PfaFluxError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        key: the setting, such as `pixel.listen`; the variable's name if no setting has that variable; empty for the
            file as a whole.
        error: the error to raise.
    """

    key: str
    error: PfaFluxError


class Problems:
    """Collects errors, so that one run reports all of them."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    @contextmanager
    def of(self, key: str) -> Iterator[None]:
        """Keep an error that is raised inside as a problem of the key."""
        try:
            yield
        except PfaFluxError as error:
            self.found.append(Problem(key, error))

    def none_of(self, *keys: str) -> bool:
        """Whether all these keys are right, so that you can compare their values."""
        return not {problem.key for problem in self.found} & set(keys)


def meant(word: str, known: Iterable[str], *, prefix: str = "", shown: Callable[[str], str] = repr) -> str:
    """The start of a hint for an unknown word, `Did you mean 'url'? `. Empty if no known word is similar.

    Args:
        word: the unknown word.
        known: the known words.
        prefix: what all known words begin with. It does not count as similarity.
        shown: formats the suggested word.
    """
    from difflib import get_close_matches

    names = {_plain(name.removeprefix(prefix)): name for name in known}
    close = get_close_matches(_plain(word.removeprefix(prefix)), names, n=1, cutoff=0.6)
    return f"Did you mean {shown(names[close[0]])}? " if close else ""


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")
