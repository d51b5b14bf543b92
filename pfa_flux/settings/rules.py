"""What the settings mean for domains and pages, both in the pixel's hits and in rows of other writers."""

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

# Characters that line protocol cannot carry, or that a reader would not see.
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]|\\$")
_QUERY = re.compile("[?#].*", re.DOTALL)
_SLASHES = re.compile("//+")
_BEYOND_ASCII = re.compile("(?:%[89A-F][0-9A-F])+")


@dataclass(frozen=True)
class Rules:
    """The pixel's settings as rules for domains and pages."""

    settings: PixelSettings

    @cached_property
    def exact(self) -> frozenset[str]:
        """The listed domains in canonical form, with and without a default port. Empty if there is no list."""
        return frozenset(self._named(lambda text: not text.startswith("*.")))

    @cached_property
    def below(self) -> tuple[str, ...]:
        """Suffixes of the domains to count: `*.example.com` counts all domains below it, but not example.com."""
        return tuple(f".{name}" for name in self._named(lambda text: text.startswith("*.")))

    def _named(self, wanted: Callable[[str], bool]) -> Iterator[str]:
        for text in filter(wanted, self.settings.domains):
            for port in DEFAULT_PORTS.values():
                with suppress(InvalidValueError):
                    yield names.domain(text.removeprefix("*."), port)

    def counted(self, domain: str) -> str | None:
        """The domain that a canonical domain counts as. None if it does not count.

        A port that the list does not name is ignored: `example.com:8080` counts as a listed `example.com`.
        """
        if not self.settings.domains or domain in self.exact:
            return domain
        bare = without_port(domain)
        if bare in self.exact or bare.endswith(self.below):
            return bare
        return domain if domain.endswith(self.below) else None

    def domain(self, stored: str) -> str:
        """The domain that a stored or requested domain counts as. Other text stays unchanged."""
        try:
            canonical = names.domain(stored)
        except InvalidValueError:
            return stored
        return self.counted(canonical) or canonical

    def wanted(self, text: str) -> str:
        """The domain that a requested domain counts as, or a canonical `*.` pattern.

        Raises:
            InvalidValueError: no browser sends this name. The message says why.
        """
        canonical = names.wanted(text)
        return canonical if names.below(canonical) else self.domain(canonical)

    def stored_page(self, stored: str) -> str:
        """The page that a stored or requested page counts as.

        Other writers may store a query with the page: it stays. Text that is not a path stays unchanged.
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
        # What follows a mask may be a secret.
        return page if page in self.settings.masks else page + rest

    @cached_property
    def masks(self) -> Sequence[tuple[re.Pattern[str], str]]:
        """Compiled patterns, each with the mask to store instead of a matching page."""
        flags = re.DOTALL | (re.IGNORECASE if self.settings.lower_case else 0)
        # The mask itself may contain escapes.
        return [
            (re.compile(translate(form), flags), mask)
            for mask in self.settings.masks
            for form in dict.fromkeys((mask, unquote(mask)))
        ]

    @cached_property
    def _is_plain(self) -> bool:
        """Whether the rules leave canonical pages unchanged."""
        own = self.settings
        return not (
            own.lower_case
            or own.masks
            or own.strip_index
            or own.trailing_slash != "keep"
            or own.duplicate_slashes != "keep"
        )

    def page(self, path: str) -> str:
        """The page that a path counts as. Bytes that are not UTF-8 must be surrogates, as `surrogateescape` makes them.

        Raises:
            UnicodeEncodeError: the path has other lone surrogates.
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
        """Masks that match a path, given the path as sent and its canonical form.

        A mask must match every spelling: /%72eset/… and /a/../reset/… contain the same secret as /reset/….
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
    """A path as sent, with invisible characters escaped. Version 0.1 stored this form; masks must still match it."""
    text = _UNSAFE.sub(lambda found: _percent(found[0]), path) or "/"
    return text if text.isprintable() else "".join(char if char.isprintable() else _percent(char) for char in text)


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape"))


def _decoded(found: re.Match[str]) -> str:
    return bytes.fromhex(found[0].replace("%", "")).decode("utf-8", "surrogateescape")
