"""What the pixel needs of a journal. `pfa_flux.journal` has two that do it."""

from __future__ import annotations

from typing import Protocol

from pfa_flux.pixel.pages import Page


class Busy(Exception):  # noqa: N818 - not an error: the commit is tried again
    """The journal is being written to by another process just now."""


class Journal(Protocol):
    """Where hits are kept before they are answered."""

    def commit(self, pages: list[Page], now: int) -> None:
        """Keep a hit of each page, for good. Pages are of hits and loads, or of prefetches alone.

        Raises:
            Busy: not now. OSError: it cannot be written to; the words say why, and name nothing that a client sent.
        """
