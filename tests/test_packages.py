"""A release as its users get it: built and checked by one command, from an index, and as a Debian package."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import pfa_flux
from release import __main__ as release
from release import deb

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
NEEDED = ("dpkg-deb", "lintian", "groff", "unshare", "py3compile", "adduser")
_STEPS = """
set -e
mount -t tmpfs tmpfs {folder}
mkdir {folder}/upper {folder}/work {folder}/machine
mount -t overlay overlay -o lowerdir=/,upperdir={folder}/upper,workdir={folder}/work {folder}/machine
for each in dev proc; do mount --rbind /$each {folder}/machine/$each; done
mkdir {folder}/machine/packages
cp {packages} {folder}/machine/packages
chroot {folder}/machine env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8 sh -e <<'END'
{commands}
END
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of a release; what is missing for them is a failure where all is required, and else a skip."""
    missing = [name for name in NEEDED if shutil.which(name, path=f"{os.defpath}:/usr/sbin:/sbin") is None]
    missing += [
        name for name in ("twine", "hadolint", "pipx", "uv") if not (Path(sys.executable).parent / name).exists()
    ]
    if missing:
        words = f"a release needs {', '.join(missing)}: pip install -e '.[test,release]', and Debian's packages"
        (pytest.fail if os.environ.get("PFA_FLUX_REQUIRE_ENGINES") else pytest.skip)(words)
    folder = tmp_path_factory.mktemp("release")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def files(built: Path) -> dict[str, Path]:
    """By the end of their names, built by the command for it."""
    done = subprocess.run(
        [sys.executable, "-m", "release", "--out", str(built)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    return {file.suffix or file.name: file for file in built.iterdir()}


def test_one_command_builds_the_release_and_looks_at_it(files: dict[str, Path]) -> None:
    assert sorted(files) == [".deb", ".gz", ".whl", "Containerfile"]


def test_a_folder_that_holds_something_is_not_built_into(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(SystemExit, match="is not empty"):
        release.build(tmp_path)


@pytest.mark.parametrize(
    ("version", "debian"), [("1.2.3", "1.2.3"), ("1.2.0rc1", "1.2.0~rc1"), ("0.2.0.dev3", "0.2.0~dev3")]
)
def test_what_comes_before_a_version_does_so_for_debian(version: str, debian: str) -> None:
    assert release.debian_version(version) == debian
    assert subprocess.run(["dpkg", "--compare-versions", debian, "le", "1.2.3"], check=False).returncode == 0


def test_the_wheel_has_the_manual_and_completions(files: dict[str, Path]) -> None:
    data = f"pfa_flux-{pfa_flux.__version__}.data/data/share"
    with zipfile.ZipFile(files[".whl"]) as wheel:
        shared = {name.removeprefix(f"{data}/") for name in wheel.namelist() if name.startswith(data)}
    assert shared == {
        "man/man1/pfa-flux.1",
        "bash-completion/completions/pfa-flux",
        "zsh/site-functions/_pfa-flux",
        "fish/vendor_completions.d/pfa-flux.fish",
    }


def test_bash_completes_commands_and_options(files: dict[str, Path], tmp_path: Path) -> None:
    script = ROOT / "release/completions/pfa-flux.bash"
    for words, wanted in (
        (["pfa-flux", "block"], ["blocked-ratio"]),
        (["pfa-flux", "task", "verify", "--rep"], ["--repair"]),
    ):
        line = (
            f"source {script}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
            "_pfa_flux_completion pfa-flux; printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        path = f"{Path(sys.executable).parent}:{os.defpath}"
        done = subprocess.run(["bash", "-c", line], env={"PATH": path}, capture_output=True, text=True, check=True)
        assert done.stdout.split() == wanted


@pytest.fixture(scope="module")
def index(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a package index with the wheel."""
    folder = tmp_path_factory.mktemp("index")
    project = folder / "simple/pfa-flux"
    project.mkdir(parents=True)
    shutil.copy(files[".whl"], project)
    handler = functools.partial(_Silent, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/simple/"
        server.shutdown()
        thread.join()


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("how", ["pipx", "uvx"])
def test_it_is_installed_by_its_name_from_an_index(how: str, index: str, tmp_path: Path) -> None:
    scripts = Path(sys.executable).parent
    home = tmp_path / "home"
    given = {"HOME": str(home), "PIP_EXTRA_INDEX_URL": index, "UV_INDEX": index, "UV_CACHE_DIR": str(home / "cache")}
    environment = {**os.environ, **given, "UV_PYTHON_DOWNLOADS": "never", "PIPX_HOME": str(home / "pipx")}

    def run(*words: str) -> str:
        done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    if how == "pipx":
        # It makes an environment, and lets pip install into it.
        run(str(scripts / "pipx"), "install", "pfa-flux")
        command = [str(home / ".local/bin/pfa-flux")]
    else:
        command = [str(scripts / "uv"), "tool", "run", "--python", sys.executable, "pfa-flux"]
    assert run(*command, "--version") == f"pfa-flux {pfa_flux.__version__}\n"
    run(*command, "demo", "--quiet")


def in_mounts(text: str) -> subprocess.CompletedProcess[str]:
    """A script whose mounts nobody else sees, and which are gone when it ends."""
    return subprocess.run(["unshare", "--mount", "sh", "-c", text], capture_output=True, text=True, check=False)


def in_a_root(folder: Path, packages: list[Path], commands: str) -> list[str]:
    """Lines that commands print in a root of their own: this machine's, with nothing that they change kept."""
    folder.mkdir()
    if in_mounts(_STEPS.partition("mkdir {folder}/machine/packages")[0].format(folder=folder)).returncode:
        pytest.skip("a root of its own needs the right to mount, which a container may not have")
    text = _STEPS.format(folder=folder, packages=" ".join(map(str, packages)), commands=commands)
    done = in_mounts(text)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_debian_installs_upgrades_and_purges_it(files: dict[str, Path], tmp_path: Path) -> None:
    newer = deb.build(files[".whl"], f"{pfa_flux.__version__}-2", tmp_path)
    commands = f"""
        dpkg --install /packages/{files[".deb"].name} >/dev/null
        getent passwd pfa-flux | cut -d: -f1,6,7
        stat --format '%U %G %a' /var/lib/pfa-flux
        pfa-flux --version
        setpriv --reuid pfa-flux --regid pfa-flux --clear-groups env HOME=/nonexistent pfa-flux demo --quiet | head -c 0
        man --where pfa-flux
        echo '# mine' >> /etc/pfa-flux/pfa-flux.toml
        touch /var/lib/pfa-flux/kept
        dpkg --install /packages/{newer.name} >/dev/null
        dpkg-query --show --showformat '${{Version}}\\n' pfa-flux
        tail -1 /etc/pfa-flux/pfa-flux.toml
        ls /var/lib/pfa-flux
        dpkg --remove pfa-flux >/dev/null
        ls -d /usr/lib/pfa-flux /usr/bin/pfa-flux /etc/pfa-flux /var/lib/pfa-flux 2>/dev/null || true
        dpkg --purge pfa-flux >/dev/null
        ls -d /etc/pfa-flux /var/lib/pfa-flux 2>/dev/null || true
        dpkg --audit
    """
    assert in_a_root(tmp_path / "root", [files[".deb"], newer], commands) == [
        "pfa-flux:/var/lib/pfa-flux:/usr/sbin/nologin",
        "pfa-flux pfa-flux 700",
        f"pfa-flux {pfa_flux.__version__}",
        "/usr/share/man/man1/pfa-flux.1.gz",
        f"{pfa_flux.__version__}-2",
        "# mine",
        "kept",
        "/etc/pfa-flux",
        "/var/lib/pfa-flux",
    ]


def test_the_units_of_the_package_are_those_of_the_docs_with_its_own_command_and_user(
    files: dict[str, Path], tmp_path: Path
) -> None:
    subprocess.run(["dpkg-deb", "--extract", str(files[".deb"]), str(tmp_path)], check=True)
    for unit in (ROOT / "docs/systemd").iterdir():
        lines = unit.read_text().replace("/usr/local/bin/pfa-flux", "/usr/bin/pfa-flux").splitlines()
        mine = (tmp_path / "usr/lib/systemd/system" / unit.name).read_text().splitlines()
        assert mine == [line for line in lines if line != "DynamicUser=yes"]
