"""Files that are written together: all of them are ready beside their places before the first one is put there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pfa_flux.errors import PfaFluxError
from pfa_flux.files import write_beside


@dataclass(frozen=True, slots=True)
class File:
    """A file that is to be there.

    Attributes:
        path: where.
        text: what is in it.
        mode: its rights, from the moment it exists.
        line: the one line that is new in a file of another hand; empty where the file is ours as a whole.
    """

    path: Path
    text: str
    mode: int
    line: str = ""

    @property
    def action(self) -> str:
        """What has to be done: written, changed, or nothing: unchanged."""
        try:
            if self.path.read_bytes() != self.text.encode():
                return "changed"
            return "changed" if self.path.stat().st_mode & 0o007 & ~self.mode else "unchanged"
        except OSError:
            # It is not there; or cannot be, which shows when it is written.
            return "written"


@contextmanager
def staged(wanted: Sequence[File]) -> Iterator[Callable[[], None]]:
    """Files that are ready under other names beside their own, and put in their place by a call; else they go.

    Raises:
        PfaFluxError: one cannot be written.
    """
    waiting: list[tuple[Path, Path]] = []
    folders: list[Path] = []

    def put() -> None:
        while waiting:
            os.replace(*waiting.pop(0))  # noqa: PTH105 - takes a pair
        folders.clear()

    try:
        try:
            for file in wanted:
                if file.action != "unchanged":
                    folders += _make_folder(file.path.parent)
                    waiting.append((write_beside(file.path, file.text.encode(), file.mode), file.path))
        except OSError as error:
            raise PfaFluxError(
                f"{file.path} cannot be written: {error.strerror or error}", "Name another place with --config."
            ) from error
        yield put
    finally:
        for temporary, _ in waiting:
            temporary.unlink(missing_ok=True)
        for folder in reversed(folders):
            with contextlib.suppress(OSError):
                folder.rmdir()


def missing_folders(path: Path) -> list[Path]:
    """Of a folder and those that it is in, those that do not exist, outer ones first."""
    return [folder for folder in (path, *path.parents) if not folder.exists()][::-1]


def _make_folder(path: Path) -> list[Path]:
    missing = missing_folders(path)
    for folder in missing:
        folder.mkdir(mode=0o755)
    return missing
