"""Draw the rooms of the package, made from its imports: `python docs/rooms.py` writes docs/pictures/rooms.svg.

With --check it writes nothing, and says what it would change.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pfa_flux"
PICTURE = ROOT / "docs" / "pictures" / "rooms.svg"
_WIDTH, _BOX, _HIGH, _GAP, _ROW = 960, 214, 66, 20, 104


def modules() -> dict[str, Path]:
    """Modules by their dotted names."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the package that a module imports when it runs, wherever in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        # What is for the type checker alone is no import.
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "pfa_flux":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in known else node.module)
    return found - {"pfa_flux"}


def room(module: str) -> str:
    """The folder that a module is in, or its own name if it is on the top level."""
    return module.split(".")[1]


def doors() -> dict[str, set[str]]:
    """Rooms and modules of the top level, each with those that it imports."""
    known = modules()
    found: dict[str, set[str]] = {}
    for module, path in known.items():
        if module != "pfa_flux":
            own = found.setdefault(room(module), set())
            own |= {room(other) for other in imports(path, known)} - {room(module)}
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of nodes that reach each other (Tarjan 1972, https://doi.org/10.1137/0201010)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in graph:
        if node not in number:
            visit(node)
    return found


def heights(graph: dict[str, set[str]]) -> dict[str, int]:
    """How many rooms lie below each: its longest way down."""
    known: dict[str, int] = {}

    def height(node: str) -> int:
        if node not in known:
            known[node] = max((height(other) + 1 for other in graph[node]), default=0)
        return known[node]

    for node in graph:
        height(node)
    return known


def _folders() -> dict[str, set[str]]:
    """Doors between folders; modules of the top level are one box, `pfa_flux`, without those that stand above."""
    graph = doors()
    folders = {name for name in graph if (PACKAGE / name).is_dir()} | {"analytics"}
    return {name: {other for other in graph[name] if other in folders} for name in sorted(folders)}


def _needed(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Doors without those that a longer way replaces."""

    def reach(node: str) -> set[str]:
        return graph[node].union(*(reach(other) for other in graph[node]))

    return {node: others - set().union(*(reach(other) for other in others)) for node, others in graph.items()}


def _about(name: str) -> tuple[str, str]:
    """What a room is for, and its size."""
    folder = PACKAGE / name
    paths = sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{name}.py"]
    doc = ast.get_docstring(ast.parse(paths[0].read_text(encoding="utf-8"))) or ""
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)
    files = f"{len(paths)} files, " if len(paths) > 1 else ""
    # Rounded, so that a changed line does not change the picture.
    return doc.splitlines()[0], f"{files}about {round(lines, -2) or 100:,} lines"


def picture() -> str:
    """The drawing: each room above all rooms that it imports, with a line to each of them."""
    graph = _folders()
    rows: dict[int, list[str]] = {}
    for name, height in heights(graph).items():
        rows.setdefault(height, []).append(name)
    top = max(rows)
    place: dict[str, tuple[float, float]] = {}
    for height, names in rows.items():
        width = len(names) * _BOX + (len(names) - 1) * _GAP
        for number, name in enumerate(sorted(names)):
            place[name] = ((_WIDTH - width) / 2 + number * (_BOX + _GAP), 10 + (top - height) * _ROW)
    drawn = [*_lines(_needed(graph), place), *(_box(name, *at) for name, at in place.items())]
    high = 20 + top * _ROW + _HIGH
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {high}" font-family="sans-serif" role="img">\n'
        f"<title>Rooms of pfa_flux: a line leads down to what a room imports</title>\n"
        f'<rect width="{_WIDTH}" height="{high}" fill="#ffffff"/>\n' + "\n".join(drawn) + "\n</svg>\n"
    )


def _lines(graph: dict[str, set[str]], place: dict[str, tuple[float, float]]) -> Iterator[str]:
    for name, others in graph.items():
        for number, other in enumerate(sorted(others, key=lambda each: place[each])):
            (x, y), (to_x, to_y) = place[name], place[other]
            start = x + _BOX * (number + 1) / (len(others) + 1)
            yield (
                f'<path d="M{start:.0f} {y + _HIGH:.0f} C{start:.0f} {y + _HIGH + 30:.0f} '
                f'{to_x + _BOX / 2:.0f} {to_y - 30:.0f} {to_x + _BOX / 2:.0f} {to_y:.0f}" fill="none" '
                'stroke="#8a94a6" stroke-width="1.5"/>'
            )


def _box(name: str, x: float, y: float) -> str:
    about, size = _about(name)
    words = [*_wrapped(about, 37)][:3]
    text = "".join(
        f'<text x="{x + 10:.0f}" y="{y + 31 + 12 * number:.0f}" font-size="10" fill="#3a4250">{escape(line)}</text>'
        for number, line in enumerate(words)
    )
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{_BOX}" height="{_HIGH}" rx="6" fill="#eef2f8" stroke="#5b6b85"/>'
        f'<text x="{x + 10:.0f}" y="{y + 17:.0f}" font-size="13" font-weight="bold" fill="#101828">{name}</text>'
        f'<text x="{x + _BOX - 10:.0f}" y="{y + 17:.0f}" font-size="9" text-anchor="end" fill="#667085">{size}</text>'
        f"{text}"
    )


def _wrapped(text: str, width: int) -> Iterator[str]:
    line = ""
    for word in text.replace("`", "").split():
        if line and len(line) + len(word) >= width:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    yield line


def main() -> int:
    """Write the picture, or compare it."""
    made = picture()
    if sys.argv[1:] == ["--check"]:
        if not PICTURE.exists() or PICTURE.read_text(encoding="utf-8") != made:
            print(f"{PICTURE.relative_to(ROOT)} is not what the code says: run python docs/rooms.py")  # noqa: T201
            return 1
        return 0
    PICTURE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
