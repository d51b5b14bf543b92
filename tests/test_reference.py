"""The reference, the table of metrics and the names in sentences are those of the program."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from pfa_flux.journal.spool import SPOOL_NAME
from tests.pixel_server import PixelServer
from tests.stage import page
from tests.test_docs import PAGES, ROOT


def test_the_reference_is_what_the_commands_say() -> None:
    words = [sys.executable, str(ROOT / "docs/reference.py"), "--check"]
    assert subprocess.run(words, capture_output=True, text=True, check=False).stdout == ""


def test_a_command_named_in_a_sentence_is_in_the_reference_with_its_options() -> None:
    head, *parts = re.split(r"^## ", page("docs/cli.md"), flags=re.MULTILINE)
    known = {part.partition("\n")[0]: part for part in parts}
    shared = known.pop("Options that commands share")
    assert head.startswith("# The command line")
    for each in PAGES:
        for span in re.findall(r"`pfa-flux ([a-z][^`…]*)`", each.read_text()):
            words = span.split()
            name = " ".join(("pfa-flux", *words[: 2 if words[0] in {"task", "config", "dashboard"} else 1]))
            assert name in known, f"{each.name}: {span}"
            for option in (word for word in words if word.startswith("--")):
                assert f"`{option}`" in known[name] + shared, f"{each.name}: {span}"


def described(metrics: str) -> list[tuple[str, str, str]]:
    """Name, kind and words of each metric."""
    return re.findall(r"^# HELP (\S+) (.*)\n# TYPE \S+ (\S+)$", metrics, re.MULTILINE)


def test_every_metric_is_in_the_table_and_every_alert_is_about_one(tmp_path: Path) -> None:
    with PixelServer(tmp_path, url="http://127.0.0.1:9") as pixel:
        found = described(pixel.get("/metrics"))
    text = page("docs/operations.md")
    assert [f"| `{name}` | {kind} | {words} |" for name, words, kind in found] == re.findall(
        r"^\| `pfa_flux_\w+` \|.*$", text, re.MULTILINE
    )
    names = {name for name, _, _ in found}
    assert set(re.findall(r"pfa_flux_\w+", text)) <= names
    rules = re.findall(r"^ +expr: (.*)$", text, re.MULTILINE)
    assert len(rules) == text.count("- alert: ") > 5
    for rule in rules:
        assert "pfa_flux_" in rule or rule == 'up{job="pfa-flux"} == 0'


def test_a_spool_that_is_named_in_the_pages_has_that_name() -> None:
    assert f"`{SPOOL_NAME}`" in page("docs/operations.md")
