"""What is wrong with settings: all of it, in the order in which it was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pfa_flux.errors import PfaFluxError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        key: the setting that it is about, `pixel.listen` for one in a table; a variable's name where no setting has
            it; empty for a whole file.
        error: what to raise, with what to do.
    """

    key: str
    error: PfaFluxError


class Problems:
    """Collects what is wrong, so that one look finds all of it."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    @contextmanager
    def of(self, key: str) -> Iterator[None]:
        """Keep an error that is raised inside as one of that key."""
        try:
            yield
        except PfaFluxError as error:
            self.found.append(Problem(key, error))

    def none_of(self, *keys: str) -> bool:
        """Whether nothing is wrong with these keys, so that they can be compared with each other."""
        return not {problem.key for problem in self.found} & set(keys)


def meant(word: str, known: Iterable[str], *, prefix: str = "", shown: Callable[[str], str] = repr) -> str:
    """The beginning of a hint, `Did you mean 'url'? `, for a word that is unknown; empty where none is close.

    Args:
        word: the word.
        known: those that there are.
        prefix: what all begin with, so that it makes none like another.
        shown: writes the one that may be meant.
    """
    from difflib import get_close_matches

    names = {_plain(name.removeprefix(prefix)): name for name in known}
    close = get_close_matches(_plain(word.removeprefix(prefix)), names, n=1, cutoff=0.6)
    return f"Did you mean {shown(names[close[0]])}? " if close else ""


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")
