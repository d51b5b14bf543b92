"""What is installed is whole: the Flux files in wheel and sdist, found outside the checkout, and an explicit API."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import pfa_flux
from pfa_flux.engines.influxdb import flux
from tests import audit

ROOT = Path(__file__).parents[1]
FLUX = sorted(path.relative_to(ROOT / "flux").as_posix() for path in (ROOT / "flux").rglob("*.flux"))


def build(folder: Path) -> dict[str, Path]:
    """Build the wheel and the sdist of the checkout."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=ROOT, check=True, capture_output=True
    )
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel and the sdist of the checkout."""
    return build(tmp_path_factory.mktemp("dist"))


def run(code: str, cwd: Path, **environment: str) -> str:
    """What Python prints of some code, run in another folder, which is not on its path."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_wheel_and_sdist_hold_every_flux_file(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as wheel:
        names = set(wheel.namelist())
    assert {f"pfa_flux/_flux/{name}" for name in FLUX} == {n for n in names if n.endswith(".flux")}
    assert "pfa_flux/py.typed" in names
    with tarfile.open(built["sdist"]) as sdist:
        inside = {name.partition("/")[2] for name in sdist.getnames()}
    assert {f"flux/{name}" for name in FLUX} == {n for n in inside if n.endswith(".flux") and n.startswith("flux/")}
    assert {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "pfa_flux/py.typed"} <= inside


def test_the_wheel_has_the_unit(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as wheel:
        unit = wheel.read("pfa_flux/_systemd/pfa-flux.service").decode()
    assert unit == (ROOT / "docs" / "systemd" / "pfa-flux.service").read_text()


def test_the_wheel_names_its_command_and_its_licence(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as wheel:
        info = {name.rpartition("/")[2]: name for name in wheel.namelist() if ".dist-info/" in name}
        assert "pfa-flux = pfa_flux.start:main" in wheel.read(info["entry_points.txt"]).decode()
        metadata = wheel.read(info["METADATA"]).decode()
    assert "License-Expression: BSD-3-Clause" in metadata
    assert "Requires-Python: >=3.11" in metadata


def test_the_version_has_one_place_and_a_section_of_the_changelog(built: dict[str, Path]) -> None:
    version = pfa_flux.__version__
    with zipfile.ZipFile(built["wheel"]) as wheel:
        metadata = wheel.read(f"pfa_flux-{version}.dist-info/METADATA").decode()
    assert f"\nVersion: {version}\n" in metadata
    assert built["wheel"].name == f"pfa_flux-{version}-py3-none-any.whl"
    assert built["sdist"].name == f"pfa_flux-{version}.tar.gz"
    # Not a second time where it could be forgotten.
    places = [ROOT / "pyproject.toml", *(path for path in (ROOT / "pfa_flux").rglob("*.py"))]
    assert [path.name for path in places if f'"{version}"' in path.read_text()] == ["__init__.py"]
    # A release turns Unreleased into its version; work on the next one puts Unreleased on top again.
    sections = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[0] in {"Unreleased", version}
    assert version in sections or sections == ["Unreleased"]


def test_a_wheel_finds_its_flux_files_outside_the_checkout(built: dict[str, Path], tmp_path: Path) -> None:
    installed = tmp_path / "site"
    with zipfile.ZipFile(built["wheel"]) as wheel:
        wheel.extractall(installed)
    code = (
        "import pfa_flux, pfa_flux.engines.influxdb.flux as flux; print(pfa_flux.__file__); "
        f"print(all(flux.load(name) for name in {FLUX!r}))"
    )
    where, found = run(code, tmp_path, PYTHONPATH=str(installed)).splitlines()
    assert (Path(where).parent, found) == (installed / "pfa_flux", "True")
    version = run(
        "import sys; sys.argv = ['pfa-flux', '--version']; from pfa_flux.cli import main; main()",
        tmp_path,
        PYTHONPATH=str(installed),
    )
    assert version == f"pfa-flux {pfa_flux.__version__}"


def test_an_edited_flux_file_is_seen_where_the_package_lies_in_its_checkout(tmp_path: Path) -> None:
    for name in ("pfa_flux", "flux"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    edited = tmp_path / "flux" / "queries" / "edge.flux"
    edited.write_text(edited.read_text() + "// edited\n")
    code = "import pfa_flux.engines.influxdb.flux as flux; print(flux.load('queries/edge.flux').splitlines()[-1])"
    assert run(code, tmp_path / "flux", PYTHONPATH=str(tmp_path)) == "// edited"


@pytest.mark.parametrize("name", FLUX)
def test_each_flux_file_says_first_what_it_is_for(name: str) -> None:
    first = flux.load(name).splitlines()[0]
    assert first.startswith("// ")
    assert len(first) > 20


def test_the_public_names_are_listed_one_by_one_and_described() -> None:
    assert list(pfa_flux.__all__) == sorted(set(pfa_flux.__all__))
    for name in pfa_flux.__all__:
        assert name == "__version__" or (getattr(pfa_flux, name).__doc__ or "").strip(), name
    assert set(pfa_flux.__all__) == set(dir(pfa_flux))
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = pfa_flux.absent


def test_the_old_name_of_a_warning_works_and_is_deprecated() -> None:
    with pytest.warns(DeprecationWarning, match="Caveat is now AnswerWarning"):
        old = pfa_flux.Caveat
    assert (old is pfa_flux.AnswerWarning, "Caveat" in pfa_flux.__all__) == (True, False)


def test_a_start_imports_no_client_and_no_plotting() -> None:
    late = {"influxdb_client", "pandas", "urllib3", "rich", "tomlkit"}
    code = f"import sys, pfa_flux.cli; print({late} & set(sys.modules))"
    assert run(code, ROOT.parent) == "set()"


FOUND = {
    "dependencies": [
        {"name": "rich", "version": "13.9.0", "vulns": []},
        {"name": "pfa-other", "skip_reason": "not in the index"},
        {"name": "urllib3", "version": "2.0.2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.0.6", "2.1"]}]},
        {"name": "typer", "version": "0.18", "vulns": [{"id": "PYSEC-2", "fix_versions": []}]},
    ]
}
SAFE = {"dependencies": [{"name": "rich", "version": "13.9.0", "vulns": []}]}
NO_DATA = {"dependencies": [{"name": name, "skip_reason": "not found"} for name in ("rich", "typer")]}


