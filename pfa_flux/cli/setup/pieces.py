"""The files that `pfa-flux init` makes for nginx, systemd and the pages: it describes, writes, or removes them."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pfa_flux.cli.options import note

if TYPE_CHECKING:
    from pfa_flux.cli.setup.services import Services
    from pfa_flux.setup.draft import Draft
    from pfa_flux.setup.placing import Layout, Manifest
    from pfa_flux.setup.staging import File
    from pfa_flux.setup.systemd import Place


_TOKEN = re.compile(r"""^([-+ ]\s*["']?token["']?\s*=).*""")
"""A line of a difference that contains the token, because the settings held it themselves."""


def command() -> Path:
    """The installed `pfa-flux`."""
    return Path(sys.argv[0]).absolute()


def hidden(draft: Draft) -> Path | None:
    """The path that a service with its own user needs but cannot see; None if it sees everything it needs."""
    from pfa_flux.setup.systemd import STATE

    if draft.settings().data_dir != STATE:
        return None
    homes = (Path("/home"), Path("~root").expanduser())
    # The program may be a link or in a virtual environment, so what it needs may be elsewhere.
    needed = (command(), command().resolve(), Path(sys.executable).resolve(), draft.path)
    return next((path for path in needed for home in homes if path.is_relative_to(home)), None)


def place(draft: Draft) -> Place:
    """What a unit must know about this installation."""
    import getpass

    from pfa_flux.setup.systemd import Place

    return Place(command(), draft.path, draft.token_file if draft.token else None, getpass.getuser())


def summary(draft: Draft, *, named: bool) -> str:
    """The remaining steps, with the command that prints each piece."""
    option = f" --config {shlex.quote(str(draft.path))}" if named else ""
    return f"""
Remaining steps. As root, {_again("--write --include --enable", option)} does 1 to 3.
1. pfa-flux nginx{option} --part http > /etc/nginx/conf.d/pfa-flux.conf
   pfa-flux nginx{option} --part server > /etc/nginx/snippets/pfa-flux.conf
   In the server {{ }} of each site: include snippets/pfa-flux.conf;
2. pfa-flux systemd{option} > /etc/systemd/system/pfa-flux.service
   systemctl daemon-reload && systemctl enable --now pfa-flux.service
3. nginx -t && systemctl reload nginx
4. pfa-flux tags{option} prints the tags for the end of each page
5. pfa-flux doctor{option}"""


def _again(flags: str, option: str) -> str:
    return f"pfa-flux init {flags}{option}"


@dataclass(frozen=True, slots=True)
class Targets:
    """Directories to write files to; None for the usual ones.

    Attributes:
        nginx: nginx's directory.
        units: directory of systemd's units.
    """

    nginx: str | None = None
    units: str | None = None

    def layout(self, config: Path) -> Layout:
        """The places of the files, for root or another user."""
        from pfa_flux.setup.placing import NGINX, UNITS, Layout

        nginx, units = (Path(each).absolute() if each else None for each in (self.nginx, self.units))
        if os.geteuid() == 0:
            return Layout.of_machine(config, nginx or NGINX, units or UNITS)
        return Layout.of_user(config, os.environ, units)


@dataclass(frozen=True)
class Writing:
    """Files to write in addition to the settings.

    Attributes:
        layout: places of the files.
        pieces: the files.
        manifest: what was written before.
        services: the services that use them.
    """

    layout: Layout
    pieces: tuple[File, ...]
    manifest: Manifest
    services: Services

    @classmethod
    def of(cls, draft: Draft, targets: Targets) -> Writing:
        """The files to write for a draft.

        Raises:
            PfaFluxError: the service could not run.
        """
        from pfa_flux.cli.setup.services import Services
        from pfa_flux.errors import PfaFluxError
        from pfa_flux.setup.placing import Manifest

        layout = targets.layout(draft.path)
        unseen = None if layout.user else hidden(draft)
        if unseen is not None:
            raise PfaFluxError(
                f"the service cannot read {unseen}, because its unit blocks home directories. Nothing was written",
                "Install pfa-flux in /opt, and put its settings in /etc: "
                "python3 -m venv /opt/pfa-flux && /opt/pfa-flux/bin/pip install .",
            )
        pieces = layout.files(draft.settings(), place(draft))
        return cls(layout, tuple(pieces), Manifest.of(draft.path), Services.of(layout, targets.nginx))

    def show(self, files: Sequence[File], secret: Path | None) -> None:
        """Show what would change. Show only the length of new files, and only the name of `secret`."""
        for file in files:
            if file.path == secret and file.action != "unchanged":
                note(f"{file.path}: a token, which is not shown")
            elif file.action == "written":
                note(f"{file.path}: new, {len(file.text.splitlines())} lines")
            elif file.action == "changed":
                note(_difference(file))

    def three_lines(self, config: Path, *, named: bool) -> str:
        """What runs, what to put into the pages, and how to see the first page view arrive."""
        layout, services = self.layout, self.services
        systemctl = "systemctl --user" if layout.user else "systemctl"
        http = f"include {layout.http}; to http {{ }} and " if layout.user else ""
        option = f" --config {shlex.quote(str(config))}" if named else ""
        reload = "" if services.enable and not layout.user else "run nginx -t && systemctl reload nginx. "
        if services.served:
            pages = reload and f"{reload[0].upper()}{reload[1:]}"
        else:
            reload = reload or "run this again. "
            pages = f"In nginx add {http}include {layout.server}; to the server {{ }} of each site, then {reload}"
        start = f"Start the pixel: {systemctl} daemon-reload && {systemctl} enable --now {layout.unit.name}"
        runs = f"The pixel runs: {systemctl} status {layout.unit.name}"
        return (
            f"1. {runs if services.enable else start}\n"
            f"2. {pages}At the end of each page put the tags in {layout.page}\n"
            f"3. To see the first view arrive, open a page, then run pfa-flux blocked-ratio --start 1h{option}"
        )


def _difference(file: File) -> str:
    import difflib

    try:
        before = file.path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        before = []
    name = str(file.path)
    there = name if before else "/dev/null"
    lines = difflib.unified_diff(before, file.text.splitlines(), there, name, lineterm="")
    return "\n".join(_TOKEN.sub(r"\1…", line) for line in lines)


def remove(config: Path) -> None:
    """Undo what `--write` wrote, and print what stays.

    Raises:
        PfaFluxError: nothing was written, or a file was changed since.
    """
    from pfa_flux.errors import PfaFluxError
    from pfa_flux.setup.placing import Manifest

    manifest = Manifest.of(config)
    if not manifest.files:
        raise PfaFluxError(
            f"pfa-flux init --write has written nothing for {config}",
            "Name its settings file with --config.",
        )
    try:
        done = manifest.undo()
    except OSError as error:
        raise PfaFluxError(
            f"{error.filename} cannot be removed: {error.strerror}", "Run this as the user who wrote it."
        ) from error
    for path, what in done.items():
        typer.echo(f"{path}: {what}")
    note("data and tasks stay. To remove the tasks: pfa-flux task remove")
    note("remaining steps: stop the service, remove any include of it from nginx, reload nginx")
    kept = [str(path) for path, what in done.items() if what.startswith("kept")]
    if kept:
        raise PfaFluxError(
            f"{', '.join(kept)} changed since --write wrote it", "Remove it by hand, and run this again."
        )
