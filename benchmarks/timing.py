"""Contenders timed side by side in one run: they alternate within each round, so that noise meets all alike."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


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


class Report:
    """Tables and verdicts, on standard output and as Markdown."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.failed = False

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
        self.say(f"**{title}**")
        self.say()
        self.say(f"| {' | '.join(names)} |")
        self.say(f"|---{'|---:' * (len(names) - 1)}|")
        for row in rows:
            self.say(f"| {' | '.join(row)} |")
        self.say()

    def require(self, what: str, ratio: float, least: float) -> None:
        """Hold a ratio against what it has to be at least."""
        self.failed |= ratio < least
        self.say(f"- {'PASS' if ratio >= least else 'FAIL'}: {what}: {ratio:,.1f}, asked for at least {least:,.1f}")

    def end(self, markdown: str | None) -> int:
        """Write the Markdown, and give the exit code."""
        if markdown:
            Path(markdown).write_text("\n".join(self.lines) + "\n")
        return int(self.failed)


def arguments(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds, help="rounds that count")
    parser.add_argument("--markdown", help="file to write the tables to")
    return parser
