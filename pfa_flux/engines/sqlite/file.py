"""Common code for pfa-flux's SQLite files: transactions, formats, and errors with hints."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pfa_flux.errors import StoreError


@contextmanager
def committed(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction: committed at the end of the block, or rolled back if it raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def translated(name: str) -> Iterator[None]:
    """A context that translates errors about a file.

    Raises:
        StoreError: the file cannot be used.
    """
    try:
        yield
    except (sqlite3.Error, OSError, UnicodeEncodeError) as error:
        raise StoreError(
            f"{name} cannot be used: {error}",
            "Check the owner, permissions and free space of the data directory (PFA_FLUX_DATA_DIR).",
        ) from error


def format_of(connection: sqlite3.Connection) -> int:
    """Format of the file. 0 for an empty file."""
    return int(connection.execute("PRAGMA main.user_version").fetchone()[0])


def check_format(connection: sqlite3.Connection, path: Path, oldest: int, newest: int) -> int:
    """Format of the file, if this version knows it.

    Raises:
        StoreError: the format is older than `oldest` or newer than `newest`.
    """
    number = format_of(connection)
    if not oldest <= number <= newest:
        raise StoreError(
            f"{path} has format {number}, but this version of pfa-flux reads format {newest}",
            "Use the version of pfa-flux that wrote it, or another data directory.",
        )
    return number
