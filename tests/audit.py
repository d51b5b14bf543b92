"""Known vulnerabilities of what is installed, as pip-audit tells them: `python -m tests.audit PIP_AUDIT`.

What is run and tested with is audited: everything that `pip freeze` names, which is neither pip itself nor this
checkout. Exit code 1 where a vulnerability is known. pip-audit calls a package whose data it cannot get *skipped*, and
then finds no vulnerability: here it is said that it was not audited.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

_SECONDS = 60


def installed() -> str:
    """Packages and their exact versions, one a line."""
    command = [sys.executable, "-m", "pip", "freeze", "--exclude-editable", "--disable-pip-version-check"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def ask(program: str, packages: str, seconds: float = _SECONDS) -> tuple[dict[str, Any], str]:
    """pip-audit's answer; an empty one with the reason where there is none."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(packages)
        file.flush()
        # Versions are exact, and nothing is to be resolved or installed.
        words = [
            "--no-deps",
            "--disable-pip",
            "--progress-spinner",
            "off",
            "--format",
            "json",
            "--requirement",
            file.name,
        ]
        try:
            done = subprocess.run(
                [program, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {}, f"pip-audit had no answer after {seconds:g} s"
        except OSError as error:
            return {}, f"pip-audit cannot be run: {error.strerror}"
    try:
        found = json.loads(done.stdout)
    except ValueError:
        return {}, (done.stderr.strip().splitlines() or [f"pip-audit ended with code {done.returncode}"])[-1]
    return found, ""


def judge(found: Mapping[str, Any], reason: str) -> tuple[list[str], bool]:
    """What to say, and whether a vulnerability is known."""
    if reason:
        return [f"not audited: {reason}"], False
    every: Sequence[Mapping[str, Any]] = found["dependencies"]
    skipped = [each for each in every if "skip_reason" in each]
    audited = [each for each in every if "skip_reason" not in each]
    lines = [
        f"vulnerable: {each['name']} {each['version']}: {bug['id']}, "
        + (f"fixed in {', '.join(bug['fix_versions'])}" if bug["fix_versions"] else "not fixed")
        for each in audited
        for bug in each["vulns"]
    ]
    vulnerable = bool(lines)
    lines.append(f"audited: {len(audited)} of {len(every)} packages")
    if skipped and not audited:
        lines.append(f"not audited: there is no data on any of them ({skipped[0]['skip_reason']})")
    else:
        lines += [f"not audited: {each['name']}: {each['skip_reason']}" for each in skipped]
    return lines, vulnerable


def main(program: str) -> int:
    """Audit what is installed here; 1 where a vulnerability is known."""
    lines, vulnerable = judge(*ask(program, installed()))
    print("\n".join(lines))
    return int(vulnerable)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
