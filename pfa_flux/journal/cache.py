"""A dictionary that is limited in bytes."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Cache(dict[K, V]):
    """A dictionary that forgets everything rather than hold more than a number of bytes."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__()
        self._most, self._bytes = most_bytes, 0

    def add(self, key: K, value: V, size: int) -> None:
        """Add an entry of a size in bytes."""
        self._bytes += size
        if self._bytes > self._most:
            self.clear()
            self._bytes = size
        self[key] = value