@pytest.mark.parametrize(
    ("script", "lines", "code"),
    [
        (
            f"echo '{json.dumps(FOUND)}'; exit 1",
            [
                "vulnerable: urllib3 2.0.2: PYSEC-1, fixed in 2.0.6, 2.1",
                "vulnerable: typer 0.18: PYSEC-2, not fixed",
                "audited: 3 of 4 packages",
                "not audited: pfa-other: not in the index",
            ],
            1,
        ),
        (f"echo '{json.dumps(SAFE)}'", ["audited: 1 of 1 packages"], 0),
        (
            f"echo 'No known vulnerabilities found' >&2; echo '{json.dumps(NO_DATA)}'",
            ["audited: 0 of 2 packages", "not audited: there is no data on any of them (not found)"],
            0,
        ),
        (
            "printf 'Traceback\\nConnectionError: no such host\\n' >&2; exit 1",
            ["not audited: ConnectionError: no such host"],
            0,
        ),
        ("exit 3", ["not audited: pip-audit ended with code 3"], 0),
    ],
    ids=["vulnerable", "safe", "no data", "no connection", "nothing said"],
)
def test_an_audit_fails_for_a_known_vulnerability_and_says_what_it_could_not_audit(
    script: str, lines: list[str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "pip-audit"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    assert audit.main(str(program)) == code
    assert capsys.readouterr().out.splitlines() == lines


def test_an_audit_that_hangs_or_is_missing_is_given_up(tmp_path: Path) -> None:
    program = tmp_path / "pip-audit"
    assert audit.ask(str(program), "") == ({}, "pip-audit cannot be run: No such file or directory")
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    assert audit.ask(str(program), "", seconds=0.2) == ({}, "pip-audit had no answer after 0.2 s")


def test_what_is_audited_is_what_is_installed_without_pip_and_the_checkout() -> None:
    names = {line.partition("==")[0] for line in audit.installed().splitlines()}
    assert {"influxdb-client", "typer", "rich", "urllib3", "pytest", "hypothesis"} <= names
    assert not names & {"pip", "pfa-flux", "pip-audit"}


def test_renamed_attributes_keep_working_and_warn() -> None:
    gaps = pfa_flux.Ledger(0, 900, 450)
    with pytest.warns(DeprecationWarning, match=r"Ledger.known_from is now Ledger.raw_kept_from"):
        assert gaps.known_from == gaps.raw_kept_from == 450
    for owner, old, new in (
        (pfa_flux.Verification, "spans", "ranges"), (pfa_flux.Task, "touched", "late_windows"),
        (pfa_flux.Task, "repair_touched", "repair_all"),
    ):  # fmt: skip
        assert f"`{new}`" in getattr(owner, old).__doc__
        assert new in dir(owner)
