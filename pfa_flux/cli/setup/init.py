"""`pfa-flux init`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pfa_flux import registry
from pfa_flux.cli.choices import Loads
from pfa_flux.cli.help import with_kinds
from pfa_flux.cli.options import note
from pfa_flux.cli.setup import pieces
from pfa_flux.cli.setup.dialogue import Dialogue
from pfa_flux.cli.setup.loads import take_loads
from pfa_flux.cli.setup.proposals import propose_names, propose_tasks
from pfa_flux.cli.setup.twins import propose_twins
from pfa_flux.cli.task import show
from pfa_flux.cli.task.sides import CreateBuckets, blame
from pfa_flux.schema import Side

if TYPE_CHECKING:
    from pfa_flux import Installation
    from pfa_flux.setup.staging import File
    from pfa_flux.tasks.task import Task


@with_kinds
def init(
    *,
    url: Annotated[str | None, typer.Option(help="Address of InfluxDB; '' for none.", show_default=False)] = None,
    token_file: Annotated[
        str | None,
        typer.Option(help="File with the token; - reads it from standard input.", show_default=False),
    ] = None,
    org: Annotated[str | None, typer.Option(help="Organisation of InfluxDB 2.", show_default=False)] = None,
    kapacitor_url: Annotated[
        str | None, typer.Option(help="Address of Kapacitor, for tasks on 1.x; '' for none.", show_default=False)
    ] = None,
    domain: Annotated[
        list[str] | None, typer.Option(help="Domain to count, in addition; repeatable.", show_default=False)
    ] = None,
    site: Annotated[
        list[str] | None,
        typer.Option(help="NAME=domain,domain: a site and all its domains; repeatable.", show_default=False),
    ] = None,
    listen: Annotated[
        str | None, typer.Option(help="Address of the pixel: HOST:PORT, or unix:PATH.", show_default=False)
    ] = None,
    loads: Annotated[
        Loads | None,
        typer.Option(
            help="Source of page loads: your own analytics, the pixel's script, the tracker's onload, or none yet.",
            show_default="as in the file",
        ),
    ] = None,
    loads_measurement: Annotated[
        str | None, typer.Option(help="Measurement of your analytics' page loads.", show_default=False)
    ] = None,
    loads_field: Annotated[
        str | None, typer.Option(help="Field of your analytics' page loads.", show_default=False)
    ] = None,
    raw_bucket: Annotated[str | None, typer.Option(help="Bucket of raw points.", show_default=False)] = None,
    loads_bucket: Annotated[
        str | None,
        typer.Option(help="Bucket of raw page loads, if it is not the raw bucket.", show_default=False),
    ] = None,
    rollup_bucket: Annotated[str | None, typer.Option(help="Bucket of downsampled points.", show_default=False)] = None,
    data_dir: Annotated[
        str | None, typer.Option(help="Directory of the embedded store and the spool.", show_default=False)
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            help="File to write.",
            show_default="the one found, else /etc/pfa-flux/pfa-flux.toml for root, ~/.config/pfa-flux/pfa-flux.toml",
        ),
    ] = None,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take over a task that pfa-flux did not make, and float rows of others.")
    ] = False,
    hits_only: Annotated[
        bool, typer.Option("--hits-only", help="Downsample only hits, not page loads. The settings file keeps this.")
    ] = False,
    create_buckets: CreateBuckets = False,
    write: Annotated[bool, typer.Option("--write", help="Write the nginx, systemd and page files, too.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Undo what --write wrote, and do nothing else.")] = False,
    include: Annotated[
        bool,
        typer.Option("--include", help="With --write: add the include to the server { } of each site."),
    ] = False,
    enable: Annotated[
        bool,
        typer.Option("--enable", help="With --write: start the service with systemd, and reload nginx after nginx -t."),
    ] = False,
    nginx_dir: Annotated[
        str | None, typer.Option(help="Directory of nginx, for --write as root.", show_default="/etc/nginx")
    ] = None,
    unit_dir: Annotated[
        str | None,
        typer.Option(
            help="Directory of systemd units, for --write.",
            show_default="/etc/systemd/system for root, else ~/.config/systemd/user",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask no questions.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no notes or warnings.")] = False,
) -> None:
    """Set up everything: settings, token file, tasks, and the files for nginx, systemd and the pages.

    Asks for what no flag gives, unless standard input is not a terminal. Tries out every answer at once, and writes
    nothing until all are right. A second run starts from the existing files.

    Without --write, the last lines list the remaining steps, with the command that prints each file.

    --write first shows what would change. It never overwrites a file that pfa-flux did not write, or that was changed
    since. It adds a line to a site's own configuration, and starts services, only if you ask for it.
    """
    from pfa_flux.errors import SettingsError
    from pfa_flux.settings.pixel import address
    from pfa_flux.setup.draft import KEYS, config_path

    flags = {
        "url": url, "org": org, "raw_bucket": raw_bucket, "loads_bucket": loads_bucket,
        "rollup_bucket": rollup_bucket, "data_dir": data_dir, "kapacitor_url": kapacitor_url,
    }  # fmt: skip
    path = config_path(config, os.environ, Path.cwd())
    if remove:
        pieces.remove(path)
        return
    if (include or enable) and not write:
        raise SettingsError("--include and --enable work only with --write", "Add --write.")
    given = {key: value for key, value in flags.items() if value is not None}
    env = {key: os.environ[f"PFA_FLUX_{key.upper()}"] for key in KEYS if os.environ.get(f"PFA_FLUX_{key.upper()}")}
    dialogue = Dialogue(path, {**env, **given}, set(given), interactive=sys.stdin.isatty() and not yes, quiet=quiet)
    if listen is not None:
        dialogue.draft = replace(dialogue.draft, listen=address(listen, "--listen"))
    dialogue.draft = replace(dialogue.draft, hits_only=hits_only)
    dialogue.take_token(token_file)
    dialogue.take_domains(site or [], domain or [])
    with dialogue.reach() as analytics:
        dialogue.say_server(analytics)
        propose_names(dialogue, analytics)
        dialogue.ask_rest()
        propose_twins(dialogue)
        dialogue.buckets(analytics, make=create_buckets)
    take_loads(dialogue, loads, loads_measurement, loads_field)
    adopt |= propose_tasks(dialogue)
    if not write:
        _set_up(dialogue, None, adopt=adopt)
        typer.echo(pieces.summary(dialogue.draft, named=_is_elsewhere(path)))
        return
    writing = pieces.Writing.of(dialogue.draft, pieces.Targets(nginx_dir, unit_dir))
    writing.services.settle(dialogue, include=include, enable=enable)
    _set_up(dialogue, writing, adopt=adopt)
    typer.echo(f"\n{writing.three_lines(path, named=_is_elsewhere(path))}")


def _is_elsewhere(path: Path) -> bool:
    """Whether commands need --config to find a settings file."""
    from pfa_flux.setup.draft import config_path

    return config_path(None, {**os.environ, "PFA_FLUX_CONFIG": ""}, Path("/")) != path


def _set_up(dialogue: Dialogue, writing: pieces.Writing | None, *, adopt: bool) -> None:
    """Install the tasks, put the files in place, and print what was done."""
    from pfa_flux import connect
    from pfa_flux.engines.directory import private_directory
    from pfa_flux.errors import PfaFluxError
    from pfa_flux.setup.staging import staged

    settings = dialogue.draft.settings()
    files = _files(dialogue, writing)
    actions = {file.path: file.action for file in files}
    fresh = not settings.data_dir.exists()
    with staged(files) as put, connect(settings) as analytics:
        private_directory(settings.data_dir)
        tasks = [analytics.task(side) for side in settings.task.sides]
        try:
            done = _install(tasks, adopt=adopt, create_bucket=dialogue.make_rollup)
        except PfaFluxError as error:
            if fresh:
                with contextlib.suppress(OSError):
                    settings.data_dir.rmdir()
            error.hint = error.hint.replace("pfa-flux install-task", "pfa-flux init")
            raise
        put()
    for path, action in actions.items():
        typer.echo(f"{path}: {action}")
    for task, each in zip(tasks, done, strict=True):
        typer.echo(f"{task.spec.name} ({each.id}): {each.action}")
        if not dialogue.quiet:
            _tell_of(task, each)
    if not dialogue.quiet:
        _tell(dialogue, tasks[0].backend.name)
    if writing is not None:
        from pfa_flux.setup.placing import Manifest

        changed = any(action != "unchanged" for action in actions.values())
        writing.services.proceed(writing.manifest, Manifest.of(dialogue.draft.path), changed=changed)


def _files(dialogue: Dialogue, writing: pieces.Writing | None) -> list[File]:
    """The files to write. With --write, show their changes and ask first."""
    from pfa_flux.setup.draft import files_of
    from pfa_flux.setup.placing import Manifest

    draft = dialogue.draft
    own = files_of(draft, own_token=dialogue.own_token)
    if writing is None:
        manifest = Manifest.of(draft.path)
        return [manifest.with_written(own, new=[]).as_file(), *own] if manifest.files else own
    files = [*own, *writing.pieces, *writing.services.sites]
    if not dialogue.quiet:
        writing.show(files, draft.token_file)
    writing.manifest.check(writing.pieces)
    if dialogue.interactive and any(file.action != "unchanged" for file in files):
        typer.confirm("Write these files?", default=True, abort=True, err=True)
    return [writing.manifest.with_written(files, new=files).as_file(), *files]


def _install(tasks: Sequence[Task], *, adopt: bool, create_bucket: bool) -> list[Installation]:
    """Install all tasks. If one fails, remove the others again."""
    from pfa_flux.errors import PfaFluxError

    done = []
    with contextlib.ExitStack() as undo:
        for task in tasks:
            try:
                done.append(task.install(adopt=adopt, create_bucket=create_bucket))
            except PfaFluxError as error:
                if len(tasks) > 1:
                    blame(task, error)
                raise
            if done[-1].action == "created":
                undo.callback(task.remove, done[-1].id)
        undo.pop_all()
    return done


def _tell_of(task: Task, done: Installation) -> None:
    rows = task.spec.what.label
    if done.made_bucket:
        note(f"created the bucket {task.spec.rollup_bucket}")
    if task.spec.what is Side.HITS:
        show.note_store(done.store)
    if done.proof is not None and done.proof.hits:
        note(f"proved by a run: {done.proof.hits} {rows} make {done.proof.rows} rows, equal to the raw data")
    elif done.proof is not None:
        note(f"proved by a run, which succeeded. There are no {rows} to compare yet")


def _tell(dialogue: Dialogue, backend: str) -> None:
    from pfa_flux.setup.systemd import STATE

    settings = dialogue.draft.settings()
    if not settings.task.loads:
        note(f"page loads are not downsampled: {dialogue.draft.path} has loads = false under [task]")
    if backend == registry.OWN_BACKEND:
        note("pfa-flux serve also runs the tasks. If you do not run it, let cron run: pfa-flux task run --due")
    if not settings.pixel.domains:
        note("warning: no domain is set, so hits of any domain count. Name yours with --domain")
    unseen = pieces.hidden(dialogue.draft)
    if unseen is not None:
        note(f"warning: the service cannot read {unseen}: its unit blocks home directories. Move it to /opt or /etc")
    if settings.data_dir != STATE and os.geteuid() == 0:
        note(
            "warning: the service would run as root, because root owns its data. "
            "To give it its own user: pfa-flux init --config /etc/pfa-flux/pfa-flux.toml"
        )
