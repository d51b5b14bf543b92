"""What is built installs in empty environments, on every CPython of this machine and with the oldest dependencies."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import pfa_flux
from tests.engines.process import Process, free_ports
from tests.load import get, send
from tests.stored import until
from tests.test_packaging import build

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
OLDEST = (3, 11)
_PROBE = """
import ensurepip, platform, sys, venv
print(platform.python_implementation(), platform.python_version(), getattr(sys, "_base_executable", sys.executable))
"""
_INSTALLED = """
import importlib.metadata, json, pfa_flux
print(json.dumps({
    "version": pfa_flux.__version__,
    "metadata": importlib.metadata.version("pfa-flux"),
    "connect": callable(pfa_flux.connect),
    "file": pfa_flux.__file__,
    "files": [str(file) for file in importlib.metadata.files("pfa-flux")],
}))
"""
_HELP = """
import sys
from pfa_flux.start import main
for command in sys.argv[1:]:
    sys.argv = ["pfa-flux", command, "--help"]
    try:
        main()
    except SystemExit as end:
        assert end.code == 0, command
"""


@cache
def cpythons() -> dict[str, Path]:
    """Every CPython here that is new enough and makes environments, by version: ours, on PATH, and pyenv's."""
    candidates = [Path(getattr(sys, "_base_executable", sys.executable))]
    for folder in map(Path, os.get_exec_path()):
        candidates += sorted(path for path in folder.glob("python3.*") if re.fullmatch(r"python3\.\d+t?", path.name))
    if root := _pyenv():
        candidates += sorted(root.glob("versions/*/bin/python"))
    found: dict[str, Path] = {}
    for path in candidates:
        try:
            probe = subprocess.run([path, "-I", "-c", _PROBE], capture_output=True, text=True, timeout=20, check=True)
        except (OSError, subprocess.SubprocessError):
            # A shim of a version that is not chosen, or one without venv.
            continue
        kind, version, real = probe.stdout.strip().split(" ", 2)
        if kind == "CPython" and tuple(map(int, version.split(".")[:2])) >= OLDEST:
            found.setdefault(version, Path(real))
    return dict(sorted(found.items(), key=lambda each: [int(n) for n in re.findall(r"\d+", each[0])]))


def _pyenv() -> Path | None:
    if given := os.environ.get("PYENV_ROOT"):
        return Path(given)
    if shutil.which("pyenv") is None:
        return None
    return Path(subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=True).stdout.strip())


