"""Files that are written together. All are complete under temporary names before the first is put in place."""

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
    """A file to write.

    Attributes:
        path: its path.
        text: its content.
        mode: its permissions, from the moment it exists.
        line: the line added to another program's file; empty if pfa-flux writes the whole file.
    """

    path: Path
    text: str
    mode: int
    line: str = ""

    @property
    def action(self) -> str:
        """Effect of writing it: written (new), changed, or unchanged."""
        try:
            if self.path.read_bytes() != self.text.encode():
                return "changed"
            return "changed" if self.path.stat().st_mode & 0o007 & ~self.mode else "unchanged"
        except OSError:
            # It does not exist, or cannot be read. In the second case, writing will fail.
            return "written"


@contextmanager
def staged(wanted: Sequence[File]) -> Iterator[Callable[[], None]]:
    """Write files under temporary names. The yielded call puts them in place; without it, they are removed.

    Raises:
        PfaFluxError: a file cannot be written.
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
                f"{file.path} cannot be written: {error.strerror or error}", "Choose another place with --config."
            ) from error
        yield put
    finally:
        for temporary, _ in waiting:
            temporary.unlink(missing_ok=True)
        for folder in reversed(folders):
            with contextlib.suppress(OSError):
                folder.rmdir()


def missing_folders(path: Path) -> list[Path]:
    """The folder and its parents that do not exist, outer ones first."""
    return [folder for folder in (path, *path.parents) if not folder.exists()][::-1]


def _make_folder(path: Path) -> list[Path]:
    missing = missing_folders(path)
    for folder in missing:
        folder.mkdir(mode=0o755)
    return missing
