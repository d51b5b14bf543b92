"""A dictionary that is limited in bytes."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Cache(dict[K, V]):
    """A dictionary with a limited size in bytes. An entry that would exceed the limit removes all others."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self._max_bytes, self._bytes = max_bytes, 0

    def add(self, key: K, value: V, size: int) -> None:
        """Add an entry. `size` is in bytes."""
        self._bytes += size
        if self._bytes > self._max_bytes:
            self.clear()
            self._bytes = size
        self[key] = value