@dataclass(frozen=True)
class Environment:
    """An environment of its own with an empty home, and an empty folder to be in."""

    folder: Path
    cache: Path

    @property
    def home(self) -> Path:
        """HOME."""
        return self.folder / "home"

    @property
    def variables(self) -> dict[str, str]:
        """What a program sees: how this machine gets packages, and nothing else of ours."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name.startswith("PIP_") or name.lower().endswith(("_proxy", "ssl_cert_file"))
        }
        own = {"HOME": str(self.home), "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "PIP_CACHE_DIR": str(self.cache)}
        # As python -P: neither the current folder nor a script's is looked into.
        return {**kept, **own, "PYTHONSAFEPATH": "1", "TMPDIR": str(self.folder / "tmp")}

    def run(self, program: str, *words: str) -> str:
        """Standard output of a program of the environment that has to succeed."""
        done = subprocess.run(
            [self.folder / "bin" / program, *words],
            cwd=self.home,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, f"{program} {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def smoke(self) -> None:
        """All that an installation has to be able to do without a server."""
        self.run("pip", "check")
        self._is_whole()
        assert self.run("pfa-flux", "--version") == f"pfa-flux {pfa_flux.__version__}\n"
        overview = self.run("pfa-flux", "--help")
        commands = re.findall(r"^  ([a-z][a-z-]+)  ", overview.partition("Commands:")[2], re.MULTILINE)
        assert {"blocked-ratio", "serve", "task"} <= set(commands)
        self.run("python", "-c", _HELP, *commands)
        self.run("pfa-flux", "demo", "--quiet")
        self._counts()

    def _is_whole(self) -> None:
        told = json.loads(self.run("python", "-c", _INSTALLED))
        assert (told["version"], told["metadata"]) == (pfa_flux.__version__, pfa_flux.__version__)
        assert told["connect"] is True
        assert Path(told["file"]).is_relative_to(self.folder)
        places = {Path(file).parts[0] for file in told["files"]}
        assert places == {"pfa_flux", f"pfa_flux-{pfa_flux.__version__}.dist-info", ".."}
        outside = {Path(file).relative_to("../../..").parts[0] for file in told["files"] if file.startswith("..")}
        assert outside == {"bin", "share"}
        assert not [file for file in told["files"] if re.search("test|benchmark|conftest", file)]

    def _counts(self) -> None:
        """A hit comes in over HTTP, and is in the answer."""
        pixel, admin = (f"127.0.0.1:{port}" for port in free_ports(2))
        variables = [f"{name}={value}" for name, value in self.variables.items()]
        command = [str(self.folder / "bin" / "pfa-flux"), "serve", "--listen", pixel, "--admin", admin]
        server = Process(["env", "-i", "-C", str(self.home), *variables, *command], self.folder)
        server.start()
        try:
            until(lambda: _listens(pixel) or not server.alive(), "the pixel")
            assert server.alive(), server.log_tail()
            assert send(pixel, [get("/first")]).counted == 1
            shown = json.loads(self.run("pfa-flux", "blocked-ratio", "--by", "page", "--format", "json"))
        finally:
            server.stop()
        assert [(row["page"], row["hits"], row["status"]) for row in shown["rows"]] == [("/first", 1, "no_js")]
        assert (self.home / ".local" / "share" / "pfa-flux").is_dir()


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel and the sdist of the checkout."""
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is downloaded, once for all environments of this run."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture
def make(tmp_path: Path, downloads: Path) -> Iterator[MakeEnvironment]:
    """Makes empty environments, and removes them."""
    maker = MakeEnvironment(tmp_path / "environment", downloads)
    yield maker
    maker.remove()


@dataclass(frozen=True)
class MakeEnvironment:
    """Makes an empty environment, one at a time."""

    folder: Path
    downloads: Path

    def __call__(self, python: Path) -> Environment:
        """Make one with a CPython."""
        self.remove()
        subprocess.run([python, "-I", "-m", "venv", self.folder], check=True, capture_output=True)
        made = Environment(self.folder, self.downloads)
        made.home.mkdir()
        (self.folder / "tmp").mkdir()
        return made

    def remove(self) -> None:
        """Remove the last one."""
        shutil.rmtree(self.folder, ignore_errors=True)


def test_the_wheel_works_on_every_cpython_of_this_machine(
    built: dict[str, Path], make: MakeEnvironment, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ".".join(map(str, sys.version_info[:3])) in " ".join(cpythons())
    for version, python in cpythons().items():
        with capsys.disabled():
            print(f"\nwheel on CPython {version}: ", end="", flush=True)
        environment = make(python)
        environment.run("pip", "install", str(built["wheel"]))
        assert environment.run("python", "--version") == f"Python {version}\n"
        environment.smoke()
        assert list(environment.home.iterdir()) == [environment.home / ".local"]
        with capsys.disabled():
            print("works", end="", flush=True)


def test_the_sdist_installs_what_the_wheel_holds(built: dict[str, Path], make: MakeEnvironment) -> None:
    environment = make(next(iter(cpythons().values())))
    environment.run("pip", "install", str(built["sdist"]))
    environment.run("pip", "check")
    assert environment.run("pfa-flux", "--version") == f"pfa-flux {pfa_flux.__version__}\n"
    with zipfile.ZipFile(built["wheel"]) as wheel:
        for name in wheel.namelist():
            # pip writes a record of its own.
            if not name.endswith("/RECORD"):
                _, data, shared = name.partition(".data/data/")
                (installed,) = environment.folder.glob(shared if data else f"lib/*/site-packages/{name}")
                assert installed.read_bytes() == wheel.read(name), name


def test_the_oldest_dependencies_that_are_allowed_work(built: dict[str, Path], make: MakeEnvironment) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = [dependency.replace(">=", "==") for dependency in project["dependencies"]]
    assert all(re.fullmatch(r"[a-z0-9-]+==[\d.]+", each) for each in oldest), oldest
    environment = make(next(iter(cpythons().values())))
    environment.run("pip", "install", str(built["wheel"]), *oldest)
    environment.smoke()
