"""A token: where it is read from, and that it is shown nowhere."""

from __future__ import annotations

import re
from pathlib import Path

from pfa_flux.errors import SettingsError

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ufeff\ud800-\udfff]")
"""What no setting holds: control characters, a byte order mark, bytes that are no text."""


class Secret:
    """A text that is never shown: not in a repr, a log or an error. `reveal()` is the only way to it."""

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
    """The token in a file, and warnings about the file's rights.

    Raises:
        SettingsError: the file cannot be read, is empty, or holds something else than a token.
    """
    try:
        # Editors may put a byte order mark before it.
        text = path.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        why, hint = error.strerror or type(error).__name__, "Check the path."
        if isinstance(error, PermissionError):
            hint = "Use sudo, ask for read access, or name your own token file with --token-file."
        raise SettingsError(f"the token file {path} cannot be read: {why}", hint) from error
    except ValueError as error:
        raise SettingsError(f"the token file {path} is not UTF-8", "Put the token in it, nothing else.") from error
    if not text:
        raise SettingsError(f"the token file {path} is empty", "Put the token in it, nothing else.")
    if CONTROL.search(text):
        raise SettingsError(
            f"the token file {path} holds more than a line, or control characters", "Put the token in it, nothing else."
        )
    return Secret(text), exposed(path)


def exposed(path: Path) -> tuple[str, ...]:
    """A warning about a file with a token that every user can read; none otherwise."""
    if not path.stat().st_mode & 0o007:
        return ()
    return (f"{path} holds a token and every user of this machine can reach it; run: chmod 600 {path}",)
