"""The Debian package: the program with its libraries, its units, its user, and /etc/pfa-flux.

Debian's typer and rich are too old. So the package includes its own, in a folder that no other program uses.
https://www.debian.org/doc/debian-policy/
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from email.parser import HeaderParser
from email.utils import format_datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
OWN = Path(__file__).parent / "debian"
LIBRARY = Path("usr/lib/pfa-flux")
_OLDEST = "3.11"
_MAINTAINER = "pfa-flux maintainers <maintainers@pfa-flux.org>"
_CONTROL = """\
Package: pfa-flux
Version: {version}
Architecture: all
Maintainer: {maintainer}
Installed-Size: {size}
Depends: adduser, python3 (>= {oldest})
Suggests: nginx
Section: web
Priority: optional
Description: share of page views that come without the JavaScript analytics
 A pixel counts every page view. The JavaScript analytics counts page views
 that run its script. pfa-flux compares both, by site, network (clearnet, Tor,
 I2P), page and time, on InfluxDB 1.8 and 2.x or without a server. It stores
 nothing about visitors.
"""
_COMMAND = """\
#!/usr/bin/python3 -sP
import os
import sys

sys.path.insert(0, "/{library}")
# For the processes that this one starts.
os.environ["PYTHONPATH"] = "/{library}"

from pfa_flux.start import main

main()
"""
_CHANGES = """\
pfa-flux ({version}) stable; urgency=medium

  * See changelog.gz for the changes.

 -- {maintainer}  {date}
"""
_COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: pfa-flux

Files: *
Copyright: 2026, the pfa-flux authors
License: BSD-3-Clause
"""
_OVERRIDES = """\
# Licences and notes stay in the libraries' folders, where their metadata names them. /usr/share/doc has them, too.
pfa-flux: extra-license-file
pfa-flux: package-contains-documentation-outside-usr-share-doc
# The package is not part of the distribution.
pfa-flux: initial-upload-closes-no-bugs
"""


def build(wheel: Path, version: str, folder: Path) -> Path:
    """Build the package of a wheel.

    Args:
        wheel: the wheel.
        version: the package's version, with Debian's revision: 1.2.3-1.
        folder: folder for the package.

    Raises:
        subprocess.CalledProcessError: a dependency is not available or needs more than Python, or dpkg-deb fails.
    """
    with tempfile.TemporaryDirectory(prefix="pfa-flux-deb-") as name:
        tree = Path(name) / "tree"
        install_libraries(wheel, tree / LIBRARY)
        _put_files(tree, version)
        _put_control(tree, version)
        package = folder / f"pfa-flux_{version}_all.deb"
        words = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(tree), str(package)]
        subprocess.run(words, check=True, capture_output=True)
    return package


def install_libraries(wheel: Path, library: Path) -> None:
    """Install a wheel and its dependencies. All of them run on any Python from `_OLDEST` on."""
    pure = ["--only-binary=:all:", "--platform=any", "--implementation=py", f"--python-version={_OLDEST}"]
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(library)]
    subprocess.run([*words, *pure, str(wheel)], check=True)
    # Remove the libraries' commands, and files that pip writes for itself.
    for name in ("bin", "share"):
        shutil.rmtree(library / name, ignore_errors=True)
    for path in [*library.rglob("*.exe"), *library.rglob("direct_url.json"), *library.rglob("REQUESTED")]:
        path.unlink()


