"""Run all benchmarks, and list all required ratios: `python -m benchmarks`.

Each benchmark runs in its own process, one after another. The exit code is 1 if a ratio is below its limit or was not
measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pfa_flux
from benchmarks.timing import Verdict, figure, machine, markdown_table

NOT_MEASURED = "not measured"
COLUMNS = ("benchmark", "what", "both sides", "measured", "required, at least", "verdict")
_CHILD = "import sys; from benchmarks.timing import alone; alone(*sys.argv[1:])"


@dataclass(frozen=True)
class Benchmark:
    """A benchmark and its arguments.

    Attributes:
        module: the module with its `main`.
        words: its arguments.
        quick: further arguments, for rough figures in a short time.
        has_limits: it compares ratios with limits; other benchmarks only report figures.
    """

    module: str
    words: tuple[str, ...] = ()
    quick: tuple[str, ...] = ("--rounds", "1")
    has_limits: bool = True

    @property
    def name(self) -> str:
        """Name for the command line."""
        return self.module.rpartition(".")[2]

    @property
    def title(self) -> str:
        """Name in the tables."""
        return " ".join((self.name, *self.words))


ALL = (
    Benchmark("benchmarks.startup", quick=("--rounds", "3")),
    Benchmark("benchmarks.query", ("influxdb-1.8",)),
    Benchmark("benchmarks.query", ("influxdb-2.7",)),
    Benchmark("benchmarks.longrange", ("influxdb-1.8",)),
    Benchmark("benchmarks.longrange", ("influxdb-2.7",)),
    Benchmark("benchmarks.embedded", quick=("--rounds", "1", "--hits", "100000", "--no-large")),
    Benchmark("benchmarks.backfill", ("kapacitor",)),
    Benchmark("benchmarks.backfill", ("influxdb-2.7",)),
    Benchmark(
        "benchmarks.pixel",
        quick=("--rounds", "1", "--seconds", "1", "--latency-runs", "1", "--latency-seconds", "1"),
    ),
    Benchmark("benchmarks.capacity", quick=("--hits", "50000", "--series", "5000"), has_limits=False),
    Benchmark("benchmarks.upkeep", quick=("--hits", "3000", "--loads", "2000"), has_limits=False),
    Benchmark("benchmarks.coverage", quick=("--draws", "100"), has_limits=False),
)


def run(benchmark: Benchmark, *, quick: bool) -> dict[str, Any]:
    """Run a benchmark. Returns its title, command and reports, and the reason if it failed."""
    words = (*(benchmark.quick if quick else ()), *benchmark.words)
    print(f"\n## {benchmark.title}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        done = subprocess.run([sys.executable, "-c", _CHILD, str(file), benchmark.module, *words], check=False)
        result: dict[str, Any] = {"reason": f"it ended with code {done.returncode}", "reports": []}
        if file.exists():
            result = json.loads(file.read_text())
    verdicts = [verdict for report in result["reports"] for verdict in report["verdicts"]]
    if benchmark.has_limits and not verdicts and not result["reason"]:
        result["reason"] = "it gave no ratio"
    return {"benchmark": benchmark.title, "command": " ".join(("python -m", benchmark.module, *words)), **result}


def ratios(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All required ratios with their verdicts. A benchmark that failed has one entry with its reason."""
    every = []
    for each in results:
        for report in each["reports"]:
            for verdict in report["verdicts"]:
                every.append({"benchmark": each["benchmark"], **verdict, "verdict": Verdict(**verdict).word})
        if each["reason"]:
            missing = {"what": each["reason"], "measured": None, "at_least": None, "sides": "", "verdict": NOT_MEASURED}
            every.append({"benchmark": each["benchmark"], **missing})
    return every


def markdown(document: dict[str, Any]) -> str:
    """The Markdown page of a run."""
    every = document["ratios"]
    rows = [
        (
            ratio["benchmark"],
            # A name may contain the character that separates columns.
            ratio["what"].replace("|", "\\|"),
            ratio["sides"],
            *("" if ratio[key] is None else figure(ratio[key]) for key in ("measured", "at_least")),
            ratio["verdict"],
        )
        for ratio in every
    ]
    reached = sum(ratio["verdict"] == "PASS" for ratio in every)
    rough = " A quick run: the figures are rough." if document["quick"] else ""
    lines = [
        f"{document['date']}, pfa-flux {document['version']}. Both sides of each ratio were measured in this run, on "
        f"the machine described below.{rough}",
        "",
        *markdown_table(COLUMNS, rows, texts=3),
        "",
        f"{reached} of {len(every)} reached.",
        "",
        "## The machine",
        "",
        *markdown_table(("", ""), list(document["machine"].items()), texts=2),
    ]
    for each in document["benchmarks"]:
        output = [line for report in each["reports"] for line in report["lines"]]
        reason = [f"Not measured: {each['reason']}", ""] if each["reason"] else []
        lines += ["", f"## {each['benchmark']}", "", f"`{each['command']}`", "", *output, *reason]
        while not lines[-1]:
            lines.pop()
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> int:
    """Run benchmarks. Returns 1 if a required ratio was not reached or not measured."""
    names = list(dict.fromkeys(benchmark.name for benchmark in ALL))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names)}; by default all")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for rough figures")
    parser.add_argument("--markdown", type=Path, help="file for all results, as Markdown")
    parser.add_argument("--json", type=Path, help="file for all results, as JSON")
    options = parser.parse_args(words)
    if unknown := sorted(set(options.names) - set(names)):
        parser.error(f"no benchmark is called {', '.join(unknown)}")
    results = [run(each, quick=options.quick) for each in ALL if each.name in (options.names or names)]
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "version": pfa_flux.__version__,
        "quick": options.quick,
        "machine": machine(),
        "ratios": ratios(results),
        "benchmarks": results,
    }
    page = markdown(document)
    print(f"\n{page.partition('## The machine')[0]}", end="")
    if options.markdown:
        options.markdown.write_text(f"# All required ratios\n\n{page}")
    if options.json:
        options.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return int(any(ratio["verdict"] != "PASS" for ratio in document["ratios"]))


if __name__ == "__main__":
    sys.exit(main())
