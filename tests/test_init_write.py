"""`pfa-flux init --write` writes the pieces where they belong, overwrites nothing of others, and can be undone."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from pfa_flux.cli.setup import pieces
from pfa_flux.cli.setup.dialogue import Dialogue
from pfa_flux.errors import PfaFluxError
from pfa_flux.settings import Settings
from pfa_flux.setup.placing import Layout, Manifest
from pfa_flux.setup.systemd import STATE, Place, user_unit
from tests.cli import Result
from tests.engines.plugin import MakeWorkspace
from tests.initial import COMMAND, Folder, Terminal, new_file, run
from tests.test_systemd import analyze

FLAGS = ("--write", "--nginx-dir", "nginx", "--unit-dir", "units")


class Machine:
    """Directories of nginx and systemd, and settings of whoever runs the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config = folder, new_file(folder)
        (folder / "nginx").mkdir()
        targets = pieces.Targets(str(folder / "nginx"), str(folder / "units"))
        self.layout = targets.layout(self.config)
        if os.geteuid() != 0:
            self.layout = Layout.of_user(self.config, {"HOME": str(folder)}, folder / "units")
        self.manifest = self.config.with_suffix(".written.json")

    @property
    def pieces(self) -> tuple[Path, ...]:
        return self.layout.http, self.layout.server, self.layout.unit, self.layout.page

    def write(self, *more: str) -> Result:
        flags = ("--data-dir", "data", "--domain", "example.i2p", "--loads", "script")
        return run(self.folder, "init", "--yes", *flags, *FLAGS, *more)

    def remove(self) -> Result:
        return run(self.folder, "init", "--remove")

    def tree(self) -> dict[str, str | None]:
        """All that is there but the data."""
        found = {str(path.relative_to(self.folder)): path for path in self.folder.rglob("*")}
        return {
            name: path.read_text() if path.is_file() else None
            for name, path in found.items()
            if name.partition("/")[0] != "data"
        }


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_pieces_are_written_as_they_would_be_printed(machine: Machine) -> None:
    done = machine.write()
    assert done.code == 0, done.err
    written = (machine.manifest, machine.config, *machine.pieces)
    assert done.out.splitlines()[: len(written)] == [f"{path}: written" for path in written]
    printed = {
        machine.layout.http: ("nginx", "--part", "http"),
        machine.layout.server: ("nginx", "--part", "server"),
        machine.layout.unit: ("systemd", *(["--user"] if machine.layout.user else [])),
        machine.layout.page: ("tags",),
    }
    for path, words in printed.items():
        assert run(machine.folder, *words).out == path.read_text()
    assert f"ExecStart={COMMAND} serve --config {machine.config}\n" in machine.layout.unit.read_text()
    assert "###" not in done.out
    assert machine.manifest.stat().st_mode & 0o777 == 0o600


def test_it_ends_with_what_runs_the_pages_and_the_first_view(machine: Machine) -> None:
    *_, empty, runs, pages, view = machine.write().out.splitlines()
    user = " --user" if machine.layout.user else ""
    http = f"include {machine.layout.http}; to http {{ }} and " if machine.layout.user else ""
    assert (empty, runs, pages, view) == (
        "",
        f"1. Start the pixel: systemctl{user} daemon-reload && systemctl{user} enable --now pfa-flux.service",
        f"2. In nginx add {http}include {machine.layout.server}; to the server {{ }} of each site, then run nginx -t "
        f"&& systemctl reload nginx. At the end of each page put the tags in {machine.layout.page}",
        "3. To see the first view arrive, open a page, then run pfa-flux blocked-ratio --start 1h",
    )


def test_a_difference_is_shown_first_and_a_second_run_has_none(machine: Machine) -> None:
    first = machine.write().err
    lines = len(machine.layout.unit.read_text().splitlines())
    assert f"{machine.layout.unit}: new, {lines} lines\n" in first
    assert len(first.splitlines()) < 20
    before = machine.tree()
    again = machine.write()
    assert [line.rpartition(": ")[2] for line in again.out.splitlines()[:6]] == ["unchanged"] * 6
    assert "+++" not in again.err
    assert machine.tree() == before
    changed = machine.write("--listen", "127.0.0.1:9999")
    assert "-    server 127.0.0.1:8480;\n+    server 127.0.0.1:9999;\n" in changed.err
    assert f"{machine.layout.http}: changed\n" in changed.out


