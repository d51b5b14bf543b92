"""nginx's own configuration: finds each `server { }` of the domains, and adds a line to it.

https://nginx.org/en/docs/beginners_guide.html#conf_structure
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pfa_flux.setup.staging import File

_HEAD = re.compile(r"^# configuration file (/.*):\n", re.MULTILINE)
"""Line that `nginx -T` prints before each file."""
_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)|(?P<mark>[{};])|(?P<quoted>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
    r"""|(?P<word>(?:\\.|\$\{[^}]*\}|[^\s{};"'#\\])(?:\\.|\$\{[^}]*\}|[^\s{};\\])*)""",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a file.

    Attributes:
        kind: its name, such as `server`.
        inside: position after its opening brace.
        directives: its own directives, each as a list of words.
    """

    kind: str
    inside: int
    directives: tuple[tuple[str, ...], ...]

    def values(self, name: str) -> list[str]:
        """All arguments of the directives with a name."""
        return [word for each in self.directives if each[0] == name for word in each[1:]]


def files_of(dump: str) -> list[Path]:
    """The files that `nginx -T` prints, each once."""
    return list(dict.fromkeys(Path(path).resolve() for path in _HEAD.findall(dump)))


def blocks(text: str) -> list[Block]:
    """The blocks of a file; none if it cannot be parsed, for example because it contains Lua."""
    complete: list[Block] = []
    open_: list[tuple[str, int, list[tuple[str, ...]]]] = []
    words: list[str] = []
    try:
        for kind, token, end in _tokens(text):
            if kind != "mark":
                words.append(token)
                continue
            if token == "{":
                open_.append((words[0] if words else "", end, []))
            elif token == "}":
                name, inside, directives = open_.pop()
                complete.append(Block(name, inside, tuple(directives)))
            elif words and open_:
                open_[-1][2].append(tuple(words))
            words = []
    except (ValueError, IndexError):
        return []
    return [] if open_ else complete


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(at)
        at, kind, token = match.end(), str(match.lastgroup), match[0]
        if kind != "space":
            yield kind, token[1:-1] if kind == "quoted" else token, at


def with_include(path: Path, text: str, snippet: Path, domains: Sequence[str]) -> tuple[File | None, set[str]]:
    """A file with the snippet included in each `server { }` of the domains that lacks it.

    Returns:
        The file, None if nothing changes; and the names of all servers that then have the snippet.
    """
    line, served, places = f"include {snippet};", set[str](), list[int]()
    for block in blocks(text):
        names = {name.lower() for name in block.values("server_name")}
        # A server that redirects everything serves no page.
        if block.kind != "server" or block.values("return") or not any(_serves(n, d) for n in names for d in domains):
            continue
        served |= names
        if not any(Path(each).name == snippet.name for each in block.values("include")):
            places.append(block.inside)
    if not places:
        return None, served
    for place in sorted(places, reverse=True):
        # The block may continue on the line of its brace.
        indent = re.match(r"[ \t]*(?:#[^\n]*)?\n([ \t]*)", text[place:])
        ends = "" if indent else "\n"
        text = f"{text[:place]}\n{indent[1] if indent else '    '}{line}{ends}{text[place:]}"
    return File(path, text, path.stat().st_mode & 0o777, line), served


def _serves(name: str, domain: str) -> bool:
    """Whether a server's name matches a domain, or a subdomain of a wildcard."""
    plain = domain.removeprefix("*.")
    if name.startswith((".", "*.")):
        return plain.endswith(name.lstrip("*")) or plain == name.lstrip("*.")
    return name == plain or (domain.startswith("*.") and name.endswith(domain[1:]))
