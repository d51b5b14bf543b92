"""Files outside the data directory: written as a whole, and trusted only if nobody else can have planted them."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path

from pfa_flux.errors import PfaFluxError, UntrustedFileError


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there as a whole or as before. A link that another user has made is not followed.

    Raises:
        PfaFluxError: it is such a link. OSError: it cannot be written.
    """
    if path.is_symlink():
        _refuse_link(path)
        path = path.resolve()
    data = text.encode("utf-8")
    if path.exists() and not path.is_file():
        # A device or pipe, which is not replaced.
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
    """Write a file under another name beside its own, with the owner of the file that it is to replace.

    Args:
        path: its own name.
        data: what is in it.
        mode: its rights; None for those of the file that it is to replace, or else by the umask.

    Returns:
        The other name. Without the file, if it cannot be written, which raises an OSError.
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
        raise PfaFluxError(
            f"{path} is a link of another user and is not followed", "Remove it, or choose another file."
        )


def _as_before(path: Path, handle: int, mode: int | None) -> None:
    """Give a file the owner of the one that it replaces, and a mode; None for that of the one that it replaces."""
    with contextlib.suppress(FileNotFoundError):
        before = path.lstat()
        # Who has made a link here is not to be given a token for it.
        if stat.S_ISREG(before.st_mode):
            with contextlib.suppress(OSError):
                os.fchown(handle, before.st_uid, before.st_gid)
            mode = before.st_mode & 0o777 if mode is None else mode
    if mode is not None:
        os.fchmod(handle, mode)


def _write_over(path: Path, data: bytes) -> None:
    """Write to a file that is there, in a directory where none can be made."""
    handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    with os.fdopen(handle, "wb") as stream:
        stream.truncate()
        stream.write(data)


def read_found(path: Path) -> bytes:
    """What is in a settings file that was found in the working directory, and not named.

    Raises:
        UntrustedFileError: it, or the link that leads to it, is another user's, or others may write to it. OSError: it
            cannot be read.
    """
    remedy = f"If it is right, name it: --config {path}. Else remove it, or work in another directory."
    # A group of one's own is what most systems give a user, and lets nobody else in.
    return _read_checked(path, "was found here, and ", remedy, {0, os.getegid()})


def read_system(path: Path) -> bytes:
    """What is in the machine's settings file, which every user believes.

    Raises:
        UntrustedFileError: the file, a link that leads to it, or its directory is neither root's nor this user's, or
            others may write to it. OSError: it cannot be read.
    """
    remedy = f"If it is right, make it root's: chown root {path.parent} {path}. Or name it: --config {path}."
    how = "holds this machine's settings, and "
    _check_owner(path.parent, (path.parent.stat(),), how, remedy, {0})
    return _read_checked(path, how, remedy, {0})


def _read_checked(path: Path, how: str, remedy: str, groups: set[int]) -> bytes:
    link = path.lstat()
    handle = os.open(path, os.O_RDONLY | (0 if stat.S_ISLNK(link.st_mode) else os.O_NOFOLLOW))
    with os.fdopen(handle, "rb") as stream:
        _check_owner(path, (link, os.fstat(handle)), how, remedy, groups)
        return stream.read()


def _check_owner(path: Path, states: Sequence[os.stat_result], how: str, remedy: str, groups: set[int]) -> None:
    """Refuse what others than root, this user and the groups may have written; the last state is the file's own."""
    others = {each.st_uid for each in states} - {0, os.geteuid()}
    if others:
        raise UntrustedFileError(f"{path} {how}is another user's (uid {min(others)})", remedy)
    file = states[-1]
    if file.st_mode & (stat.S_IWOTH if file.st_gid in groups else stat.S_IWOTH | stat.S_IWGRP):
        raise UntrustedFileError(f"{path} {how}others may write to it", f"chmod go-w {path}. {remedy}")