def _put_files(tree: Path, version: str) -> None:
    command = tree / "usr/bin/pfa-flux"
    _write(command, _COMMAND.format(library=LIBRARY), 0o755)
    for unit in sorted((ROOT / "docs/systemd").glob("pfa-flux*")):
        _write(tree / "usr/lib/systemd/system" / unit.name, unit_of(unit.read_text()))
    _write(tree / "etc/pfa-flux/pfa-flux.toml", (OWN / "pfa-flux.toml").read_text())
    shells = ROOT / "release/completions"
    for name, place in (
        ("pfa-flux.bash", "bash-completion/completions/pfa-flux"),
        ("_pfa-flux", "zsh/vendor-completions/_pfa-flux"),
        ("pfa-flux.fish", "fish/vendor_completions.d/pfa-flux.fish"),
    ):
        _write(tree / "usr/share" / place, (shells / name).read_text())
    _write_packed(tree / "usr/share/man/man1/pfa-flux.1.gz", (ROOT / "docs/pfa-flux.1").read_text())
    documents = tree / "usr/share/doc/pfa-flux"
    _write(documents / "copyright", _copyright(tree / LIBRARY))
    _write_packed(documents / "changelog.gz", (ROOT / "CHANGELOG.md").read_text())
    _write_packed(
        documents / "changelog.Debian.gz", _CHANGES.format(version=version, maintainer=_MAINTAINER, date=date())
    )
    _write(tree / "usr/share/lintian/overrides/pfa-flux", _OVERRIDES)
    for path in [tree, *tree.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path == command else 0o644)


def unit_of(text: str) -> str:
    """A unit for the package: with the package's command, and with the user that the package creates."""
    return text.replace("/usr/local/bin/", "/usr/bin/").replace("DynamicUser=yes\n", "")


def date() -> str:
    """Date of the release: SOURCE_DATE_EPOCH if set, otherwise the changelog's last change."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    seconds = int(given) if given else int((ROOT / "CHANGELOG.md").stat().st_mtime)
    return format_datetime(datetime.fromtimestamp(seconds, UTC))


def _put_control(tree: Path, version: str) -> None:
    files = [path for path in sorted(tree.rglob("*")) if path.is_file()]
    size = sum(-(-path.stat().st_size // 1024) for path in files)
    control = tree / "DEBIAN"
    fields = {"version": version, "maintainer": _MAINTAINER, "size": size, "oldest": _OLDEST}
    _write(control / "control", _CONTROL.format(**fields))
    _write(control / "conffiles", "/etc/pfa-flux/pfa-flux.toml\n")
    sums = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n" for path in files]
    _write(control / "md5sums", "".join(line for line in sums if "  etc/" not in line))
    for name in ("postinst", "prerm", "postrm"):
        _write(control / name, (OWN / name).read_text(), 0o755)


def _copyright(library: Path) -> str:
    """The complete licences of everything in the package, in Debian's machine-readable form."""
    texts = [_COPYRIGHT, *_indented((ROOT / "LICENSE").read_text()), "\n"]
    for folder in sorted(library.glob("*.dist-info")):
        fields = HeaderParser().parsestr((folder / "METADATA").read_text(encoding="utf-8"))
        if fields["Name"] == "pfa-flux":
            continue
        name, licence = fields["Name"], _licence(folder)
        short = re.sub(r"[^A-Za-z0-9.+-]+", "-", f"{name} {fields['License-Expression'] or 'licence'}")
        author = " ".join((fields["Author"] or fields["Author-email"] or f"the authors of {name}").split())
        texts += [f"Files: {LIBRARY}/{name}*\nCopyright: {author}\nLicense: {short}\n", *_indented(licence), "\n"]
    return "".join(texts)


def _licence(folder: Path) -> str:
    named = re.compile("licen[cs]e|copying|notice", re.IGNORECASE)
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and named.search(path.name)]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    # Packages must not repeat licences that every Debian system has.
    common = "On Debian systems, the complete text is in /usr/share/common-licenses/Apache-2.0.\n"
    texts = [common if "Apache License" in text and "TERMS AND CONDITIONS" in text else text for text in texts]
    return "\n".join(texts) or "See the metadata next to the files.\n"


def _indented(text: str) -> Iterator[str]:
    for line in text.splitlines():
        yield f" {line.rstrip()}\n" if line.strip() else " .\n"


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def _write_packed(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=int(os.environ.get("SOURCE_DATE_EPOCH", "0"))))
