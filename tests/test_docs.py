"""README and docs say what the command line does, and the continuous integration runs what README says."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from pfa_flux import settings
from pfa_flux.schema import Schema
from pfa_flux.settings import TaskSettings
from pfa_flux.settings.pixel import PixelSettings
from tests.cli import pfa_flux

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def code(page: Path) -> str:
    """The fenced blocks of a page, continued lines joined."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    return "\n".join(blocks).replace("\\\n", " ")


def commands() -> list[list[str]]:
    """Every pfa-flux command in a block of the pages, split."""
    found = []
    for page in PAGES:
        for line in code(page).splitlines():
            for words in split(line):
                if words and words[0].rpartition("/")[2] == "pfa-flux":
                    found.append(words[1:])
    return found


def split(line: str) -> list[list[str]]:
    """Words of each command of a line of shell, up to where its output goes."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if word in {"&&", "||", "|", ";", ">"}:
            found.append([])
        else:
            found[-1].append(word)
    return found


def test_there_are_commands_to_check() -> None:
    assert ["doctor"] in commands()
    assert ["demo"] in commands()


@pytest.mark.parametrize("words", sorted({tuple(words) for words in commands()}), ids=" ".join)
def test_a_documented_command_has_its_help_and_each_option_of_it(words: tuple[str, ...]) -> None:
    group = 2 if words[0] in {"task", "config", "dashboard"} else 1
    shown = pfa_flux(*words[:group], "--help", env={"COLUMNS": "300"})
    assert shown.code == 0, shown.err
    for option in (word.partition("=")[0] for word in words if word.startswith("--")):
        assert re.search(rf"(?<!\S){option}(?!\S)", shown.out), option


def test_every_command_is_in_the_changelog() -> None:
    shown = pfa_flux("--help", env={"COLUMNS": "300"}).out
    names = re.findall(r"^  ([a-z][a-z-]+)  ", shown.partition("Commands:")[2], re.MULTILINE)
    assert "blocked-ratio" in names
    for name in names:
        assert f"`pfa-flux {name}" in (ROOT / "CHANGELOG.md").read_text(), name


def test_the_integration_runs_the_tests_as_readme_says() -> None:
    (line,) = [line for line in code(ROOT / "README.md").splitlines() if line.endswith("/pytest")]
    assert line in (ROOT / ".ci" / "run").read_text().splitlines()


def test_every_setting_is_documented_and_its_example_loads(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    for name in settings.KEYS:
        assert f"| `{name}` | `PFA_FLUX_{name.upper()}` |" in page, name
    (example,) = re.findall(r"^```toml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    document = tomllib.loads(example)
    assert set(document["schema"]) == {each.name for each in fields(Schema)}
    assert set(document["task"]) == {each.name for each in fields(TaskSettings)}
    loaded = settings.load({}, environ={}, config=_without_token(example, tmp_path))
    assert set(document["pixel"]) == {each.name for each in fields(PixelSettings)}
    assert (loaded.schema, loaded.task, loaded.pixel) == (Schema(), TaskSettings(), PixelSettings())


def _without_token(example: str, tmp_path: Path) -> Path:
    path = tmp_path / "pfa-flux.toml"
    path.write_text("\n".join(line for line in example.splitlines() if not line.startswith("token_file")))
    return path


def test_links_and_pictures_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_into_a_page_lead_to_a_heading() -> None:
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
            assert anchor in anchors(page.parent / target if target else page), f"{page.name}: {target}#{anchor}"


def test_pictures_ask_nothing_of_other_hosts() -> None:
    for picture in (ROOT / "docs" / "pictures").glob("*.svg"):
        assert not re.search(r"(?:href|src|url\()\W*https?:", picture.read_text()), picture.name


def test_nothing_in_the_tree_names_this_machine() -> None:
    home = str(Path.home())
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.exists() and len(home) > 1:
            assert home not in path.read_text(errors="replace"), name


def test_every_warning_that_the_code_gives_is_explained_with_what_to_do() -> None:
    source = "".join(path.read_text() for path in (ROOT / "pfa_flux").rglob("*.py"))
    codes = set(re.findall(r"\bAnswerWarning\(\s*\"(\w+)\"", source))
    assert len(codes) > 10
    sections = re.split(r"^## ", (ROOT / "docs" / "warnings.md").read_text(), flags=re.MULTILINE)[1:]
    assert {section.partition("\n")[0] for section in sections} == codes
    for section in sections:
        assert re.fullmatch(r"\w+\n\n[A-Z].*\n\n(?:> .+\n\n)?\*\*What to do:\*\* \S.*\n+", section), section


TASKS = [page for page in PAGES if "**You get**" in page.read_text()]


@pytest.mark.parametrize("page", TASKS, ids=lambda page: page.stem)
def test_a_task_begins_with_what_one_gets_and_needs_and_has_its_steps_in_order(page: Path) -> None:
    text = page.read_text()
    assert re.match(r"# .+\n\n- \*\*You get\*\* .+\n(?:  .+\n)*- \*\*You need\*\* ", text)
    numbers = [int(number) for number in re.findall(r"^## (\d+)\. ", text, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    # All of troubleshooting is about that.
    assert "\n## What can go wrong\n" in text or page.stem == "troubleshooting"
