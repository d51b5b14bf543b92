"""`pfa-flux init`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pfa_flux.cli.options import note

if TYPE_CHECKING:
    from pfa_flux import Analytics, Installation, PfaFluxError
    from pfa_flux.setting_up import Draft

_TOKEN_HINT = (
    "Give it with --token-file FILE, with --token-file - on standard input, or in PFA_FLUX_TOKEN; "
    "on 1.x it is user:password."
)


def init(
    *,
    url: Annotated[str | None, typer.Option(help="InfluxDB's address; '' for none.", show_default=False)] = None,
    token_file: Annotated[
        str | None,
        typer.Option(help="File that holds the token; - takes it from standard input.", show_default=False),
    ] = None,
    org: Annotated[str | None, typer.Option(help="Organisation of InfluxDB 2.", show_default=False)] = None,
    kapacitor_url: Annotated[
        str | None, typer.Option(help="Kapacitor's address, for tasks on 1.x; '' for none.", show_default=False)
    ] = None,
    domain: Annotated[
        list[str] | None, typer.Option(help="Domain that counts, beside those that do; repeats.", show_default=False)
    ] = None,
    site: Annotated[
        list[str] | None,
        typer.Option(help="NAME=domain,domain: a site and all its domains; repeats.", show_default=False),
    ] = None,
    listen: Annotated[
        str | None, typer.Option(help="Where the pixel listens: HOST:PORT, or unix:PATH.", show_default=False)
    ] = None,
    raw_bucket: Annotated[str | None, typer.Option(help="Bucket of raw points.", show_default=False)] = None,
    loads_bucket: Annotated[
        str | None,
        typer.Option(help="Bucket of raw page loads, where they are not in the raw bucket.", show_default=False),
    ] = None,
    rollup_bucket: Annotated[str | None, typer.Option(help="Bucket of downsampled points.", show_default=False)] = None,
    data_dir: Annotated[
        str | None, typer.Option(help="Directory of the embedded store and the spool.", show_default=False)
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="File to write.", show_default="the one found, else ./pfa-flux.toml")
    ] = None,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take over a task of the name that pfa-flux has not made.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing, and make a raw bucket that is missing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notes or warnings.")] = False,
) -> None:
    """Set everything up: settings, token file, task, and the pieces for nginx, systemd and the pages.

    Asks for what no flag says, or asks nothing where standard input is no terminal. Every answer is tried out at
    once, and nothing is written unless all of them are right. A second run starts from what is there.
    """
    from pfa_flux.pixel_settings import address
    from pfa_flux.setting_up import KEYS, config_path

    flags = {
        "url": url, "org": org, "raw_bucket": raw_bucket, "loads_bucket": loads_bucket,
        "rollup_bucket": rollup_bucket, "data_dir": data_dir, "kapacitor_url": kapacitor_url,
    }  # fmt: skip
    path = config_path(config, os.environ, Path.cwd())
    given = {key: value for key, value in flags.items() if value is not None}
    found = {key: os.environ[f"PFA_FLUX_{key.upper()}"] for key in KEYS if os.environ.get(f"PFA_FLUX_{key.upper()}")}
    dialogue = _Dialogue(path, {**found, **given}, set(given), asking=sys.stdin.isatty() and not yes, quiet=quiet)
    if listen is not None:
        dialogue.draft = replace(dialogue.draft, listen=address(listen, "--listen"))
    dialogue.take_token(token_file)
    dialogue.take_domains(site or [], domain or [])
    with dialogue.reach() as analytics:
        dialogue.ask_rest(analytics)
        dialogue.raw_bucket(analytics, make=yes)
    _set_up(dialogue, adopt=adopt)


class _Dialogue:
    """Comes from flags, environment, the file that is there, and questions, to a draft that was tried out."""

    def __init__(self, path: Path, values: Mapping[str, str], given: set[str], *, asking: bool, quiet: bool) -> None:
        from pfa_flux.hits.systemd import STATE
        from pfa_flux.setting_up import Draft

        self.given, self.asking, self.quiet = given, asking, quiet
        self.draft = Draft.of(path)
        self.own_token = self.draft.token_file == path.with_suffix(".token")
        own = dict(values)
        if "data_dir" in own:
            own["data_dir"] = str(Path(own["data_dir"]).expanduser().absolute())
        elif path.is_relative_to("/etc") and "data_dir" not in self.draft.document:
            own["data_dir"] = str(STATE)
        # Until an InfluxDB 1.x is known to be there, there is no Kapacitor.
        self._kapacitor = own.get("kapacitor_url", str(self.draft.document.get("kapacitor_url", "")))
        self.draft = self.draft.with_values(**{**own, "kapacitor_url": ""})
        self.draft.settings()

    def say(self, text: str) -> None:
        """A note, unless there are to be none."""
        if not self.quiet:
            note(text)

    def take_token(self, named: str | None) -> None:
        """The token of the flag, or of the environment; else it is that of the file, if there is one."""
        from pfa_flux.errors import SettingsError
        from pfa_flux.setting_up import read_token

        if named == "-":
            token = "" if sys.stdin.isatty() else sys.stdin.readline().strip()
            if not token:
                raise SettingsError("there is no token on standard input", _TOKEN_HINT)
            self._own(token)
        elif named is None and os.environ.get("PFA_FLUX_TOKEN"):
            self._own(os.environ["PFA_FLUX_TOKEN"])
        elif file := named or os.environ.get("PFA_FLUX_TOKEN_FILE"):
            where = Path(file).expanduser().absolute()
            secret, warnings = read_token(where)
            for word in warnings:
                self.say(f"warning: {word}")
            self.draft = replace(self.draft, token=secret, token_file=where)
            self.own_token = False
        if named is not None:
            self.given.add("token")

    def _own(self, token: str) -> None:
        from pfa_flux.settings import Secret

        file = self.draft.token_file or self.draft.path.with_suffix(".token")
        self.draft = replace(self.draft, token=Secret(token), token_file=file)
        self.own_token = True

    def take_domains(self, sites: list[str], names: list[str]) -> None:
        """The sites and domains of flags."""
        from pfa_flux.setting_up import domains, site

        if names:
            self.given.add("domains")
            self.draft = self.draft.with_domains(domains(names, "--domain"))
        for text in sites:
            self.given |= {"domains", "sites"}
            self._take_site(*site(text))

    def _take_site(self, name: str, domains: tuple[str, ...]) -> None:
        draft = replace(self.draft, sites={**self.draft.sites, name: domains})
        draft.settings()
        self.draft = draft.with_domains(domains)

    def reach(self) -> Analytics:
        """Connect, asking until the answers are right; without questions the first error is the last."""
        from pfa_flux import connect

        if self.asking and "url" not in self.given:
            self._ask("url")
        self._until_it_connects()
        with connect(self.draft.settings()) as analytics:
            engine = analytics.engine.capabilities
        if engine.kapacitor:
            self.draft = self.draft.with_values(kapacitor_url=self._kapacitor)
            if self.asking and "kapacitor_url" not in self.given:
                self._ask("kapacitor_url")
            self._until_it_connects("kapacitor_url")
        else:
            if "kapacitor_url" in self.given and self._kapacitor:
                self.say("--kapacitor-url is left out: only an InfluxDB 1.x needs a Kapacitor")
            if self.draft.settings().url:
                values = {key: value for key, value in self.draft.values.items() if key != "kapacitor_url"}
                self.draft = replace(self.draft, values=values)
        return connect(self.draft.settings())

    def _until_it_connects(self, suspect: str = "") -> None:
        while failed := self._failure():
            key, error = suspect or failed[0], failed[1]
            if not self.asking or key in self.given:
                raise error
            if key != "token" or self.draft.token:
                note(f"{error.message}\n{error.hint}")
            self._ask(key)

    def _failure(self) -> tuple[str, PfaFluxError] | None:
        """What is wrong, and the answer that is to blame."""
        from pfa_flux import connect
        from pfa_flux.errors import AccessDeniedError, QueryError, SettingsError, UnreachableError
        from pfa_flux.setting_up import organisations

        try:
            settings = self.draft.settings()
        except SettingsError as error:
            return "url", error
        try:
            connect(settings).close()
        except AccessDeniedError as error:
            return "token", AccessDeniedError(
                error.message, f"{error.hint} {_TOKEN_HINT}" if settings.token else _TOKEN_HINT
            )
        except SettingsError:
            names = organisations(settings)
            seen = f"several organisations: {', '.join(names)}" if names else "no organisation"
            return "org", SettingsError(f"the token sees {seen}", "Name the right one with --org.")
        except QueryError as error:
            return "org", error
        except UnreachableError as error:
            return "url", error
        return None

    def _ask(self, key: str) -> None:
        """Ask for an answer; Enter keeps what is there."""
        if key == "token":
            self._own(typer.prompt("Token (user:password on 1.x; it is not shown)", hide_input=True, err=True))
            return
        present = self.draft.values.get(key, str(self.draft.document.get(key, "")))
        words = {
            "url": "InfluxDB's address, nothing for none: all data in one file here",
            "org": "Organisation",
            "kapacitor_url": "Kapacitor's address, nothing for none: pfa-flux downsamples by itself",
            "data_dir": "Directory of the data",
            "raw_bucket": "Raw bucket",
        }[key]
        if present and key in {"url", "kapacitor_url"}:
            words = words.replace("nothing for none", "- for none")
        elif key == "data_dir":
            present = present or str(self.draft.settings().data_dir)
        answer = typer.prompt(words, default=present, show_default=bool(present), err=True).strip()
        if key == "data_dir":
            answer = str(Path(answer).expanduser().absolute())
        self.draft = self.draft.with_values(**{key: "" if answer == "-" else answer})

    def ask_rest(self, analytics: Analytics) -> None:
        """Ask for what no connection proves: the place of the data, domains, sites."""
        can = analytics.engine.capabilities
        self.say(f"{can.title} answers" if self.draft.settings().url else "no InfluxDB: all data in one file")
        if can.kapacitor_version:
            self.say(f"Kapacitor {can.kapacitor_version} answers")
        if not self.asking:
            return
        if not self.draft.settings().url and "data_dir" not in self.given:
            self._ask("data_dir")
        if "domains" not in self.given:
            self._until_right(self._ask_domains)
        if "sites" not in self.given:
            for name, names in self.draft.settings().sites.items():
                self.say(f"site {name}: {', '.join(names)}")
            while self._until_right(self._ask_site):
                pass

    def _until_right(self, ask: Callable[[], bool]) -> bool:
        from pfa_flux.errors import SettingsError

        while True:
            try:
                return ask()
            except SettingsError as error:
                note(f"{error.message}\n{error.hint}")

    def _ask_domains(self) -> bool:
        from pfa_flux.setting_up import domains

        present = ", ".join(self.draft.settings().pixel.domains)
        words = "Domains that count, with commas between"
        answer = typer.prompt(words, default=present, show_default=bool(present), err=True)
        self.draft = replace(self.draft, domains=domains(answer.split(","), "the answer"))
        return True

    def _ask_site(self) -> bool:
        from pfa_flux.setting_up import site

        words = "A site over several of them, as NAME=domain,domain; nothing for no more"
        answer = typer.prompt(words, default="", show_default=False, err=True)
        if answer:
            self._take_site(*site(answer))
        return bool(answer)

    def raw_bucket(self, analytics: Analytics, *, make: bool) -> None:
        """See that the raw bucket is there, or make it."""
        from pfa_flux.errors import BucketNotFoundError

        while not analytics.engine.has_bucket(bucket := self.draft.settings().raw_bucket):
            words = f"the raw bucket {bucket!r} does not exist, or the token cannot see it"
            if make or (self.asking and typer.confirm(f"{words}. Make it?", default=True, err=True)):
                analytics.engine.create_bucket(bucket)
                self.say(f"made the bucket {bucket}, kept for ever")
            elif self.asking and "raw_bucket" not in self.given:
                self._ask("raw_bucket")
            else:
                raise BucketNotFoundError(
                    words, "Name the one that raw points are written to with --raw-bucket, or have it made with --yes."
                )


def _set_up(dialogue: _Dialogue, *, adopt: bool) -> None:
    """Install the task, put the files in their place, and print what is left to do."""
    from pfa_flux import connect
    from pfa_flux.engines.directory import private_directory
    from pfa_flux.errors import PfaFluxError
    from pfa_flux.setting_up import files_of, staged

    draft = dialogue.draft
    settings = draft.settings()
    pieces = _pieces(draft)
    files = files_of(draft, own_token=dialogue.own_token)
    actions = {file.path: file.action for file in files}
    fresh = not settings.data_dir.exists()
    with staged(files) as put, connect(settings) as analytics:
        private_directory(settings.data_dir)
        task = analytics.task()
        try:
            done = task.install(adopt=adopt)
        except PfaFluxError as error:
            if fresh:
                with contextlib.suppress(OSError):
                    settings.data_dir.rmdir()
            error.hint = error.hint.replace("pfa-flux install-task", "pfa-flux init")
            raise
        put()
    for path, action in actions.items():
        typer.echo(f"{path}: {action}")
    typer.echo(f"{task.spec.name} ({done.id}): {done.action}")
    if not dialogue.quiet:
        _tell(dialogue, done, task.backend.name)
    typer.echo(pieces)


def _tell(dialogue: _Dialogue, done: Installation, backend: str) -> None:
    from pfa_flux.hits.systemd import STATE

    settings = dialogue.draft.settings()
    if done.made_bucket:
        note(f"made the bucket {settings.rollup_bucket}")
    if done.proof is not None and done.proof.hits:
        note(f"proved by a run: {done.proof.hits} hits are {done.proof.rows} rows, equal to the raw data")
    elif done.proof is not None:
        note("proved by a run, which ended well; there are no hits to compare yet")
    if backend == "runner":
        note("pfa-flux serve runs the task by itself; where that is not run, have cron run: pfa-flux task run --due")
    if not settings.pixel.domains:
        note("warning: no domain is named, so hits of any domain count; name yours with --domain")
    hidden = [
        path
        for path in (_command(), dialogue.draft.path)
        if path.is_relative_to("/home") or path.is_relative_to(Path("~root").expanduser())
    ]
    if settings.data_dir == STATE and hidden:
        note(
            f"warning: the service cannot see {hidden[0]}, because it sees no home directory; /opt and /etc it can read"
        )
    if settings.data_dir != STATE and os.geteuid() == 0:
        note(
            "warning: the service would run as root, because its data is root's; "
            "for a user of its own: pfa-flux init --config /etc/pfa-flux/pfa-flux.toml"
        )


def _command() -> Path:
    """The installed `pfa-flux`."""
    return Path(sys.argv[0]).absolute()


def _pieces(draft: Draft) -> str:
    """The pieces for nginx, systemd and the pages, and what to do with them."""
    import getpass
    import shlex

    from pfa_flux.hits.nginx import Part, configuration, image, script
    from pfa_flux.hits.systemd import Place, unit

    settings = draft.settings()
    token = draft.token_file if draft.token else None
    place = Place(_command(), draft.path, token, getpass.getuser())
    option = f"--config {shlex.quote(str(draft.path))}"
    tags = "\n".join(filter(None, (image(settings.pixel), script(settings.pixel))))
    return f"""
### /etc/nginx/conf.d/pfa-flux.conf
{configuration(settings.pixel, part=Part.HTTP)}
### /etc/nginx/snippets/pfa-flux.conf
{configuration(settings.pixel, part=Part.SERVER)}
### /etc/systemd/system/pfa-flux.service
{unit(settings, place)}
### In each page, at its end
{tags}

### What is left to do
1. Put the pieces where their headings say, and into the server {{ }} of each site: include snippets/pfa-flux.conf;
2. systemctl daemon-reload && systemctl enable --now pfa-flux.service
3. nginx -t && systemctl reload nginx
4. Put the tag into the pages.
5. pfa-flux doctor {option}"""
