"""Build and check the files of a release: `python -m release [--out dist]`.

The files are the wheel, the source distribution, the Debian package, and the Containerfile for an image. If a program
for a check is missing, the check fails, because a release must not contain unchecked files.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

from pfa_flux import __version__
from release import deb

ROOT = Path(__file__).parent.parent


def build(folder: Path) -> list[Path]:
    """Build all files of the release into an empty folder, and return their paths.

    Raises:
        SystemExit: the folder is not empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty. Name another folder with --out, or empty this one.")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=ROOT, check=True)
    (wheel,) = folder.glob("*.whl")
    deb.build(wheel, f"{debian_version(__version__)}-1", folder)
    shutil.copy(ROOT / "release/Containerfile", folder)
    return sorted(folder.iterdir())


def debian_version(version: str) -> str:
    """The version in a form that Debian sorts correctly: 1.2.0rc1 before 1.2.0."""
    return re.sub(r"\.?(a|b|rc|dev)(\d)", r"~\1\2", version)


def checks(files: list[Path]) -> list[list[str]]:
    """Commands that check the files. Each must succeed, and print nothing on standard error."""
    packages = [str(file) for file in files if file.suffix in {".whl", ".gz"}]
    (debian,) = (str(file) for file in files if file.suffix == ".deb")
    (container,) = (str(file) for file in files if file.name == "Containerfile")
    scripts = Path(sys.executable).parent
    return [
        [sys.executable, "docs/reference.py", "--check"],
        [str(scripts / "twine"), "check", "--strict", *packages],
        ["lintian", "--allow-root", "--fail-on", "error,warning", debian],
        ["groff", "-man", "-Tutf8", "-ww", "-z", "docs/pfa-flux.1"],
        [str(scripts / "hadolint"), "--failure-threshold", "style", container],
    ]


def main() -> int:
    """Build and check. Returns 1 if a check fails."""
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the files (default: dist)")
    files = build(parser.parse_args().out)
    failed = 0
    for command in checks(files):
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            # groff succeeds even if it prints warnings.
            code = done.returncode or int(bool(done.stderr))
            output = f"{done.stdout}{done.stderr}" if code else ""
        except OSError as error:
            code, output = 1, f"{error}\n"
        failed += bool(code)
        print(f"{'FAILED' if code else 'ok    '} {Path(command[0]).name} {' '.join(command[1:2])}\n{output}", end="")
    for file in files:
        print(f"{file.stat().st_size:10,} {file}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
