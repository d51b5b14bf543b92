"""Services that `pfa-flux init --write` starts: the pixel, and nginx with its new configuration."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pfa_flux.cli.options import note

if TYPE_CHECKING:
    from pfa_flux.cli.setup.dialogue import Dialogue
    from pfa_flux.setup.placing import Layout, Manifest
    from pfa_flux.setup.services import NginxProgram, Systemd
    from pfa_flux.setup.staging import File


@dataclass
class Services:
    """systemd and nginx of this machine, and what to do with them.

    Attributes:
        layout: places of the files.
        systemd: runs the unit.
        nginx: stands before the pixel.
        enable: start the unit, and reload nginx.
        sites: nginx's own files with the include added.
        served: names of the servers that will have the include.
        before: previous content of nginx's files; None for new files.
    """

    layout: Layout
    systemd: Systemd
    nginx: NginxProgram
    enable: bool = False
    sites: tuple[File, ...] = ()
    served: set[str] = field(default_factory=set)
    before: Mapping[Path, bytes | None] = field(default_factory=dict)

    @classmethod
    def of(cls, layout: Layout, nginx: str | None) -> Services:
        """The services of a layout. `nginx` names a directory other than nginx's own."""
        from pfa_flux.setup.services import NginxProgram, Systemd

        return cls(layout, Systemd(layout.user), NginxProgram(Path(nginx).absolute() if nginx else None))

    def settle(self, dialogue: Dialogue, *, include: bool, enable: bool) -> None:
        """Decide what to do, from flags or answers, before anything is written.

        Raises:
            PfaFluxError: a flag asks for something that cannot be done.
        """
        self._find_sites(dialogue, include=include)
        self.enable = enable
        if enable:
            self._check(dialogue.draft.path)
        elif dialogue.interactive and self.systemd.runs:
            question = f"Start {self.layout.unit.name}{'' if self.layout.user else ', and reload nginx'}?"
            self.enable = typer.confirm(question, default=True, err=True)
        if self.enable and not dialogue.quiet:
            first = [] if self.layout.user else [self.nginx.command("-t")]
            for command in (*first, *self._commands(restart=False)):
                note(f"then: {shlex.join(command)}")
        files = (self.layout.http, self.layout.server, *(file.path for file in self.sites))
        self.before = {path: path.read_bytes() if path.exists() else None for path in files}

    def _find_sites(self, dialogue: Dialogue, *, include: bool) -> None:
        from pfa_flux.errors import PfaFluxError
        from pfa_flux.setup.nginx_sites import files_of, with_include

        if self.layout.user or not (include or dialogue.interactive):
            if include:
                raise PfaFluxError("--include changes nginx's files, which belong to root", "Run this as root.")
            return
        settings = dialogue.draft.settings()
        domains = [*settings.pixel.domains, *(name for names in settings.sites.values() for name in names)]
        changed = []
        for path in files_of(self.nginx.dump()):
            file, served = with_include(path, path.read_bytes().decode(errors="replace"), self.layout.server, domains)
            self.served |= served
            changed += [file] if file is not None else []
        if include and not self.served:
            raise PfaFluxError(
                "no server { } in nginx's files serves one of the domains, or nginx -t fails. Nothing was written",
                f"Leave out --include, and put this into the server {{ }} of each site: include {self.layout.server};",
            )
        names = ", ".join(sorted({str(file.path) for file in changed}))
        servers = ", ".join(sorted(self.served))
        question = f"Put include {self.layout.server}; into the server {{ }} of {servers}, in {names}?"
        if changed and (include or typer.confirm(question, default=True, err=True)):
            self.sites = tuple(changed)
        elif changed:
            self.served.clear()

    def _check(self, config: Path) -> None:
        """Check that the services can be started, before anything is written."""
        from pfa_flux.errors import PfaFluxError
        from pfa_flux.setup.services import found

        if not self.systemd.runs:
            raise PfaFluxError(
                "systemd does not run here, so --enable cannot start the pixel. Nothing was written",
                f"Leave out --enable, and start the pixel yourself: pfa-flux serve --config {shlex.quote(str(config))}",
            )
        if not self.layout.user and not found("nginx"):
            raise PfaFluxError(
                "there is no nginx to reload. Nothing was written", "Install nginx, or leave out --enable."
            )

    def _commands(self, *, restart: bool) -> Sequence[Sequence[str]]:
        start = self.systemd.start(self.layout.unit.name, restart=restart)
        return start if self.layout.user else [*start, self.nginx.reload]

    def proceed(self, before: Manifest, now: Manifest, *, changed: bool) -> None:
        """Start the services, after the files were written.

        Args:
            before: manifest of the earlier run.
            now: manifest of this run. If nginx refuses its files, their entries are put back.
            changed: some file has changed.

        Raises:
            PfaFluxError: a command failed; the message names it.
        """
        from pfa_flux.setup.services import succeeded

        if not self.layout.user and (self.enable or self.sites):
            self._test(before, now)
        if not self.enable:
            return
        restart = changed and self.systemd.is_active(self.layout.unit.name)
        for command in self._commands(restart=restart):
            succeeded(command)
            note(f"done: {shlex.join(command)}")

    def _test(self, before: Manifest, now: Manifest) -> None:
        """Run `nginx -t`. If it fails, restore nginx's files."""
        from pfa_flux.errors import PfaFluxError
        from pfa_flux.setup.services import succeeded

        try:
            succeeded(self.nginx.command("-t"))
        except PfaFluxError as error:
            for path, text in self.before.items():
                if text is None:
                    path.unlink(missing_ok=True)
                else:
                    path.write_bytes(text)
            now.put_back(before, list(self.before))
            state = "nginx's files were restored, and all other files are written"
            raise PfaFluxError(f"{error.message}; {state}", error.hint) from error