def test_remove_undoes_all_of_it_and_nothing_else(machine: Machine) -> None:
    (machine.folder / "nginx/nginx.conf").write_text("# The site's own.\n")
    before = machine.tree()
    assert machine.write().code == 0
    # Whatever init itself changes later.
    assert run(machine.folder, "init", "--domain", "other.i2p").code == 0
    assert machine.write("--listen", "127.0.0.1:9999").code == 0
    done = machine.remove()
    assert (done.code, done.out.splitlines()) == (
        0,
        [f"{path}: removed" for path in (machine.config, *machine.pieces)],
    )
    assert "data and tasks stay" in done.err
    assert machine.tree() == before
    assert (machine.folder / "data").is_dir()
    none = machine.remove()
    assert (none.code, none.out) == (1, "")
    assert f"pfa-flux init --write has written nothing for {machine.config}" in none.err


def test_settings_that_were_there_are_restored(machine: Machine) -> None:
    machine.config.parent.mkdir(parents=True)
    machine.config.write_text("# Ours.\n[pixel]\nmax_pages = 7 # few\n")
    before = machine.tree()
    assert machine.write().code == 0
    assert machine.write("--domain", "other.i2p").code == 0
    assert f"{machine.config}: restored\n" in machine.remove().out
    assert machine.tree() == before


def test_a_file_of_another_hand_is_not_overwritten(machine: Machine) -> None:
    machine.layout.server.parent.mkdir(parents=True)
    machine.layout.server.write_text("# Mine.\n")
    before = machine.tree()
    done = machine.write()
    assert (done.code, done.out, machine.tree()) == (1, "", before)
    assert done.err.splitlines()[-2:] == [
        f"pfa-flux: {machine.layout.server} was not written by pfa-flux, or was changed since; nothing was written",
        "Move it away and run this again, then carry over what you need from it.",
    ]
    # One that is as it is to be stays when the rest goes.
    machine.layout.server.unlink()
    assert machine.write().code == 0
    text = machine.layout.server.read_text()
    assert machine.remove().code == 0
    machine.layout.server.parent.mkdir(parents=True, exist_ok=True)
    machine.layout.server.write_text(text)
    assert machine.write().code == 0
    assert str(machine.layout.server) not in machine.remove().out
    assert machine.layout.server.read_text() == text


def test_what_was_changed_by_hand_is_neither_overwritten_nor_removed(machine: Machine) -> None:
    assert machine.write().code == 0
    with machine.layout.unit.open("a") as unit:
        unit.write("# By hand.\n")
    before = machine.tree()
    refused = machine.write("--listen", "127.0.0.1:9999")
    assert (refused.code, machine.tree()) == (1, before)
    assert "-# By hand.\n" in refused.err
    kept = machine.remove()
    assert (kept.code, f"{machine.layout.unit}: kept: changed since\n" in kept.out) == (1, True)
    assert kept.err.splitlines()[-1] == "Remove it by hand, and run this again."
    assert machine.layout.unit.exists()
    assert not machine.layout.http.exists()
    machine.layout.unit.unlink()
    assert (machine.remove().code, machine.tree()) == (0, {"nginx": None})


def test_a_link_is_not_followed(machine: Machine) -> None:
    machine.layout.server.parent.mkdir(parents=True)
    machine.layout.server.symlink_to(machine.folder / "elsewhere")
    assert machine.write().code == 1
    assert not (machine.folder / "elsewhere").exists()


def test_on_a_terminal_no_leaves_all_as_it_was(machine: Machine) -> None:
    (machine.folder / "bin").mkdir()
    # Whether this machine has a systemd is no matter here.
    (machine.folder / "bin/systemctl").write_text("#!/bin/sh\necho offline\n")
    (machine.folder / "bin/systemctl").chmod(0o755)
    before = machine.tree()
    flags = ("--data-dir", "data", "--url", "", "--site", "a=example.i2p", "--loads", "none", *FLAGS)
    terminal = Terminal(machine.folder, *flags, PATH=f"{machine.folder}/bin:{os.environ['PATH']}")
    terminal.answer("Write these files? [Y/n]: ", "n")
    assert terminal.end() == 1
    assert machine.tree() == before


