"""What is installed is whole: the Flux files in wheel and sdist, found outside the checkout, and an explicit API."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import pfa_flux
from pfa_flux import flux

ROOT = Path(__file__).parents[1]
FLUX = sorted(path.relative_to(ROOT / "flux").as_posix() for path in (ROOT / "flux").rglob("*.flux"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel and the sdist of the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=ROOT, check=True, capture_output=True
    )
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist}


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
    assert {f"flux/{name}" for name in FLUX} == {n for n in inside if n.endswith(".flux")}
    assert {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "pfa_flux/py.typed"} <= inside


def test_the_wheel_names_its_command_and_its_licence(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as wheel:
        info = {name.rpartition("/")[2]: name for name in wheel.namelist() if ".dist-info/" in name}
        assert "pfa-flux = pfa_flux.cli:main" in wheel.read(info["entry_points.txt"]).decode()
        metadata = wheel.read(info["METADATA"]).decode()
    assert "License-Expression: BSD-3-Clause" in metadata
    assert "Requires-Python: >=3.11" in metadata


def test_a_wheel_finds_its_flux_files_outside_the_checkout(built: dict[str, Path], tmp_path: Path) -> None:
    installed = tmp_path / "site"
    with zipfile.ZipFile(built["wheel"]) as wheel:
        wheel.extractall(installed)
    code = (
        "import pfa_flux, pfa_flux.flux as flux; print(pfa_flux.__file__); "
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
    code = "import pfa_flux.flux as flux; print(flux.load('queries/edge.flux').splitlines()[-1])"
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


def test_a_start_imports_no_client_and_no_plotting() -> None:
    code = "import sys, pfa_flux.cli; print({'influxdb_client', 'pandas', 'urllib3', 'rich'} & set(sys.modules))"
    assert run(code, ROOT.parent) == "set()"
