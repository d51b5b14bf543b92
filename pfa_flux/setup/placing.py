"""Files that `pfa-flux init --write` writes, and a manifest by which `--remove` undoes it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pfa_flux.errors import PfaFluxError
from pfa_flux.settings import Settings
from pfa_flux.settings.file import config_home
from pfa_flux.setup import systemd
from pfa_flux.setup.nginx import Part, configuration
from pfa_flux.setup.staging import File, missing_folders
from pfa_flux.setup.tags import tags

NGINX = Path("/etc/nginx")
UNITS = Path("/etc/systemd/system")


Undone = Literal["removed", "restored", "its line removed", "kept: changed since", "gone already"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of the files.

    Attributes:
        http: nginx's part for `http { }`.
        server: nginx's part for `server { }`.
        unit: the systemd unit.
        page: the tags for the pages.
        user: the files and the unit belong to an ordinary user.
    """

    http: Path
    server: Path
    unit: Path
    page: Path
    user: bool

    @classmethod
    def of_machine(cls, config: Path, nginx: Path = NGINX, units: Path = UNITS) -> Layout:
        """Paths for root: in the directories of nginx and systemd.

        Raises:
            PfaFluxError: there is no nginx.
        """
        if not nginx.is_dir():
            raise PfaFluxError(f"there is no {nginx}", "Install nginx, or name its directory with --nginx-dir.")
        name = "pfa-flux.conf"
        return cls(nginx / "conf.d" / name, nginx / "snippets" / name, units / systemd.NAME, _page(config), user=False)

    @classmethod
    def of_user(cls, config: Path, environ: Mapping[str, str], units: Path | None = None) -> Layout:
        """Paths for a user: next to the settings, and in the directory of the user's systemd."""
        unit = (units or config_home(environ) / "systemd" / "user") / systemd.NAME
        own = config.parent
        return cls(own / "nginx-http.conf", own / "nginx-server.conf", unit, _page(config), user=True)

    def files(self, settings: Settings, place: systemd.Place) -> list[File]:
        """The files to write."""
        pixel, unit = settings.pixel, systemd.user_unit if self.user else systemd.unit
        return [
            File(self.http, configuration(pixel, part=Part.HTTP), 0o644),
            File(self.server, configuration(pixel, part=Part.SERVER), 0o644),
            File(self.unit, unit(settings, place), 0o644),
            File(self.page, f"{tags(pixel)}\n", 0o644),
        ]


def _page(config: Path) -> Path:
    return config.with_name("page.html")


@dataclass(frozen=True, slots=True)
class _Written:
    """A file that was written.

    Attributes:
        checksum: checksum of its content.
        before: its previous text; None if the file is new.
        line: the line that was added to another program's file; empty if pfa-flux wrote the whole file.
    """

    checksum: str
    before: str | None = None
    line: str = ""

    def is_still(self, path: Path) -> bool:
        """The file has not changed since it was written."""
        try:
            return not path.is_symlink() and _checksum(path.read_bytes()) == self.checksum
        except OSError:
            return False


@dataclass(frozen=True)
class Manifest:
    """Files that `--write` has written.

    Attributes:
        path: the manifest's own file, next to the settings.
        files: written files, by path.
        folders: directories that were created for them, outer ones first.
    """

    path: Path
    files: Mapping[Path, _Written] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()

    @classmethod
    def of(cls, config: Path) -> Manifest:
        """The manifest next to a settings file; empty if there is none.

        Raises:
            PfaFluxError: it belongs to another user, or cannot be read.
        """
        path = config.with_suffix(".written.json")
        try:
            if path.lstat().st_uid not in {0, os.geteuid()}:
                raise PfaFluxError(f"{path} belongs to another user", "Remove it, or run this as that user.")
            document = json.loads(path.read_bytes())
            files = {Path(name): _Written(**each) for name, each in document["files"].items()}
            return cls(path, files, tuple(map(Path, document["folders"])))
        except (FileNotFoundError, NotADirectoryError):
            return cls(path)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise PfaFluxError(
                f"{path} is not a readable list of written files", "Check the file's permissions and content."
            ) from error

    def check(self, files: Sequence[File]) -> None:
        """Check that writing would overwrite only files of pfa-flux that are unchanged since.

        Raises:
            PfaFluxError: it would overwrite another file.
        """
        for file in files:
            known = self.files.get(file.path)
            foreign = not file.line and (known is None or not known.is_still(file.path))
            if os.path.lexists(file.path) and file.action != "unchanged" and foreign:
                raise PfaFluxError(
                    f"{file.path} was not written by pfa-flux, or was changed since. Nothing was written",
                    "Move it away and run this again. Then copy what you need from it.",
                )

    def with_written(self, files: Sequence[File], *, new: Sequence[File]) -> Manifest:
        """The manifest as it is once `files` are written.

        Args:
            files: all files. Entries of these files are updated.
            new: files to add to the manifest, unless they exist with the same content.
        """
        entries = dict(self.files)
        for file in files:
            known = entries.get(file.path)
            if known is not None and known.is_still(file.path):
                entries[file.path] = replace(known, checksum=_checksum(file.text.encode()))
            elif file in new and file.action != "unchanged":
                entries[file.path] = _Written(_checksum(file.text.encode()), _text(file.path), file.line)
        missing = [each for file in files for each in missing_folders(file.path.parent)]
        return replace(self, files=entries, folders=tuple(dict.fromkeys((*self.folders, *missing))))

    def as_file(self) -> File:
        """The manifest as a file. It may contain earlier settings."""
        document = {
            "files": {
                str(path): {"checksum": each.checksum, "before": each.before, "line": each.line}
                for path, each in self.files.items()
            },
            "folders": [str(path) for path in self.folders],
        }
        return File(self.path, f"{json.dumps(document, indent=1)}\n", 0o600)

    def put_back(self, before: Manifest, paths: Sequence[Path]) -> None:
        """Save the manifest, with the entries of `paths` as they were in an earlier one."""
        kept = {path: each for path, each in self.files.items() if path not in paths}
        kept |= {path: each for path, each in before.files.items() if path in paths}
        self.path.write_bytes(replace(self, files=kept).as_file().text.encode())

    def undo(self) -> dict[Path, Undone]:
        """Remove or restore the written files. Files that were changed since stay, also in the manifest.

        Raises:
            OSError: a file cannot be removed or restored.
        """
        done: dict[Path, Undone] = {}
        for path, written in self.files.items():
            if not os.path.lexists(path):
                done[path] = "gone already"
            elif written.line and (not written.is_still(path) or written.line in (written.before or "")):
                _remove_line(path, written.line)
                done[path] = "its line removed"
            elif not written.is_still(path):
                done[path] = "kept: changed since"
            elif written.before is None:
                path.unlink()
                done[path] = "removed"
            else:
                path.write_bytes(written.before.encode())
                done[path] = "restored"
        kept = {path: self.files[path] for path, what in done.items() if what.startswith("kept")}
        if kept:
            self.path.write_bytes(replace(self, files=kept).as_file().text.encode())
            return done
        self.path.unlink()
        for folder in reversed(self.folders):
            # A directory that contains other files stays.
            with contextlib.suppress(OSError):
                folder.rmdir()
        return done


def _remove_line(path: Path, line: str) -> None:
    """Remove a line from a file that was changed after the line was added."""
    lines = path.read_bytes().decode().splitlines(keepends=True)
    path.write_bytes("".join(each for each in lines if each.strip() != line).encode())


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _text(path: Path) -> str | None:
    return path.read_bytes().decode() if path.exists() else None
