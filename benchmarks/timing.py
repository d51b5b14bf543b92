"""Contenders timed side by side in one run: they alternate within each round, so that noise meets all alike."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class Timing:
    """Milliseconds of a contender."""

    best: float
    median: float


def side_by_side(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Time each contender once a round, in turn. The first round warms up and is not counted."""
    seen: dict[str, list[float]] = {name: [] for name in contenders}
    for count in range(rounds + 1):
        for name, contender in contenders.items():
            started = time.perf_counter()
            contender()
            if count:
                seen[name].append((time.perf_counter() - started) * 1000)
    return {name: Timing(min(times), statistics.median(times)) for name, times in seen.items()}


@dataclass(frozen=True)
class Verdict:
    """A ratio held against what is asked for.

    Attributes:
        what: what was divided by what.
        measured: the ratio.
        at_least: what it has to be.
        sides: both sides as they were measured, where they are said in short.
    """

    what: str
    measured: float
    at_least: float
    sides: str = ""

    @property
    def word(self) -> str:
        """PASS or FAIL."""
        return "PASS" if self.measured >= self.at_least else "FAIL"


@dataclass(frozen=True)
class Table:
    """A table of text."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Report:
    """Tables and verdicts, on standard output and as Markdown.

    Attributes:
        made: all reports of this process, for who runs a benchmark and collects what it found.
        lines: the Markdown.
        tables: its tables.
        verdicts: its verdicts.
    """

    made: ClassVar[list[Report]] = []

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.tables: list[Table] = []
        self.verdicts: list[Verdict] = []
        self.made.append(self)

    @property
    def failed(self) -> bool:
        """A ratio is less than asked for."""
        return any(verdict.word == "FAIL" for verdict in self.verdicts)

    def say(self, line: str = "") -> None:
        """One line."""
        print(line, flush=True)
        self.lines.append(line)

    def table(self, title: str, timings: Mapping[str, Timing], base: str) -> None:
        """Timings in ms, and how many times as fast as `base` each is, by the best."""
        self.rows(
            title,
            ("", "best, ms", "median, ms", f"× {base}"),
            [
                (name, f"{t.best:,.1f}", f"{t.median:,.1f}", f"{timings[base].best / t.best:,.1f}")
                for name, t in timings.items()
            ],
        )

    def rows(self, title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table of text."""
        self.tables.append(Table(title, names, rows))
        self.say(f"**{title}**")
        self.say()
        for line in markdown_table(names, rows):
            self.say(line)
        self.say()

    def require(self, what: str, ratio: float, least: float, sides: str = "") -> None:
        """Hold a ratio against what it has to be at least."""
        verdict = Verdict(what, ratio, least, sides)
        self.verdicts.append(verdict)
        self.say(f"- {verdict.word}: {what}: {figure(ratio)}, asked for at least {figure(least)}")

    def document(self) -> dict[str, Any]:
        """All of it, as JSON takes it."""
        return {
            "lines": self.lines,
            "tables": [asdict(table) for table in self.tables],
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
        }

    def end(self, markdown: str | None) -> int:
        """Write the Markdown, and give the exit code."""
        if markdown:
            Path(markdown).write_text("\n".join(self.lines) + "\n")
        return int(self.failed)


def markdown_table(names: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> list[str]:
    """A table in Markdown; the first columns are text, the others are figures."""
    head = [f"| {' | '.join(names)} |", f"{'|---' * texts}{'|---:' * (len(names) - texts)}|"]
    return head + [f"| {' | '.join(row)} |" for row in rows]


def figure(ratio: float) -> str:
    """A ratio as it is shown, never rounded up: what falls short of 1 must not look like 1."""
    digits = Decimal("0.01" if ratio < 10 else "0.1")
    return f"{Decimal(str(ratio)).quantize(digits, ROUND_FLOOR):,}"


def in_ms(one: Timing, other: Timing) -> str:
    """Both sides of a ratio."""
    return f"{one.best:,.1f} ms / {other.best:,.1f} ms"


def arguments(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds, help="rounds that count")
    parser.add_argument("--markdown", help="file to write the tables to")
    return parser


def alone(file: str, module: str, *words: str) -> None:
    """Run a benchmark as its command does, and write what its reports said, also where it breaks off."""
    sys.argv = [module, *words]
    reason = ""
    try:
        importlib.import_module(module).main()
    except SystemExit as end:
        reason = str(end.code or "")
        print(reason, file=sys.stderr)
    except Exception as error:
        # Whatever it is, the other benchmarks can still be run.
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
    found = {"reason": without_paths(reason), "reports": [report.document() for report in Report.made]}
    Path(file).write_text(json.dumps(found))


def without_paths(text: str) -> str:
    """The first line of a text, with each absolute path cut down to its name."""
    return re.sub(r"(?<![\w.:/-])/(?:[^\s/'\"()]+/)+", "", text.partition("\n")[0])


def machine() -> dict[str, str]:
    """What the benchmarks run on: no names of hosts, and no paths."""
    from tests.engines import catalog, source

    described = {
        "processor": _first(r"model name\s*: (.+)", _read("/proc/cpuinfo")) or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "SQLite": sqlite3.sqlite_version,
        "Go": _first(r"go(\d\S*)", _answer("go", "version")) or "missing",
        "nginx": _first(r"nginx/(\S+)", _answer("nginx", "-v")) or "missing",
        "wrk": _first(r"^wrk (?:debian/)?(\S+)", _answer("wrk", "-v")) or "missing",
    }
    for engine in catalog.ENGINES:
        for program in catalog.programs_of(engine):
            able, words = source.outlook(engine)
            described[program.name] = f"{program.version}, {without_paths(words)}" if able else "missing"
    return described


def _read(path: str) -> str:
    file = Path(path)
    return file.read_text() if file.exists() else ""


def _answer(*command: str) -> str:
    """What a program says of itself; nothing where it is missing."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout + done.stderr


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1].strip() if found else ""
