"""The pixel's rules for names from the settings, for its own hits and for rows of other writers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from urllib.parse import unquote

from pfa_flux import names
from pfa_flux.errors import InvalidValueError
from pfa_flux.schema import without_port
from pfa_flux.settings.pixel import PixelSettings

DEFAULT_PORTS = {"http": "80", "https": "443"}

# What line protocol cannot carry or a reader would not see.
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]|\\$")
_QUERY = re.compile("[?#].*", re.DOTALL)
_SLASHES = re.compile("//+")
_BEYOND_ASCII = re.compile("(?:%[89A-F][0-9A-F])+")


@dataclass(frozen=True)
class Rules:
    """The settings, made ready to be applied."""

    settings: PixelSettings

    @cached_property
    def exact(self) -> frozenset[str]:
        """Domains that count, where there is a list; in canonical form, with either default port."""
        return frozenset(self._named(lambda text: not text.startswith("*.")))

    @cached_property
    def below(self) -> tuple[str, ...]:
        """Ends of the domains that count: of `*.example.com` all below, not itself."""
        return tuple(f".{name}" for name in self._named(lambda text: text.startswith("*.")))

    def _named(self, wanted: Callable[[str], bool]) -> Iterator[str]:
        for text in filter(wanted, self.settings.domains):
            for port in DEFAULT_PORTS.values():
                with suppress(InvalidValueError):
                    yield names.domain(text.removeprefix("*."), port)

    def counted(self, domain: str) -> str | None:
        """The domain that a canonical one counts as; None if it does not count.

        With a list, a port that it does not name belongs to the name.
        """
        if not self.settings.domains or domain in self.exact:
            return domain
        bare = without_port(domain)
        if bare in self.exact or bare.endswith(self.below):
            return bare
        return domain if domain.endswith(self.below) else None

    def domain(self, stored: str) -> str:
        """The domain that counts for one that a row has, or that is asked for; what is none stays as it is."""
        try:
            found = names.domain(stored)
        except InvalidValueError:
            return stored
        return self.counted(found) or found

    def wanted(self, text: str) -> str:
        """The domain, or canonical `*.` pattern, of one that is asked for.

        Raises:
            InvalidValueError: it is a name that no browser sends; says why.
        """
        found = names.wanted(text)
        return found if names.below(found) else self.domain(found)

    def stored_page(self, stored: str) -> str:
        """The page that counts for one that a row has, or that is asked for.

        Other writers may have stored a query, which stays; and what is no path stays as it is.
        """
        if self._is_plain and names.is_page(stored):
            return stored
        if not stored.startswith("/") or stored in self.settings.masks:
            return stored
        end = _QUERY.search(stored)
        path, rest = (stored[: end.start()], end[0]) if end else (stored, "")
        try:
            page = self.page(path)
        except UnicodeEncodeError:
            return stored
        # Behind a mask there may be a secret.
        return page if page in self.settings.masks else page + rest

    @cached_property
    def masks(self) -> Sequence[tuple[re.Pattern[str], str]]:
        """Patterns of pages that are kept as the pattern."""
        flags = re.DOTALL | (re.IGNORECASE if self.settings.lower_case else 0)
        # A mask may itself be written with escapes.
        return [
            (re.compile(translate(form), flags), mask)
            for mask in self.settings.masks
            for form in dict.fromkeys((mask, unquote(mask)))
        ]

    @cached_property
    def _is_plain(self) -> bool:
        """Canonical pages stay as they are."""
        own = self.settings
        return not (
            own.lower_case
            or own.masks
            or own.strip_index
            or own.trailing_slash != "keep"
            or own.duplicate_slashes != "keep"
        )

    def page(self, path: str) -> str:
        """The page that a path counts as. Bytes that are no UTF-8 are surrogates in the path, as of `surrogateescape`.

        Raises:
            UnicodeEncodeError: it has other lone surrogates.
        """
        text = names.page(path)
        if self._is_plain:
            return text
        settings = self.settings
        if settings.lower_case:
            text = names.page(_BEYOND_ASCII.sub(_decoded, text).lower())
        if settings.duplicate_slashes == "merge":
            text = _SLASHES.sub("/", text)
        for mask in self._hidden_by(path, text):
            return mask
        if settings.trailing_slash == "strip":
            text = text.rstrip("/") or "/"
        if settings.strip_index and text.endswith("/index.html"):
            text = text[: -len("index.html")]
        if settings.trailing_slash == "strip":
            text = text.rstrip("/") or "/"
        elif settings.trailing_slash == "add" and not text.endswith("/"):
            text += "/"
        return text

    def _hidden_by(self, path: str, text: str) -> Iterator[str]:
        """Masks of a path, whose canonical form is known.

        As it was sent and as it is meant: /%72eset/… holds the same secret as /reset/…, and so does /a/../reset/….
        """
        if not self.masks:
            return
        sent = _sent(path)
        if self.settings.lower_case:
            sent = sent.lower()
        forms = {sent, unquote(sent), text, unquote(text)}
        for pattern, mask in self.masks:
            if any(map(pattern.fullmatch, forms)):
                yield mask


def _sent(path: str) -> str:
    """A path as sent, and encoded what a reader would not see: as 0.1 kept it, so that masks hide what they hid."""
    text = _UNSAFE.sub(lambda found: _percent(found[0]), path) or "/"
    return text if text.isprintable() else "".join(char if char.isprintable() else _percent(char) for char in text)


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape"))


def _decoded(found: re.Match[str]) -> str:
    return bytes.fromhex(found[0].replace("%", "")).decode("utf-8", "surrogateescape")
