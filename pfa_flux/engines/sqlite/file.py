"""What our SQLite files have in common: transactions, formats, and errors that say what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pfa_flux.errors import StoreError


@contextmanager
def committed(connection: sqlite3.Connection) -> Iterator[None]:
    """What is written within is committed at the end, or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Errors of a file as ours.

    Raises:
        StoreError: the file of this name cannot be used.
    """
    try:
        yield
    except (sqlite3.Error, OSError, UnicodeEncodeError) as error:
        raise StoreError(
            f"{name} cannot be used: {error}",
            "Check the directory's owner, rights and free space (PFA_FLUX_DATA_DIR).",
        ) from error


def format_of(connection: sqlite3.Connection) -> int:
    """Format of the file, 0 for an empty one."""
    return int(connection.execute("PRAGMA main.user_version").fetchone()[0])


def check_format(connection: sqlite3.Connection, path: Path, oldest: int, newest: int) -> int:
    """Format of the file, which has to be one of those that are known.

    Raises:
        StoreError: it is not.
    """
    found = format_of(connection)
    if not oldest <= found <= newest:
        raise StoreError(
            f"{path} has format {found}, this version of pfa-flux reads format {newest}",
            "Use the version of pfa-flux that wrote it, or another data directory.",
        )
    return found