def test_a_token_is_written_and_neither_shown_nor_listed(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    place = Folder(make_workspace("influxdb-2.7"), tmp_path)
    (tmp_path / "nginx").mkdir()
    done = place.init("--yes", "--loads", "none", *FLAGS)
    assert (done.code, f"{place.token_file}: a token, which is not shown\n" in done.err) == (0, True), done.err
    assert place.token not in place.file.with_suffix(".written.json").read_text()
    place.remove_tasks()
    assert run(tmp_path, "init", "--remove").code == 0
    assert (place.token_file.exists(), place.file.read_text()) == (False, place.begun)


def test_a_token_in_the_settings_is_not_shown(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    place = Folder(make_workspace("influxdb-2.7"), tmp_path)
    (tmp_path / "nginx").mkdir()
    place.file.write_text(f'token = "{place.token}"\n{place.begun}')
    # Folder.init sees that the token is in neither output.
    done = place.init("--yes", "--loads", "none", *FLAGS)
    assert (done.code, "-token =…\n" in done.err) == (0, True), done.err
    assert place.file.with_suffix(".written.json").stat().st_mode & 0o777 == 0o600
    place.remove_tasks()


def test_without_nginx_root_is_told_to_name_its_directory(tmp_path: Path) -> None:
    with pytest.raises(PfaFluxError, match=r"there is no .*/nginx\n.*--nginx-dir"):
        Layout.of_machine(Path("/etc/pfa-flux/pfa-flux.toml"), tmp_path / "nginx")


def test_root_writes_into_etc_and_a_user_into_the_own_directory(tmp_path: Path) -> None:
    (tmp_path / "nginx").mkdir()
    machine = Layout.of_machine(Path("/etc/pfa-flux/pfa-flux.toml"), tmp_path / "nginx")
    assert (machine.unit, machine.page) == (
        Path("/etc/systemd/system/pfa-flux.service"),
        Path("/etc/pfa-flux/page.html"),
    )
    assert machine.http == tmp_path / "nginx/conf.d/pfa-flux.conf"
    assert machine.server == tmp_path / "nginx/snippets/pfa-flux.conf"
    own = Path("/home/me/.config/pfa-flux")
    assert Layout.of_user(own / "pfa-flux.toml", {"HOME": "/home/me"}) == Layout(
        own / "nginx-http.conf",
        own / "nginx-server.conf",
        Path("/home/me/.config/systemd/user/pfa-flux.service"),
        own / "page.html",
        user=True,
    )
    unit = Layout.of_user(own / "pfa-flux.toml", {"HOME": "/home/me", "XDG_CONFIG_HOME": "/x"}).unit
    assert unit == Path("/x/systemd/user/pfa-flux.service")


def test_the_unit_of_a_users_own_systemd_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    text = user_unit(Settings(data_dir=tmp_path), Place(COMMAND, tmp_path / "pfa-flux.toml", None, "me"))
    lines = text.splitlines()
    assert f"ExecStart={COMMAND} serve --config {tmp_path}/pfa-flux.toml" in lines
    assert f"Environment=PFA_FLUX_DATA_DIR={tmp_path}" in lines
    assert lines[-1] == "WantedBy=default.target"
    assert not {"User=", "DynamicUser=", "ProtectSystem=", "IPAddressDeny="} & {
        line.split("=")[0] + "=" for line in lines
    }
    (tmp_path / "pfa-flux.service").write_text(text)
    done = analyze("--user", "verify", "--man=no", str(tmp_path / "pfa-flux.service"))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_command_that_the_service_cannot_see_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nginx").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(sys, "argv", ["/home/me/pfa-flux/bin/pfa-flux"])
    draft = Dialogue(Path("/etc/pfa-flux-tests/pfa-flux.toml"), {}, set(), asking=False, quiet=True).draft
    assert draft.settings().data_dir == STATE
    with pytest.raises(PfaFluxError, match="the service cannot read /home/me/pfa-flux/bin/pfa-flux"):
        pieces.Writing.of(draft, pieces.Targets(str(tmp_path / "nginx")))


def test_a_manifest_that_is_none_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "pfa-flux.toml"
    for text in ("{", "[]", json.dumps({"files": {"/x": {"other": 1}}, "folders": []})):
        config.with_suffix(".written.json").write_text(text)
        with pytest.raises(PfaFluxError, match="cannot be read as a list of what was written"):
            Manifest.beside(config)
