"""Times contenders in one run. They take turns within each round, so that noise affects them equally."""

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
    """Time each contender once a round, in turn. The first round is a warm-up and not counted."""
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
    """A ratio, compared with its limit.

    Attributes:
        what: names of both sides of the ratio.
        measured: the ratio.
        at_least: its limit.
        sides: measured values of both sides; empty if `what` has them or they are long.
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
        made: all reports of this process, for the caller that collects them.
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
        """A ratio is below its limit."""
        return any(verdict.word == "FAIL" for verdict in self.verdicts)

    def say(self, line: str = "") -> None:
        """Print a line, and add it to the Markdown."""
        print(line, flush=True)
        self.lines.append(line)

    def table(self, title: str, timings: Mapping[str, Timing], base: str) -> None:
        """Add a table of timings in ms, and of their speed as a multiple of `base`'s, by the best round."""
        self.rows(
            title,
            ("", "best, ms", "median, ms", f"× {base}"),
            [
                (name, f"{t.best:,.1f}", f"{t.median:,.1f}", f"{timings[base].best / t.best:,.1f}")
                for name, t in timings.items()
            ],
        )

    def rows(self, title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table of text."""
        self.tables.append(Table(title, names, rows))
        self.say(f"**{title}**")
        self.say()
        for line in markdown_table(names, rows):
            self.say(line)
        self.say()

    def require(self, what: str, ratio: float, least: float, sides: str = "") -> None:
        """Compare a ratio with its limit."""
        verdict = Verdict(what, ratio, least, sides)
        self.verdicts.append(verdict)
        self.say(f"- {verdict.word}: {what}: {figure(ratio)}, required at least {figure(least)}")

    def document(self) -> dict[str, Any]:
        """The report as values for JSON."""
        return {
            "lines": self.lines,
            "tables": [asdict(table) for table in self.tables],
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
        }

    def end(self, markdown: str | None) -> int:
        """Write the Markdown. Returns the exit code."""
        if markdown:
            Path(markdown).write_text("\n".join(self.lines) + "\n")
        return int(self.failed)


def markdown_table(names: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> list[str]:
    """A table in Markdown. The first `texts` columns are text, the others figures."""
    head = [f"| {' | '.join(names)} |", f"{'|---' * texts}{'|---:' * (len(names) - texts)}|"]
    return head + [f"| {' | '.join(row)} |" for row in rows]


def figure(ratio: float) -> str:
    """A ratio as text. It is never rounded up, because a ratio below 1 must not look like 1."""
    digits = Decimal("0.01" if ratio < 10 else "0.1")
    return f"{Decimal(str(ratio)).quantize(digits, ROUND_FLOOR):,}"


def in_ms(one: Timing, other: Timing) -> str:
    """Both sides of a ratio in ms, by the best round."""
    return f"{one.best:,.1f} ms / {other.best:,.1f} ms"


def arguments(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """A parser with the common options of all benchmarks."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds, help="number of rounds after the warm-up")
    parser.add_argument("--markdown", help="file for the tables")
    return parser


def alone(file: str, module: str, *words: str) -> None:
    """Run a benchmark like its command, and write its reports to a file, even if it fails."""
    sys.argv = [module, *words]
    reason = ""
    try:
        importlib.import_module(module).main()
    except SystemExit as end:
        reason = str(end.code or "")
        print(reason, file=sys.stderr)
    except Exception as error:
        # After any error, the other benchmarks can still run.
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
    result = {"reason": without_paths(reason), "reports": [report.document() for report in Report.made]}
    Path(file).write_text(json.dumps(result))


def without_paths(text: str) -> str:
    """The first line of a text, with each absolute path reduced to its last part."""
    return re.sub(r"(?<![\w.:/-])/(?:[^\s/'\"()]+/)+", "", text.partition("\n")[0])


def machine() -> dict[str, str]:
    """Properties of this machine and versions of programs, without host names and paths."""
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
    """Output of a program; empty if the program is missing."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout + done.stderr


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    return match[1].strip() if match else ""
