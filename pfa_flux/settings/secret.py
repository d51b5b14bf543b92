"""Tokens: how to read one from a file, and a type that never shows it."""

from __future__ import annotations

import re
from pathlib import Path

from pfa_flux.errors import SettingsError

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ufeff\ud800-\udfff]")
"""Characters that no setting may contain: control characters, a byte order mark, bytes that are not text."""


class Secret:
    """A text that no repr, log or error shows. Only `reveal()` returns it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')" if self._text else "Secret('')"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


def read_token(path: Path) -> tuple[Secret, tuple[str, ...]]:
    """The token in a file, and warnings about the file's permissions.

    Raises:
        SettingsError: the file cannot be read, is empty, or contains something other than a token.
    """
    try:
        # An editor may have added a byte order mark.
        text = path.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        why, hint = error.strerror or type(error).__name__, "Check the path."
        if isinstance(error, PermissionError):
            hint = "Use sudo, ask for read access, or name your own token file with --token-file."
        raise SettingsError(f"the token file {path} cannot be read: {why}", hint) from error
    except ValueError as error:
        raise SettingsError(f"the token file {path} is not UTF-8", "Write only the token into it.") from error
    if not text:
        raise SettingsError(f"the token file {path} is empty", "Write only the token into it.")
    if CONTROL.search(text):
        raise SettingsError(
            f"the token file {path} has several lines, or control characters", "Write only the token into it."
        )
    return Secret(text), exposed(path)


def exposed(path: Path) -> tuple[str, ...]:
    """A warning if every user can reach a file with a token."""
    if not path.stat().st_mode & 0o007:
        return ()
    return (f"{path} contains a token, and every user of this machine can reach it; run: chmod 600 {path}",)
