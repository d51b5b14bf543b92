"""Files outside the data directory: atomic writes, and reads that trust no file that another user can have written."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path

from pfa_flux.errors import PfaFluxError, UntrustedFileError


def write_whole(path: Path, text: str) -> None:
    """Replace a file atomically, if this user may write to its directory. It does not follow another user's link.

    Raises:
        PfaFluxError: the path is a link that belongs to another user.
        OSError: the file cannot be written.
    """
    if path.is_symlink():
        _refuse_link(path)
        path = path.resolve()
    data = text.encode("utf-8")
    if path.exists() and not path.is_file():
        # A device or pipe stays in place.
        path.write_bytes(data)
        return
    try:
        temporary = write_beside(path, data)
    except PermissionError:
        _write_over(path, data)
        return
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_beside(path: Path, data: bytes, mode: int | None = None) -> Path:
    """Write a new version of a file under a temporary name in the same directory. It gets the owner of the old version.

    Args:
        path: the file's name.
        data: its new content.
        mode: its permissions; None for those of the old version, or the umask's if the file is new.

    Returns:
        The temporary name.

    Raises:
        OSError: the new version cannot be written. It is removed.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666 if mode is None else mode & 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            _as_before(path, handle, mode)
            os.fsync(handle)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _refuse_link(path: Path) -> None:
    if path.lstat().st_uid not in {0, os.geteuid()}:
        raise PfaFluxError(f"{path} is a link that belongs to another user", "Remove the link, or choose another file.")


def _as_before(path: Path, handle: int, mode: int | None) -> None:
    """Give a new version the owner of the old one, and a mode; None for the mode of the old one."""
    with contextlib.suppress(FileNotFoundError):
        before = path.lstat()
        # A link may be another user's, who must not get a token by it.
        if stat.S_ISREG(before.st_mode):
            with contextlib.suppress(OSError):
                os.fchown(handle, before.st_uid, before.st_gid)
            mode = before.st_mode & 0o777 if mode is None else mode
    if mode is not None:
        os.fchmod(handle, mode)


def _write_over(path: Path, data: bytes) -> None:
    """Write to an existing file, in a directory where this user may not create files."""
    handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    with os.fdopen(handle, "wb") as stream:
        stream.truncate()
        stream.write(data)


def read_found(path: Path) -> bytes:
    """The content of a settings file that was found in the working directory.

    Raises:
        UntrustedFileError: the file, or a link to it, belongs to another user, or others may write to the file.
        OSError: the file cannot be read.
    """
    remedy = f"If you trust it, name it: --config {path}. Otherwise remove it, or work in another directory."
    # On most systems, each user has a group without other members.
    return _read_checked(path, "is in the working directory, and ", remedy, {0, os.getegid()})


def read_system(path: Path) -> bytes:
    """The content of the machine's settings file, which applies to every user.

    Raises:
        UntrustedFileError: the file, a link to it, or its directory belongs to a user other than root and this one,
            or others may write to it.
        OSError: the file cannot be read.
    """
    remedy = f"If you trust it, run: chown root {path.parent} {path}. Or name it: --config {path}."
    how = "has the machine's settings, and "
    _check_owner(path.parent, (path.parent.stat(),), how, remedy, {0})
    return _read_checked(path, how, remedy, {0})


def _read_checked(path: Path, how: str, remedy: str, groups: set[int]) -> bytes:
    link = path.lstat()
    handle = os.open(path, os.O_RDONLY | (0 if stat.S_ISLNK(link.st_mode) else os.O_NOFOLLOW))
    with os.fdopen(handle, "rb") as stream:
        _check_owner(path, (link, os.fstat(handle)), how, remedy, groups)
        return stream.read()


def _check_owner(path: Path, states: Sequence[os.stat_result], how: str, remedy: str, groups: set[int]) -> None:
    """Refuse a file that anyone except root, this user and the groups may have written.

    Args:
        path: the file, for the message.
        states: states of the links to the file, and of the file itself as the last one.
        how: start of the message.
        remedy: the hint.
        groups: groups that may write to the file.
    """
    others = {each.st_uid for each in states} - {0, os.geteuid()}
    if others:
        raise UntrustedFileError(f"{path} {how}belongs to another user (uid {min(others)})", remedy)
    file = states[-1]
    if file.st_mode & (stat.S_IWOTH if file.st_gid in groups else stat.S_IWOTH | stat.S_IWGRP):
        raise UntrustedFileError(f"{path} {how}others may write to it", f"Run: chmod go-w {path}. {remedy}")
