"""The data directory: for its owner alone, and written to by one process at a time.

Its owner may be another user than ours: root's commands work in the directory of the service. What that user lays there
must not lead root elsewhere, so in such a directory nothing is opened through a link, and no file of a third user is;
what root makes there is given to its owner.
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
"""How the names of the files in a data directory begin."""


def take_lock(path: Path, patience: float = 0.0) -> int:
    """Handle of a lock file, locked for this process; waits for `patience` seconds.

    Raises:
        StoreError: another process holds it, or it is not to be opened, as of `open_file`.
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
                f"{path.parent} is being written to by process {holder}",
                "Wait for it or stop it, or use another data directory; reading goes on beside it. If it is pfa-flux "
                "serve: that runs what is due by itself.",
            ) from error
    os.truncate(handle, 0)
    os.write(handle, f"{os.getpid()}\n".encode())
    return handle


def open_file(path: Path) -> int:
    """Handle of a file of a data directory, which is made if it is not there.

    Raises:
        StoreError: the directory is another user's, and the file is a link or a third user's. OSError: as of os.open.
    """
    owner = _other_owner(path.parent)
    if owner is None:
        return os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    _look_at(path, owner)
    try:
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise _refused(path, owner) from error
    try:
        found = os.fstat(handle)
        if not _may_open(found, owner):
            raise _refused(path, owner)
        if os.geteuid() == 0 and found.st_uid != owner.st_uid:
            os.fchown(handle, owner.st_uid, owner.st_gid)
    except BaseException:
        os.close(handle)
        raise
    return handle


def connect(path: Path, mode: str = "rwc", **options: Any) -> sqlite3.Connection:
    """Connection to an SQLite file of a data directory.

    Args:
        path: the file.
        mode: ro, rw, or rwc: it is made if it is not there.
        options: as of sqlite3.connect.

    Raises:
        StoreError: as of `open_file`. sqlite3.Error: it cannot be opened.
    """
    address, owner = f"{path.absolute().as_uri()}?mode={mode}", _other_owner(path.parent)
    if mode == "rwc" and not path.exists():
        # Made before SQLite opens it, so that it is never readable for others, not even for a moment.
        os.close(open_file(path))
    if owner is None:
        made: sqlite3.Connection = sqlite3.connect(address, uri=True, **options)
        return made
    # SQLite itself opens no link by the names that it adds; but its log may be a third user's, too.
    for end in ("-wal", "-shm", "-journal"):
        _look_at(path.with_name(path.name + end), owner)
    found = _look_at(path, owner)
    if found is not None and found.st_uid != owner.st_uid:
        give(path)
    before = _open_files()
    connection: sqlite3.Connection = sqlite3.connect(address, uri=True, **options)
    # SQLite opens by name alone: between the look and that, a link may have been put in the file's place.
    opened = [state for handle, state in _open_files().items() if handle not in before]
    if not all(found is not None and os.path.samestat(found, state) for state in opened):
        connection.close()
        raise _refused(path, owner)
    return connection


def give(path: Path) -> None:
    """Give a file that root has made in another user's directory to that user.

    Raises:
        StoreError: as of `open_file`.
    """
    if _other_owner(path.parent) is not None:
        os.close(open_file(path))


def _other_owner(folder: Path) -> os.stat_result | None:
    """A directory's state if another user, who is not root, may lay things in it; None if not, or if there is none."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return None
    return found if found.st_uid not in {0, os.geteuid()} or found.st_mode & stat.S_IWOTH else None


def _look_at(path: Path, owner: os.stat_result) -> os.stat_result | None:
    """State of a file, None where there is none.

    Raises:
        StoreError: it is not to be opened.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    if not _may_open(found, owner):
        raise _refused(path, owner)
    return found


def _may_open(found: os.stat_result, owner: os.stat_result) -> bool:
    """It is a file of the directory's owner, or one of ours with no other name, which may be elsewhere."""
    ours = found.st_uid == os.geteuid() and found.st_nlink == 1
    return stat.S_ISREG(found.st_mode) and (found.st_uid == owner.st_uid or ours)


def _refused(path: Path, owner: os.stat_result) -> StoreError:
    return StoreError(
        f"{path} is not opened: it is a link, or not a file of user {owner.st_uid}, whose directory it is in",
        "Look at it with ls -l. pfa-flux makes no links there: remove what is not its own.",
    )


def _open_files() -> dict[int, os.stat_result]:
    """Files that this process has open, by their handles."""
    found = {}
    for each in Path("/proc/self/fd").iterdir():
        try:
            found[int(each.name)] = os.fstat(int(each.name))
        except OSError:
            # The listing's own.
            continue
    return found


def locked_directory(path: Path, name: str, patience: float = 0.0) -> int:
    """Make `path` a private directory and take a lock of its own in it. Returns the lock's handle.

    Raises:
        StoreError: it is open to others and not ours, or another process holds the lock.
    """
    private_directory(path)
    return take_lock(path / name, patience)


def private_directory(path: Path) -> None:
    """Make `path` a directory that only its owner can enter (0700).

    Raises:
        StoreError: it exists, others can enter it, and it is not a store's own, so that its rights are not ours
            to change.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_mode & 0o077:
            others = [entry.name for entry in path.iterdir() if not entry.name.startswith(_OWN)]
            if not others and path.stat().st_uid != os.geteuid():
                raise StoreError(
                    f"the data directory {path} is open to others, and another user's",
                    f"Run as that user or root: chmod 700 {path}",
                )
            if others:
                raise StoreError(
                    f"the data directory {path} is open to others and holds other things ({', '.join(others[:3])})",
                    "Name a directory of its own with PFA_FLUX_DATA_DIR.",
                )
            path.chmod(0o700)
    except OSError as error:
        raise StoreError(
            f"the data directory {path} cannot be made: {error}", "Name another with PFA_FLUX_DATA_DIR."
        ) from error
