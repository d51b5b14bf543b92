"""`python -m benchmarks`: every ratio is collected as it was measured, and none is forgotten or rounded up."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import __main__ as umbrella
from benchmarks.__main__ import ALL, NOT_MEASURED, Benchmark
from benchmarks.timing import Report, Timing, figure, in_ms

HEAD = """
import sys
from benchmarks.timing import Report, Timing, arguments, in_ms

def main():
    options = arguments("A fake.", 7).parse_args()
"""
FAKES = {
    "fake_good": """
    report, one, other = Report(), Timing(30.0, 31.0), Timing(20.0, 21.0)
    report.table(f"{options.rounds} rounds", {"theirs": one, "ours": other}, "theirs")
    report.require("theirs | ours", one.best / other.best, 1.5, in_ms(one, other))
    return report.end(options.markdown)
""",
    "fake_slow": """
    report = Report()
    report.require("theirs / ours", 0.99, 1)
    return report.end(options.markdown)
""",
    "fake_broken": """
    Report().require("before it broke", 50.0, 30)
    raise OSError("no /opt/servers/bin/influxd here\\nat all")
""",
    "fake_missing": "    raise SystemExit('wrk is not installed')\n",
    "fake_killed": "    import os\n    os._exit(9)\n",
    "fake_silent": "    return 0\n",
}


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks that end in every way, in place of the real ones."""
    for name, text in FAKES.items():
        (tmp_path / f"{name}.py").write_text(HEAD + text)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[1]}")
    every = [Benchmark(name) for name in FAKES if name != "fake_silent"]
    every += [Benchmark("fake_silent", has_limits=False), Benchmark("fake_silent", quick=())]
    monkeypatch.setattr(umbrella, "ALL", tuple(every))


@pytest.mark.usefixtures("fakes")
def test_every_ratio_is_listed_with_its_verdict_and_what_broke_off_as_not_measured(tmp_path: Path) -> None:
    page, data = tmp_path / "found.md", tmp_path / "found.json"
    assert umbrella.main(["--markdown", str(page), "--json", str(data)]) == 1
    document = json.loads(data.read_text())
    found = [tuple(ratio[key] for key in ("benchmark", "what", "verdict")) for ratio in document["ratios"]]
    assert found == [
        ("fake_good", "theirs | ours", "PASS"),
        ("fake_slow", "theirs / ours", "FAIL"),
        ("fake_broken", "before it broke", "PASS"),
        ("fake_broken", "OSError: no influxd here", NOT_MEASURED),
        ("fake_missing", "wrk is not installed", NOT_MEASURED),
        ("fake_killed", "it ended with code 9", NOT_MEASURED),
        ("fake_silent", "it gave no ratio", NOT_MEASURED),
    ]
    assert document["ratios"][0] == {
        "benchmark": "fake_good",
        "what": "theirs | ours",
        "measured": 1.5,
        "at_least": 1.5,
        "sides": "30.0 ms / 20.0 ms",
        "verdict": "PASS",
    }
    (report,) = document["benchmarks"][0]["reports"]
    assert report["tables"][0]["rows"] == [["theirs", "30.0", "31.0", "1.0"], ["ours", "20.0", "21.0", "1.5"]]
    lines = page.read_text().splitlines()
    assert "| fake_good | theirs \\| ours | 30.0 ms / 20.0 ms | 1.50 | 1.50 | PASS |" in lines
    assert "| fake_missing | wrk is not installed |  |  |  | not measured |" in lines
    assert "2 of 7 reached." in lines


def test_every_benchmark_of_the_folder_is_run() -> None:
    folder = Path(umbrella.__file__).parent
    commands = {path.stem for path in folder.glob("*.py") if re.search("^def main", path.read_text(), re.M)}
    # What compares with another commit has to be told which.
    assert {benchmark.name for benchmark in ALL} == commands - {"__main__", "against"}


def test_a_verdict_is_kept_with_both_sides() -> None:
    report = Report()
    report.require("a / b", 10.0, 10, in_ms(Timing(10.0, 11.0), Timing(1.0, 1.5)))
    assert not report.failed
    report.require("a / c", 0.996, 1)
    assert report.failed
    assert report.lines == [
        "- PASS: a / b: 10.0, required at least 10.0",
        "- FAIL: a / c: 0.99, required at least 1.00",
    ]
    assert report.verdicts[0].sides == "10.0 ms / 1.0 ms"


def test_a_ratio_near_one_is_shown_to_the_second_decimal_and_never_rounded_up() -> None:
    assert [figure(ratio) for ratio in (0.999, 2.3, 9.996, 10.0, 2491.66)] == [
        "0.99",
        "2.30",
        "9.99",
        "10.0",
        "2,491.6",
    ]
