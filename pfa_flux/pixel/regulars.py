"""Stores the pages of earlier days in a file, `data_dir`/pages.json.

With it, the pages are still known after a restart, even during a flood. The file has only what is stored about hits
anyway: pages with domain and scheme, and the number of days and minutes with hits. If it cannot be read, only this
knowledge is lost.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from pfa_flux.engines.directory import give
from pfa_flux.errors import StoreError
from pfa_flux.foreign import place
from pfa_flux.pixel.hit import HIT, LOAD, LONGEST_PAGE, View
from pfa_flux.pixel.pages import Regular

log = logging.getLogger("pfa_flux")

NAME = "pages.json"
_FORMAT = 1
_MOST_BYTES = 64 * 1024 * 1024
_LARGEST = 2**31


def load(directory: Path) -> list[Regular]:
    """The saved pages; empty if there is no readable file."""
    try:
        handle = os.open(directory / NAME, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as stream:
            document = json.loads(stream.read(_MOST_BYTES))
        if document["format"] != _FORMAT:
            raise ValueError
        return [_regular(*row) for row in document["pages"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        log.warning("%s cannot be read (%s), so pages of earlier days are unknown", directory / NAME, place(error))
        return []


def _regular(kind: str, scheme: str, domain: str, page: str, days: int, minutes: int, day: int) -> Regular:
    texts = scheme, domain, page
    numbers = days, minutes, day
    if kind not in (HIT, LOAD) or not all(isinstance(text, str) and text.isprintable() for text in texts):
        raise ValueError
    if len(page) > LONGEST_PAGE or not all(isinstance(each, int) and 0 <= each < _LARGEST for each in numbers):
        raise ValueError
    return Regular(View(kind, *texts), *numbers)


def save(directory: Path, regulars: Sequence[Regular]) -> None:
    """Save the pages. The file is replaced as a whole or not at all."""
    rows = [[*each.view, each.days, each.minutes, each.day] for each in regulars]
    path = directory / NAME
    temporary = path.with_name(f".{NAME}.new")
    try:
        temporary.unlink(missing_ok=True)
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump({"format": _FORMAT, "pages": rows}, stream, ensure_ascii=False, separators=(",", ":"))
        give(temporary)
        temporary.replace(path)
    except (OSError, StoreError) as error:
        log.warning("%s cannot be written: %s", path, error)
