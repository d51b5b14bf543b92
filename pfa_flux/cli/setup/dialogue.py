"""Questions of `pfa-flux init`: makes working settings from flags, the environment, an existing file and answers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pfa_flux.cli.options import note
from pfa_flux.schema import Side

if TYPE_CHECKING:
    from pfa_flux import Analytics, PfaFluxError

_TOKEN_HINT = (
    "Give it with --token-file FILE, on standard input with --token-file -, or in PFA_FLUX_TOKEN. "
    "On 1.x it is user:password."
)


class Dialogue:
    """Builds a tested draft of the settings from flags, the environment, an existing file, and answers."""

    def __init__(
        self, path: Path, values: Mapping[str, str], given: set[str], *, interactive: bool, quiet: bool
    ) -> None:
        from pfa_flux.setup.discovery import Discovery
        from pfa_flux.setup.draft import Draft
        from pfa_flux.setup.systemd import STATE

        self.given, self.interactive, self.quiet = given, interactive, quiet
        self.draft = Draft.of(path)
        self.own_token = self.draft.token_file == path.with_suffix(".token")
        own = dict(values)
        if "data_dir" in own:
            own["data_dir"] = str(Path(own["data_dir"]).expanduser().absolute())
        elif path.is_relative_to("/etc") and "data_dir" not in self.draft.document:
            own["data_dir"] = str(STATE)
        # Kapacitor's address is used only if the server turns out to be an InfluxDB 1.x.
        self._kapacitor = own.get("kapacitor_url", str(self.draft.document.get("kapacitor_url", "")))
        self.draft = self.draft.with_values(**{**own, "kapacitor_url": ""})
        self.make_rollup = False
        self.discovery = Discovery()
        # Defaults that Enter accepts. Answers do not change them.
        self._defaults = {**{key: str(value) for key, value in self.draft.document.items()}, **own}
        self.draft.settings()

    @property
    def known_keys(self) -> set[str]:
        """Keys that have a value from a flag, the environment, the file or an answer."""
        return {*self.draft.document, *self.draft.values}

    def say(self, text: str) -> None:
        """Print a note, unless notes are off."""
        if not self.quiet:
            note(text)

    def take_token(self, named: str | None) -> None:
        """Use the token of the flag or of the environment. Without these, keep the file's token."""
        from pfa_flux.errors import SettingsError
        from pfa_flux.settings.secret import read_token

        if named == "-":
            token = "" if sys.stdin.isatty() else sys.stdin.readline().strip()
            if not token:
                raise SettingsError("standard input has no token", _TOKEN_HINT)
            self._set_own_token(token)
        elif named is None and os.environ.get("PFA_FLUX_TOKEN"):
            self._set_own_token(os.environ["PFA_FLUX_TOKEN"])
        elif file := named or os.environ.get("PFA_FLUX_TOKEN_FILE"):
            path = Path(file).expanduser().absolute()
            secret, warnings = read_token(path)
            for warning in warnings:
                self.say(f"warning: {warning}")
            self.draft = replace(self.draft, token=secret, token_file=path)
            self.own_token = False
        if named is not None:
            self.given.add("token")

    def _set_own_token(self, token: str) -> None:
        from pfa_flux.settings import Secret

        file = self.draft.token_file or self.draft.path.with_suffix(".token")
        self.draft = replace(self.draft, token=Secret(token), token_file=file)
        self.own_token = True

    def take_domains(self, sites: list[str], names: list[str]) -> None:
        """Use the sites and domains of flags."""
        from pfa_flux.setup.draft import domains, site

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
        """Connect. If that fails, ask again; if no question may be asked, raise the error."""
        from pfa_flux import connect

        if self.interactive and "url" not in self.given:
            self._ask("url")
        self._until_it_connects()
        with connect(self.draft.settings()) as analytics:
            engine, subscriber = analytics.engine.capabilities, self._subscribed_kapacitor(analytics)
        if engine.kapacitor:
            if subscriber and not self._kapacitor and not self.interactive:
                self.say(f"Kapacitor answers at {subscriber}, but is not used. To use it: --kapacitor-url {subscriber}")
            self._defaults.setdefault("kapacitor_url", subscriber)
            self.draft = self.draft.with_values(kapacitor_url=self._kapacitor)
            if self.interactive and "kapacitor_url" not in self.given:
                self._ask("kapacitor_url")
            self._until_it_connects("kapacitor_url")
        else:
            if "kapacitor_url" in self.given and self._kapacitor:
                self.say("--kapacitor-url is ignored: only InfluxDB 1.x needs Kapacitor")
            if self.draft.settings().url:
                values = {key: value for key, value in self.draft.values.items() if key != "kapacitor_url"}
                self.draft = replace(self.draft, values=values)
        return connect(self.draft.settings())

    def _subscribed_kapacitor(self, analytics: Analytics) -> str:
        """The first subscriber of the server that answers as Kapacitor; empty if none does."""
        from pfa_flux.engines.influxdb.detect import is_kapacitor

        settings = self.draft.settings()
        return next((url for url in analytics.engine.subscribers() if is_kapacitor(settings, url)), "")

    def _until_it_connects(self, suspect: str = "") -> None:
        while failure := self._failure():
            key, error = suspect or failure[0], failure[1]
            if not self.interactive or key in self.given:
                raise error
            if key != "token" or self.draft.token:
                note(f"{error.message}\n{error.hint}")
            self._ask(key)

    def _failure(self) -> tuple[str, PfaFluxError] | None:
        """The key of the wrong answer, and the error; None if the connection works."""
        from pfa_flux import connect
        from pfa_flux.errors import AccessDeniedError, QueryError, SettingsError, UnreachableError
        from pfa_flux.setup.draft import organisations

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
            listed = f"several organisations: {', '.join(names)}" if names else "no organisation"
            return "org", SettingsError(f"the token sees {listed}", "Name the right one with --org.")
        except QueryError as error:
            return "org", error
        except UnreachableError as error:
            return "url", error
        return None

    def _ask(self, key: str) -> None:
        """Ask for the value of a key. Enter keeps the current value."""
        if key == "token":
            answer = typer.prompt("Token (user:password on 1.x; it is not shown)", hide_input=True, err=True)
            self._set_own_token(answer)
            return
        default = self._defaults.get(key, "")
        question = {
            "url": "InfluxDB's address (empty for none: all data in one file on this machine)",
            "org": "Organisation",
            "kapacitor_url": "Kapacitor's address (empty for none: pfa-flux downsamples by itself)",
            "data_dir": "Directory of the data",
            "raw_bucket": "Raw bucket",
            "loads_bucket": "Bucket of raw page loads",
            "rollup_bucket": "Rollup bucket",
        }[key]
        if default and key in {"url", "kapacitor_url"}:
            question = question.replace("empty for none", "- for none")
        elif key == "data_dir":
            default = default or str(self.draft.settings().data_dir)
        answer = typer.prompt(question, default=default, show_default=bool(default), err=True).strip()
        if key == "data_dir":
            answer = str(Path(answer).expanduser().absolute())
        self.draft = self.draft.with_values(**{key: "" if answer == "-" else answer})

    def loads_of_last_day(self) -> int | None:
        """Number of raw page loads in the last day, with the draft's names; None if the token cannot read them."""
        from pfa_flux import connect
        from pfa_flux.engines.ask import Ask
        from pfa_flux.errors import AccessDeniedError, BucketNotFoundError
        from pfa_flux.times import NS
        from pfa_flux.windows.spec import TaskSpec

        settings = self.draft.settings()
        rows = TaskSpec.from_settings(settings, Side.LOADS).raw
        with connect(settings) as analytics:
            now = analytics.engine.now()
            try:
                (sums,) = analytics.engine.aggregate([Ask(rows, now - 86400 * NS, now)])
            except BucketNotFoundError:
                return 0
            except AccessDeniedError:
                return None
        return sum(count for by_window in sums.values() for count in by_window.values())

    def say_server(self, analytics: Analytics) -> None:
        """Print the name of the server that answers."""
        engine = analytics.engine.capabilities
        self.say(f"{engine.title} answers" if self.draft.settings().url else "no InfluxDB: all data in one file")
        if engine.kapacitor_version:
            self.say(f"Kapacitor {engine.kapacitor_version} answers")

    def ask_rest(self) -> None:
        """Ask for values that no server can provide: the directory of the data, domains, sites."""
        from pfa_flux.cli.setup.proposals import proposed_domains

        if not self.interactive:
            proposed_domains(self)
            return
        if not self.draft.settings().url and "data_dir" not in self.given:
            self._ask("data_dir")
        if "domains" not in self.given:
            proposed = proposed_domains(self)
            self._until_right(lambda: self._ask_domains(proposed))
        if "sites" not in self.given:
            for name, names in self.draft.settings().sites.items():
                self.say(f"site {name}: {', '.join(names)}")
            while self._until_right(self._ask_site):
                pass

    def _until_right(self, ask: Callable[[], bool]) -> bool:
        """Ask again after an invalid answer."""
        from pfa_flux.errors import SettingsError

        while True:
            try:
                return ask()
            except SettingsError as error:
                note(f"{error.message}\n{error.hint}")

    def _ask_domains(self, proposed: Sequence[str]) -> bool:
        from pfa_flux.setup.draft import domains

        default = ", ".join(self.draft.settings().pixel.domains or proposed)
        question = "Domains to count, separated by commas"
        answer = typer.prompt(question, default=default, show_default=bool(default), err=True)
        self.draft = replace(self.draft, domains=domains(answer.split(","), "the answer"))
        return True

    def _ask_site(self) -> bool:
        from pfa_flux.setup.draft import site

        question = "A site with several of these domains, as NAME=domain,domain (empty to continue)"
        answer = typer.prompt(question, default="", show_default=False, err=True)
        if answer:
            self._take_site(*site(answer))
        return bool(answer)

    def buckets(self, analytics: Analytics, *, make: bool) -> None:
        """Check that the buckets exist. Create missing ones if `make` is set or the user agrees."""
        for side in self.draft.settings().task.sides:
            while not self._has(analytics, bucket := self.draft.settings().raw_bucket_of(side)):
                key = "raw_bucket" if bucket == self.draft.settings().raw_bucket else "loads_bucket"
                if self._shall_create(analytics, key, bucket, make=make):
                    analytics.engine.create_bucket(bucket)
                    self.say(f"created the bucket {bucket}, without expiry")
        while not self.make_rollup and not self._has(analytics, bucket := self.draft.settings().rollup_bucket):
            # Installing the task creates this bucket, and removes it if that fails.
            self.make_rollup = self._shall_create(analytics, "rollup_bucket", bucket, make=make)

    @staticmethod
    def _has(analytics: Analytics, bucket: str) -> bool:
        return analytics.engine.capabilities.in_process or analytics.engine.has_bucket(bucket)

    def _shall_create(self, analytics: Analytics, key: str, bucket: str, *, make: bool) -> bool:
        """Whether to create a missing bucket. If the answer is no, the user has named another one.

        Raises:
            BucketNotFoundError: the bucket may not be created, and no question may be asked.
        """
        from pfa_flux.tasks.install import missing_bucket

        if make:
            return True
        remedy = f"Name the right one with --{key.replace('_', '-')}, or create it with --create-buckets."
        error = missing_bucket(analytics.engine, "rollup" if key == "rollup_bucket" else "raw", bucket, remedy)
        if not self.interactive:
            raise error
        similar = error.hint.removesuffix(remedy)
        # If another bucket has a similar name, this one is likely a typo.
        if typer.confirm(f"{error.message}. {similar}Create {bucket}?", default=not similar, err=True):
            return True
        if key in self.given:
            raise error
        self._ask(key)
        return False
