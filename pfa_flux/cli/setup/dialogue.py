"""What `pfa-flux init` asks for: flags, environment, the file that is there and answers make settings that work."""

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
    "Give it with --token-file FILE, with --token-file - on standard input, or in PFA_FLUX_TOKEN; "
    "on 1.x it is user:password."
)


class Dialogue:
    """Comes from flags, environment, the file that is there, and questions, to a draft that was tried out."""

    def __init__(self, path: Path, values: Mapping[str, str], given: set[str], *, asking: bool, quiet: bool) -> None:
        from pfa_flux.setup.discovery import Discovery
        from pfa_flux.setup.draft import Draft
        from pfa_flux.setup.systemd import STATE

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
        self.make_rollup = False
        self.found = Discovery()
        # What Enter answers, whatever else was answered before.
        self._usual = {**{key: str(value) for key, value in self.draft.document.items()}, **own}
        self.draft.settings()

    @property
    def said(self) -> set[str]:
        """Keys that flags, the environment, the file or an answer have said."""
        return {*self.draft.document, *self.draft.values}

    def say(self, text: str) -> None:
        """A note, unless there are to be none."""
        if not self.quiet:
            note(text)

    def take_token(self, named: str | None) -> None:
        """The token of the flag, or of the environment; else it is that of the file, if there is one."""
        from pfa_flux.errors import SettingsError
        from pfa_flux.settings.secret import read_token

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
        """Connect, asking until the answers are right; without questions the first error is the last."""
        from pfa_flux import connect

        if self.asking and "url" not in self.given:
            self._ask("url")
        self._until_it_connects()
        with connect(self.draft.settings()) as analytics:
            engine, there = analytics.engine.capabilities, self._kapacitors(analytics)
        if engine.kapacitor:
            if there and not self._kapacitor and not self.asking:
                self.say(f"a Kapacitor is at {there}, and not used; to have it run the tasks: --kapacitor-url {there}")
            self._usual.setdefault("kapacitor_url", there)
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

    def _kapacitors(self, analytics: Analytics) -> str:
        """The first Kapacitor among those that the server passes points on to; empty where none answers."""
        from pfa_flux.engines.influxdb.detect import is_kapacitor

        settings = self.draft.settings()
        return next((url for url in analytics.engine.subscribers() if is_kapacitor(settings, url)), "")

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
        present = self._usual.get(key, "")
        words = {
            "url": "InfluxDB's address, nothing for none: all data in one file here",
            "org": "Organisation",
            "kapacitor_url": "Kapacitor's address, nothing for none: pfa-flux downsamples by itself",
            "data_dir": "Directory of the data",
            "raw_bucket": "Raw bucket",
            "loads_bucket": "Bucket of raw page loads",
            "rollup_bucket": "Rollup bucket",
        }[key]
        if present and key in {"url", "kapacitor_url"}:
            words = words.replace("nothing for none", "- for none")
        elif key == "data_dir":
            present = present or str(self.draft.settings().data_dir)
        answer = typer.prompt(words, default=present, show_default=bool(present), err=True).strip()
        if key == "data_dir":
            answer = str(Path(answer).expanduser().absolute())
        self.draft = self.draft.with_values(**{key: "" if answer == "-" else answer})

    def loads_of_last_day(self) -> int | None:
        """Number of raw page loads of the last day, by the names of the draft; None if the token may not see them."""
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

    def greet(self, analytics: Analytics) -> None:
        """Say who answers."""
        can = analytics.engine.capabilities
        self.say(f"{can.title} answers" if self.draft.settings().url else "no InfluxDB: all data in one file")
        if can.kapacitor_version:
            self.say(f"Kapacitor {can.kapacitor_version} answers")

    def ask_rest(self) -> None:
        """Ask for what no connection proves: the place of the data, domains, sites."""
        from pfa_flux.cli.setup.proposals import proposed_domains

        if not self.asking:
            proposed_domains(self)
            return
        if not self.draft.settings().url and "data_dir" not in self.given:
            self._ask("data_dir")
        if "domains" not in self.given:
            found = proposed_domains(self)
            self._until_right(lambda: self._ask_domains(found))
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

    def _ask_domains(self, found: Sequence[str]) -> bool:
        from pfa_flux.setup.draft import domains

        present = ", ".join(self.draft.settings().pixel.domains or found)
        words = "Domains that count, with commas between"
        answer = typer.prompt(words, default=present, show_default=bool(present), err=True)
        self.draft = replace(self.draft, domains=domains(answer.split(","), "the answer"))
        return True

    def _ask_site(self) -> bool:
        from pfa_flux.setup.draft import site

        words = "A site over several of them, as NAME=domain,domain; nothing for no more"
        answer = typer.prompt(words, default="", show_default=False, err=True)
        if answer:
            self._take_site(*site(answer))
        return bool(answer)

    def buckets(self, analytics: Analytics, *, make: bool) -> None:
        """See that the buckets are there, or that they are to be made."""
        for side in self.draft.settings().task.sides:
            while not self._has(analytics, bucket := self.draft.settings().raw_bucket_of(side)):
                key = "raw_bucket" if bucket == self.draft.settings().raw_bucket else "loads_bucket"
                if self._is_to_be_made(analytics, key, bucket, make=make):
                    analytics.engine.create_bucket(bucket)
                    self.say(f"made the bucket {bucket}, kept for ever")
        while not self.make_rollup and not self._has(analytics, bucket := self.draft.settings().rollup_bucket):
            # With the task: it goes again where that fails.
            self.make_rollup = self._is_to_be_made(analytics, "rollup_bucket", bucket, make=make)

    @staticmethod
    def _has(analytics: Analytics, bucket: str) -> bool:
        return analytics.engine.capabilities.in_process or analytics.engine.has_bucket(bucket)

    def _is_to_be_made(self, analytics: Analytics, key: str, bucket: str, *, make: bool) -> bool:
        """Whether to make a bucket that is missing; else another one has been named.

        Raises:
            BucketNotFoundError: it is neither to be made nor asked for.
        """
        from pfa_flux.tasks.install import missing_bucket

        if make:
            return True
        remedy = f"Name the right one with --{key.replace('_', '-')}, or have it made with --create-buckets."
        error = missing_bucket(analytics.engine, "rollup" if key == "rollup_bucket" else "raw", bucket, remedy)
        if not self.asking:
            raise error
        near = error.hint.removesuffix(remedy)
        # One that is nearly the name of another is likely to be mistyped.
        if typer.confirm(f"{error.message}. {near}Make {bucket}?", default=not near, err=True):
            return True
        if key in self.given:
            raise error
        self._ask(key)
        return False
