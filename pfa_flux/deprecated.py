"""Old names that keep working for one version."""

from __future__ import annotations

import warnings
from typing import Any


def renamed(owner: str, old: str, new: str) -> Any:
    """A property with the old name of an attribute or method. It warns, and gives what the new name gives."""

    def get(instance: object) -> Any:
        warnings.warn(f"{owner}.{old} is now {owner}.{new}", DeprecationWarning, stacklevel=2)
        return getattr(instance, new)

    return property(get, doc=f"The old name of `{new}`.")
