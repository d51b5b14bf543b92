"""What the pixel needs from a journal. `pfa_flux.journal` has two implementations."""

from __future__ import annotations

from typing import Protocol

from pfa_flux.pixel.pages import Page


class Busy(Exception):  # noqa: N818 - not an error: the commit is tried again
    """Another process is writing to the journal."""


class Journal(Protocol):
    """Stores hits before they are answered."""

    def commit(self, pages: list[Page], now: int) -> None:
        """Store a hit for each page, durably. The pages are either hits and loads, or only prefetches.

        Raises:
            Busy: try again later. OSError: the journal cannot be written. Its text says why, and quotes no client.
        """
