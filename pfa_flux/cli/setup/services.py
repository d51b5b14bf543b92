"""What `pfa-flux init --write` starts: the service, and nginx with its new configuration; each said first."""

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
    """systemd and nginx of this machine, and what is to be done with them.

    Attributes:
        layout: where the pieces are.
        systemd: who runs the unit.
        nginx: who is before the pixel.
        enable: the unit is started, and nginx reloaded.
        sites: nginx's own files with the include in them.
        served: names of the servers that have the include then.
        before: nginx's files as they were, None for those that there were not.
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
        """Those of a layout; `nginx` names a directory of nginx that is not its own."""
        from pfa_flux.setup.services import NginxProgram, Systemd

        return cls(layout, Systemd(layout.user), NginxProgram(Path(nginx).absolute() if nginx else None))

    def settle(self, dialogue: Dialogue, *, include: bool, enable: bool) -> None:
        """Settle what is to be done, by flags or questions, before anything is written.

        Raises:
            PfaFluxError: it was asked for, and cannot be done.
        """
        self._find_sites(dialogue, include=include)
        self.enable = enable
        if enable:
            self._check(dialogue.draft.path)
        elif dialogue.asking and self.systemd.runs:
            words = f"Start {self.layout.unit.name}{'' if self.layout.user else ', and reload nginx'}?"
            self.enable = typer.confirm(words, default=True, err=True)
        if self.enable and not dialogue.quiet:
            first = [] if self.layout.user else [self.nginx.command("-t")]
            for command in (*first, *self._commands(anew=False)):
                note(f"then: {shlex.join(command)}")
        files = (self.layout.http, self.layout.server, *(file.path for file in self.sites))
        self.before = {path: path.read_bytes() if path.exists() else None for path in files}

    def _find_sites(self, dialogue: Dialogue, *, include: bool) -> None:
        from pfa_flux.errors import PfaFluxError
        from pfa_flux.setup.nginx_sites import files_of, with_include

        if self.layout.user or not (include or dialogue.asking):
            if include:
                raise PfaFluxError("--include changes nginx's files, which are root's", "Run this as root.")
            return
        settings = dialogue.draft.settings()
        domains = [*settings.pixel.domains, *(name for names in settings.sites.values() for name in names)]
        made = []
        for path in files_of(self.nginx.dump()):
            file, served = with_include(path, path.read_bytes().decode(errors="replace"), self.layout.server, domains)
            self.served |= served
            made += [file] if file is not None else []
        if include and not self.served:
            raise PfaFluxError(
                "no server { } in nginx's files is for one of the domains, or nginx -t fails; nothing was written",
                f"Leave --include out, and put this into the server {{ }} of each site: include {self.layout.server};",
            )
        names = ", ".join(sorted({str(file.path) for file in made}))
        servers = ", ".join(sorted(self.served))
        words = f"Put include {self.layout.server}; into the server {{ }} of {servers}, in {names}?"
        if made and (include or typer.confirm(words, default=True, err=True)):
            self.sites = tuple(made)
        elif made:
            self.served.clear()

    def _check(self, config: Path) -> None:
        """Refuse before anything is written what could not be done after it."""
        from pfa_flux.errors import PfaFluxError
        from pfa_flux.setup.services import found

        if not self.systemd.runs:
            raise PfaFluxError(
                "systemd does not run here, so that --enable has nothing to start the pixel with; nothing was written",
                f"Leave --enable out, and start it yourself: pfa-flux serve --config {shlex.quote(str(config))}",
            )
        if not self.layout.user and not found("nginx"):
            raise PfaFluxError(
                "there is no nginx to reload; nothing was written", "Install nginx, or leave --enable out."
            )

    def _commands(self, *, anew: bool) -> Sequence[Sequence[str]]:
        start = self.systemd.start(self.layout.unit.name, anew=anew)
        return start if self.layout.user else [*start, self.nginx.reload]

    def proceed(self, before: Manifest, now: Manifest, *, changed: bool) -> None:
        """Do what was settled, once the files are there.

        Args:
            before: what had been written before.
            now: what is written now; where nginx refuses its part, that is put back.
            changed: some file is not as it was.

        Raises:
            PfaFluxError: a command fails; says which.
        """
        from pfa_flux.setup.services import succeeded

        if not self.layout.user and (self.enable or self.sites):
            self._test(before, now)
        if not self.enable:
            return
        anew = changed and self.systemd.is_active(self.layout.unit.name)
        for command in self._commands(anew=anew):
            succeeded(command)
            note(f"done: {shlex.join(command)}")

    def _test(self, before: Manifest, now: Manifest) -> None:
        """`nginx -t`; where it fails, nginx's files are as they were."""
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
            words = "nginx's files are as they were, and all else is written"
            raise PfaFluxError(f"{error.message}; {words}", error.hint) from error
