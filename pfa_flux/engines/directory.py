"""The data directory: for its owner alone, and written to by one process at a time."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from pfa_flux.errors import StoreError

_OWN = ("pfa-flux.sqlite3", "lock", "spool.", "state.")
"""How the names of the files in a data directory begin."""


def take_lock(path: Path, patience: float = 0.0) -> int:
    """Handle of a lock file, locked for this process; waits for `patience` seconds.

    Raises:
        StoreError: another process holds it.
    """
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
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
            if others or path.stat().st_uid != os.geteuid():
                raise StoreError(
                    f"the data directory {path} is open to others and holds other things ({', '.join(others[:3])})",
                    "Name a directory of its own with PFA_FLUX_DATA_DIR.",
                )
            path.chmod(0o700)
    except OSError as error:
        raise StoreError(
            f"the data directory {path} cannot be made: {error}", "Name another with PFA_FLUX_DATA_DIR."
        ) from error
