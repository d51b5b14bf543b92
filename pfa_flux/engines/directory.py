"""The data directory: only its owner may use it, and one process at a time writes to it.

Commands of root also work in the directory of the service, which belongs to another user. This user must not be able to
redirect root to other files. So in another user's directory, pfa-flux opens no link and no file of a third user, and it
gives files that root creates there to the owner of the directory.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import time
from pathlib import Path
from typing import Any

from pfa_flux.errors import StoreError

_OWN = ("pfa-flux.sqlite3", "lock", "spool.", "state.")
"""Prefixes of the files in a data directory."""


def take_lock(path: Path, patience: float = 0.0) -> int:
    """Lock a file for this process, and return its handle. Waits up to `patience` seconds.

    Raises:
        StoreError: another process has the lock, or `open_file` refuses the file.
    """
    handle = open_file(path)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            if time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            holder = os.read(handle, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            raise StoreError(
                f"process {holder} is writing to {path.parent}",
                "Wait for this process, stop it, or use another data directory. You can read at the same time. "
                "If it is pfa-flux serve, it runs due tasks by itself.",
            ) from error
    os.truncate(handle, 0)
    os.write(handle, f"{os.getpid()}\n".encode())
    return handle


def open_file(path: Path) -> int:
    """Open a file in a data directory, or create it, and return its handle.

    Raises:
        StoreError: the directory belongs to another user, and the file is a link or belongs to a third user.
        OSError: as in os.open.
    """
    owner = _other_owner(path.parent)
    if owner is None:
        return os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    _checked(path, owner)
    try:
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise _refused(path, owner) from error
    try:
        state = os.fstat(handle)
        if not _may_open(state, owner):
            raise _refused(path, owner)
        if os.geteuid() == 0 and state.st_uid != owner.st_uid:
            os.fchown(handle, owner.st_uid, owner.st_gid)
    except BaseException:
        os.close(handle)
        raise
    return handle


def connect(path: Path, mode: str = "rwc", **options: Any) -> sqlite3.Connection:
    """Connect to an SQLite file in a data directory.

    Args:
        path: the file.
        mode: ro, rw, or rwc, which creates a missing file.
        options: as in sqlite3.connect.

    Raises:
        StoreError: as in `open_file`.
        sqlite3.Error: the file cannot be opened.
    """
    address, owner = f"{path.absolute().as_uri()}?mode={mode}", _other_owner(path.parent)
    if mode == "rwc" and not path.exists():
        # Created before SQLite opens it, so that others cannot read it even for a moment.
        os.close(open_file(path))
    if owner is None:
        made: sqlite3.Connection = sqlite3.connect(address, uri=True, **options)
        return made
    # SQLite does not follow links for its own files, but a third user may own its log.
    for end in ("-wal", "-shm", "-journal"):
        _checked(path.with_name(path.name + end), owner)
    checked = _checked(path, owner)
    if checked is not None and checked.st_uid != owner.st_uid:
        give(path)
    before = _open_files()
    connection: sqlite3.Connection = sqlite3.connect(address, uri=True, **options)
    # SQLite opens a file by name: since the check, somebody may have replaced the file with a link.
    opened = [state for handle, state in _open_files().items() if handle not in before]
    if not all(checked is not None and os.path.samestat(checked, state) for state in opened):
        connection.close()
        raise _refused(path, owner)
    return connection


def give(path: Path) -> None:
    """Give a file that root created in another user's directory to that user.

    Raises:
        StoreError: as in `open_file`.
    """
    if _other_owner(path.parent) is not None:
        os.close(open_file(path))


def _other_owner(folder: Path) -> os.stat_result | None:
    """State of a directory if a user other than root and this one may create files in it. Otherwise None."""
    try:
        state = folder.stat()
    except FileNotFoundError:
        return None
    return state if state.st_uid not in {0, os.geteuid()} or state.st_mode & stat.S_IWOTH else None


def _checked(path: Path, owner: os.stat_result) -> os.stat_result | None:
    """State of a file, or None if there is no file.

    Raises:
        StoreError: pfa-flux must not open the file.
    """
    try:
        state = path.lstat()
    except FileNotFoundError:
        return None
    if not _may_open(state, owner):
        raise _refused(path, owner)
    return state


def _may_open(state: os.stat_result, owner: os.stat_result) -> bool:
    """Whether the file belongs to the directory's owner, or to this user without hard links in other places."""
    ours = state.st_uid == os.geteuid() and state.st_nlink == 1
    return stat.S_ISREG(state.st_mode) and (state.st_uid == owner.st_uid or ours)


def _refused(path: Path, owner: os.stat_result) -> StoreError:
    return StoreError(
        f"pfa-flux does not open {path}: it is a link, or it does not belong to user {owner.st_uid}, who owns the "
        "directory",
        "Check the file with ls -l. pfa-flux creates no links there. Remove files that are not from pfa-flux.",
    )


def _open_files() -> dict[int, os.stat_result]:
    """Open files of this process by their handles."""
    states = {}
    for each in Path("/proc/self/fd").iterdir():
        try:
            states[int(each.name)] = os.fstat(int(each.name))
        except OSError:
            # The handle of this listing is closed by now.
            continue
    return states


def locked_directory(path: Path, name: str, patience: float = 0.0) -> int:
    """Make `path` a private directory and take a lock in it. Returns the handle of the lock.

    Raises:
        StoreError: `private_directory` refuses the directory, or another process has the lock.
    """
    private_directory(path)
    return take_lock(path / name, patience)


def private_directory(path: Path) -> None:
    """Make `path` a directory that only its owner can enter (0700).

    Raises:
        StoreError: others can enter the directory, and it belongs to another user or has files of other programs.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_mode & 0o077:
            others = [entry.name for entry in path.iterdir() if not entry.name.startswith(_OWN)]
            if not others and path.stat().st_uid != os.geteuid():
                raise StoreError(
                    f"other users can enter the data directory {path}, and it belongs to another user",
                    f"As that user or root, run: chmod 700 {path}",
                )
            if others:
                raise StoreError(
                    f"other users can enter the data directory {path}, and it has other files "
                    f"({', '.join(others[:3])})",
                    "Set PFA_FLUX_DATA_DIR to a directory for pfa-flux only.",
                )
            path.chmod(0o700)
    except OSError as error:
        raise StoreError(
            f"the data directory {path} cannot be created: {error}", "Set PFA_FLUX_DATA_DIR to another directory."
        ) from error
