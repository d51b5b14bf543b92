"""`pfa-flux init`: from nothing to an installation that doctor finds nothing wrong with, and again without harm."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pfa_flux.settings.file import SYSTEM_VARIABLE
from pfa_flux.setup.draft import config_path
from pfa_flux.setup.systemd import STATE
from tests.cli import Result, clean_environment
from tests.cli import pfa_flux as plain
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace

ROOT = Path(__file__).parents[1]
COMMAND = Path(sys.executable).with_name("pfa-flux")
ENGINES: dict[str, tuple[str, dict[str, bool]]] = {
    "influxdb-2.7": ("influxdb-2.7", {}),
    "influxdb-2.9": ("influxdb-2.9", {}),
    "kapacitor": ("kapacitor", {}),
    "influxdb-1.8": ("influxdb-1.8", {}),
    "influxdb-1.8 auth": ("influxdb-1.8", {"auth": True}),
    "embedded": ("embedded", {}),
}
every_engine = pytest.mark.parametrize(
    "engine",
    [
        engine if engine in ("influxdb-2.7", "embedded") else pytest.param(engine, marks=pytest.mark.slow)
        for engine in ENGINES
    ],
)


def home_of(folder: Path) -> dict[str, str]:
    """Environment of a user whose home is a folder, on a machine whose settings are in it, too."""
    return {"HOME": str(folder), SYSTEM_VARIABLE: str(folder / "etc" / "pfa-flux.toml")}


def new_file(folder: Path) -> Path:
    """Where `init` writes settings if there are none."""
    return folder / ("etc" if os.geteuid() == 0 else ".config/pfa-flux") / "pfa-flux.toml"


def run(folder: Path, *arguments: str, given: str = "", env: Mapping[str, str] | None = None) -> Result:
    """`pfa-flux` in a folder, with something on its standard input, which is no terminal."""
    done = subprocess.run(
        [str(COMMAND), *arguments],
        cwd=folder,
        env=clean_environment(**home_of(folder), **(env or {})),
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Result(done.returncode, done.stdout, done.stderr)


class Folder:
    """A folder with settings that another hand has begun, and the flags for a workspace."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.workspace, self.folder = workspace, folder
        self.file, self.token_file = folder / "pfa-flux.toml", folder / "pfa-flux.token"
        self.token = workspace.server.token
        self.begun = (
            "# Ours.\n"
            f'raw_bucket = "{workspace.raw}" # of the old server\n'
            f'rollup_bucket = "{workspace.rollup}"\n\n'
            "# Several of us share the server.\n[schema]\n"
            f'task_name = "{workspace.task_name}"\nloads_task_name = "{workspace.task_name}_loads"\n\n'
            "[pixel]\nmax_pages = 7 # few\n"
        )
        self.file.write_text(self.begun)

    @property
    def names(self) -> tuple[str, str]:
        """Names of the tasks."""
        return self.workspace.task_name, f"{self.workspace.task_name}_loads"

    @property
    def flags(self) -> list[str]:
        server = self.workspace.server
        flags = ["--url", server.url, "--data-dir", str(self.folder / "data")]
        flags += ["--kapacitor-url", server.kapacitor_url] if server.kapacitor_url else []
        return flags + (["--token-file", "-"] if self.token else [])

    def init(self, *more: str, env: Mapping[str, str] | None = None) -> Result:
        done = run(self.folder, "init", *self.flags, *more, given=f"{self.token}\n", env=env)
        if self.token:
            assert self.token not in done.out + done.err
        return done

    def untouched(self) -> bool:
        """Nothing was written: the settings are as they were, and no other file is there."""
        names = {path.name for path in self.folder.iterdir()}
        return self.file.read_text() == self.begun and names == {"pfa-flux.toml"}

    def remove_tasks(self) -> None:
        run(self.folder, "task", "remove")


MakePlace = Callable[[str], Folder]


@pytest.fixture
def make_place(make_workspace: MakeWorkspace, tmp_path: Path) -> MakePlace:
    def make(engine: str) -> Folder:
        name, how = ENGINES[engine]
        return Folder(make_workspace(name, **how), tmp_path)

    return make


@every_engine
def test_afterwards_doctor_finds_nothing_wrong(engine: str, make_place: MakePlace) -> None:
    place = make_place(engine)
    done = place.init("--site", "blog=example.com,abc.onion", "--domain", "other.example")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    expected = [f"{place.token_file}: written"] * bool(place.token) + [f"{place.file}: changed"]
    assert lines[: len(expected)] == expected
    for name, line in zip(place.names, lines[len(expected) :], strict=False):
        assert re.fullmatch(rf"{name} \([0-9a-f-]+\): created", line)
    looked = run(place.folder, "doctor")
    assert (looked.code, looked.err) == (0, ""), looked.out
    assert "waiting for the first hit, for less than a minute" in re.sub(r"\s+", " ", looked.out)
    looked_at = {line.split("  ")[0] for line in looked.out.splitlines()}
    assert looked_at >= {"engine", "newest hit", "task", "last run", "loads task", "loads last run"}
    assert "warning" not in looked.out
    assert "failed" not in looked.out
    place.remove_tasks()


@every_engine
def test_what_is_written(engine: str, make_place: MakePlace) -> None:
    place = make_place(engine)
    assert place.init("--site", "blog=Example.com,abc.onion").code == 0
    server = place.workspace.server
    written = tomllib.loads(place.file.read_text())
    assert written == {
        **tomllib.loads(place.begun),
        **({"url": server.url} if server.url else {}),
        **({"kapacitor_url": server.kapacitor_url} if server.kapacitor_url else {}),
        **({"token_file": str(place.token_file)} if place.token else {}),
        "data_dir": str(place.folder / "data"),
        "sites": {"blog": {"domains": ["example.com", "abc.onion"]}},
        "pixel": {"max_pages": 7, "domains": ["example.com", "abc.onion"]},
    }
    assert [line for line in place.begun.splitlines() if line not in place.file.read_text().splitlines()] == []
    if place.token:
        assert place.token_file.read_text() == f"{place.token}\n"
        assert place.token_file.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in place.folder.iterdir()} <= {"pfa-flux.toml", "pfa-flux.token", "data"}
    place.remove_tasks()


@every_engine
def test_a_second_run_changes_nothing_and_another_domain_only_that(engine: str, make_place: MakePlace) -> None:
    place = make_place(engine)
    assert place.init("--domain", "example.com").code == 0
    files = {path: (path.read_text(), path.stat().st_mtime_ns) for path in place.folder.glob("pfa-flux.*")}
    again = place.init("--domain", "example.com")
    assert again.code == 0, again.err
    lines = again.out.splitlines()
    assert [line.rpartition(": ")[2] for line in lines[: len(files)]] == ["unchanged"] * len(files)
    assert [line.endswith(": up to date") for line in lines[len(files) : len(files) + 2]] == [True, True]
    # From the file alone, too.
    assert run(place.folder, "init").out == again.out
    assert {path: (path.read_text(), path.stat().st_mtime_ns) for path in files} == files
    before = place.file.read_text()
    assert run(place.folder, "init", "--domain", "example.i2p").code == 0
    assert place.file.read_text() == before.replace('["example.com"]', '["example.com", "example.i2p"]')
    place.remove_tasks()


def test_without_a_file_it_makes_one_with_its_folder_for_all_to_read(tmp_path: Path) -> None:
    done = run(tmp_path, "init", "--config", "etc/mine.toml", "--data-dir", "data", "--domain", "example.com")
    assert done.code == 0, done.err
    file = tmp_path / "etc" / "mine.toml"
    assert file.read_text() == (
        "# Settings of pfa-flux, written by `pfa-flux init`. If you run it again, it changes only its own keys.\n"
        f'data_dir = "{tmp_path}/data"\n\n[pixel]\ndomains = ["example.com"]\n'
    )
    assert file.stat().st_mode & 0o777 == 0o644
    assert done.out.startswith(f"{file}: written\ndownsample_hitcounter (")
    looked = run(tmp_path, "doctor", "--config", str(file))
    assert (looked.code, "warning" in looked.out) == (0, False)


def test_it_says_what_is_left_and_which_command_prints_each_piece(tmp_path: Path) -> None:
    done = run(tmp_path, "init", "--quiet", "--data-dir", "data", "--domain", "a.example", "--listen", "127.0.0.1:9999")
    assert (done.code, done.err, len(done.out.splitlines())) == (0, "", 13), done.out
    commands = re.findall(r"pfa-flux (?:nginx --part [a-z]+|systemd|tags)", done.out)
    assert commands == [
        *("pfa-flux nginx --part http", "pfa-flux nginx --part server", "pfa-flux systemd", "pfa-flux tags")
    ]
    http, server, unit, tags = (run(tmp_path, *command.split()[1:]).out for command in commands)
    assert "server 127.0.0.1:9999;" in http
    assert "location = /count.gif {" in server
    assert f"ExecStart={COMMAND} serve --config {new_file(tmp_path)}\n" in unit
    assert run(tmp_path, "systemd", "--user").out.endswith("WantedBy=default.target\n")
    assert tags.startswith('<img src="/count.gif" ')
    assert "https://stats.example/count.gif" in run(tmp_path, "tags", "--direct", "stats.example").out
    assert done.out.endswith("5. pfa-flux doctor\n")
    other = run(tmp_path, "init", "--quiet", "--data-dir", "data", "--config", "a b.toml").out
    assert f"pfa-flux systemd --config '{tmp_path}/a b.toml' > /etc" in other


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--url", "http://127.0.0.1:9"), 4, "cannot be reached"),
        (("--url", "localhost:8086"), 2, "url is not an http or https address"),
        (("--token-file", "absent"), 2, "the token file"),
        (("--raw-bucket", "absent/autogen"), 1, "--raw-bucket, or create it with --create-buckets"),
        (("--org", "absent"), 1, "the organisation 'absent' is refused"),
        (("--domain", "two words"), 2, "--domain: 'two words' is not a domain"),
        (("--site", "blog"), 2, "the site 'blog' is not NAME=domain,domain"),
        (("--site", "blog=/x"), 2, "the site blog: '/x' is not a domain"),
        (("--site", "a=example.com", "--site", "b=example.com"), 2, "example.com is in two sites, a and b"),
        (("--rollup-bucket", "a/b", "--raw-bucket", "a/b"), 2, "raw_bucket and rollup_bucket are the same"),
        (("--listen", "nowhere"), 2, "--listen is 'nowhere'"),
        (("--unknown",), 2, "No such option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_nothing_is_written_where_a_check_fails(
    arguments: tuple[str, ...], code: int, words: str, make_place: MakePlace
) -> None:
    place = make_place("influxdb-2.7")
    done = place.init(*arguments)
    assert (done.code, done.out) == (code, ""), done.err
    assert words in re.sub(r"\s+", " ", re.sub(r"[│╭╮╰╯─]", " ", done.err))
    assert place.untouched()
    assert (
        f"'{place.workspace.task_name}' is not installed"
        in plain("task", "remove", "--config", str(place.file), env=place.workspace.env()).err
    )


@pytest.mark.parametrize("engine", ["influxdb-2.7", "influxdb-1.8 auth"])
def test_a_wrong_or_missing_token(engine: str, make_place: MakePlace) -> None:
    place = make_place(engine)
    place.token = "wrong:token"
    wrong = place.init()
    assert (wrong.code, wrong.out, place.untouched()) == (4, "", True)
    assert "PFA_FLUX_TOKEN" in wrong.err
    none = run(place.folder, "init", "--url", place.workspace.server.url)
    assert (none.code, none.out, place.untouched()) == (4, "", True)
    assert "on standard input with --token-file -" in none.err
    empty = run(place.folder, "init", *place.flags)
    assert (empty.code, "standard input has no token" in empty.err, place.untouched()) == (2, True, True)


def test_kapacitor_that_does_not_answer(make_place: MakePlace) -> None:
    place = make_place("influxdb-1.8")
    done = place.init("--kapacitor-url", "http://127.0.0.1:9")
    assert (done.code, done.out, place.untouched()) == (4, "", True)
    assert "Kapacitor: http://127.0.0.1:9/kapacitor/v1 cannot be reached" in done.err


def test_of_several_organisations_the_token_names_all(make_place: MakePlace) -> None:
    place = make_place("influxdb-2.7")
    client = place.workspace.client
    other = client.json("POST", "/api/v2/orgs", {"name": "another"})["id"]
    try:
        done = place.init()
        assert (done.code, done.out, place.untouched()) == (2, "", True)
        assert (
            done.err
            == "pfa-flux: the token sees several organisations: another, pfa-flux\nName the right one with --org.\n"
        )
        assert place.init("--org", "pfa-flux").code == 0
        assert tomllib.loads(place.file.read_text())["org"] == "pfa-flux"
        place.remove_tasks()
    finally:
        client.request("DELETE", f"/api/v2/orgs/{other}")


@pytest.mark.parametrize("engine", ["influxdb-2.7", "influxdb-1.8"])
def test_a_missing_bucket_is_made_only_if_asked_for(engine: str, make_place: MakePlace) -> None:
    place = make_place(engine)
    place.workspace.client.drop_bucket(place.workspace.raw)
    refused = place.init()
    assert (refused.code, place.untouched()) == (1, True)
    done = place.init("--create-buckets")
    assert done.code == 0, done.err
    assert f"created the bucket {place.workspace.raw}, without expiry" in done.err
    assert place.workspace.raw in place.workspace.client.buckets()
    place.remove_tasks()


def test_a_task_of_another_hand_is_adopted_only_if_asked_to(make_place: MakePlace) -> None:
    place = make_place("influxdb-2.7")
    flux = (
        f'option task = {{name: "{place.workspace.task_name}", every: 15m}}\n'
        f'from(bucket: "{place.workspace.raw}") |> range(start: -1h)'
    )
    place.workspace.client.json("POST", "/api/v2/tasks", {"flux": flux, "org": place.workspace.server.org})
    refused = place.init()
    assert (refused.code, refused.out, place.untouched()) == (1, "", True)
    assert "pfa-flux init --adopt" in refused.err
    assert ": adopted\n" in place.init("--adopt").out
    place.remove_tasks()


def test_a_place_that_cannot_be_written_leaves_no_task_behind(make_place: MakePlace) -> None:
    place = make_place("influxdb-2.7")
    done = place.init("--config", str(place.file / "below.toml"))
    assert (done.code, done.out, place.untouched()) == (1, "", True)
    assert "Choose another place with --config." in done.err


def test_the_token_of_the_environment_is_written_and_a_file_that_is_named_is_taken(make_place: MakePlace) -> None:
    place = make_place("influxdb-2.7")
    flags = ["init", "--url", place.workspace.server.url, "--data-dir", "data"]
    done = run(place.folder, *flags, env={"PFA_FLUX_TOKEN": place.token})
    assert done.code == 0, done.err
    assert place.token_file.read_text() == f"{place.token}\n"
    other = place.folder / "token"
    other.write_text(place.token)
    other.chmod(0o600)
    done = run(place.folder, *flags, "--token-file", "token")
    assert done.out.startswith(f"{place.file}: changed\n{place.workspace.task_name} (")
    assert tomllib.loads(place.file.read_text())["token_file"] == str(other)
    # Ours, if others can read it, is ours to close; one that was named gets a warning.
    other.chmod(0o644)
    assert "chmod 600" in run(place.folder, *flags, "--token-file", "token").err
    assert other.stat().st_mode & 0o777 == 0o644
    place.remove_tasks()


def test_a_token_in_the_settings_moves_to_a_file_of_its_own(make_place: MakePlace) -> None:
    place = make_place("influxdb-2.7")
    place.file.write_text(f'token = "{place.token}"\n{place.begun}')
    done = run(place.folder, "init", "--url", place.workspace.server.url, "--data-dir", "data")
    assert done.code == 0, done.err
    assert place.token not in place.file.read_text() + done.out + done.err
    assert place.token_file.read_text() == f"{place.token}\n"
    assert run(place.folder, "doctor").code == 0
    place.remove_tasks()


def test_a_server_is_left_for_the_embedded_store(make_place: MakePlace) -> None:
    place = make_place("kapacitor")
    assert place.init().code == 0
    place.remove_tasks()
    done = run(place.folder, "init", "--url", "", "--site", "blog=example.com")
    assert done.code == 0, done.err
    written = tomllib.loads(place.file.read_text())
    assert {"url", "kapacitor_url"} & set(written) == set()
    assert "embedded" in run(place.folder, "doctor").out


@pytest.mark.parametrize("engine", ["influxdb-2.7", "embedded"])
def test_hits_only_installs_hits_alone_and_is_kept(engine: str, make_place: MakePlace) -> None:
    place = make_place(engine)
    done = place.init("--hits-only", "--domain", "example.com")
    assert done.code == 0, done.err
    assert (f"{place.names[0]} (" in done.out, place.names[1] in done.out) == (True, False)
    assert f"page loads are not downsampled: {place.file} has loads = false under [task]" in done.err
    assert tomllib.loads(place.file.read_text())["task"] == {"loads": False}
    looked = run(place.folder, "doctor")
    assert (looked.code, "warning" in looked.out, "loads task" in looked.out) == (0, False, False)
    # A second run starts from there.
    again = run(place.folder, "init")
    assert (again.code, place.names[1] in again.out, f"{place.file}: unchanged" in again.out) == (0, False, True)
    assert run(place.folder, "task", "plan", "--js").code == 5
    place.remove_tasks()


def test_where_the_task_of_page_loads_cannot_be_made_none_is(make_place: MakePlace) -> None:
    place = make_place("influxdb-2.7")
    flux = (
        f'option task = {{name: "{place.names[1]}", every: 15m}}\n'
        f'from(bucket: "{place.workspace.raw}") |> range(start: -1h)'
    )
    place.workspace.client.json("POST", "/api/v2/tasks", {"flux": flux, "org": place.workspace.server.org})
    refused = place.init()
    assert (refused.code, refused.out, place.untouched()) == (1, "", True)
    assert f"pfa-flux: '{place.names[1]}': a task of this name exists" in refused.err
    assert "pfa-flux init --adopt" in refused.err
    env = place.workspace.env()
    plan = plain("task", "plan", "--format", "json", "--config", str(place.file), env=env).json
    assert (plan["state"], plan["loads"]["state"]) == ("create", "foreign")
    assert place.init("--adopt").code == 0
    place.remove_tasks()


def test_a_missing_bucket_of_page_loads_is_made_only_if_asked_for(make_place: MakePlace) -> None:
    place = make_place("influxdb-2.7")
    client, bucket = place.workspace.client, f"loads_{place.workspace.folder.name[-8:]}/autogen"
    refused = place.init("--loads-bucket", bucket)
    assert (refused.code, refused.out, place.untouched()) == (1, "", True)
    assert "--loads-bucket, or create it with --create-buckets" in refused.err
    try:
        done = place.init("--loads-bucket", bucket, "--create-buckets")
        assert (done.code, f"created the bucket {bucket}, without expiry" in done.err) == (0, True), done.err
        assert bucket in client.buckets()
        # Without page loads it is not asked for.
        client.drop_bucket(bucket)
        assert run(place.folder, "init", "--hits-only").code == 0
        assert bucket not in client.buckets()
        place.remove_tasks()
        run(place.folder, "task", "remove", "--js")
    finally:
        if bucket in client.buckets():
            client.drop_bucket(bucket)


class Terminal:
    """`pfa-flux init` on a terminal, answered line by line."""

    def __init__(self, folder: Path, *arguments: str, program: Path = COMMAND, **environment: str) -> None:
        self._leader, follower = pty.openpty()
        self._process = subprocess.Popen(
            [str(program), "init", *arguments],
            cwd=folder,
            env=clean_environment(**home_of(folder), TERM="dumb", COLUMNS="200", **environment),
            stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
        )  # fmt: skip
        os.close(follower)
        self.shown = ""
        self._seen = 0

    def answer(self, question: str, text: str) -> None:
        """Wait for a question, and answer it."""
        deadline = time.monotonic() + 60
        while question not in self.shown[self._seen :]:
            assert time.monotonic() < deadline, self.shown
            assert self._read(), self.shown
        self._seen = len(self.shown)
        os.write(self._leader, f"{text}\n".encode())

    def _read(self) -> bool:
        if select.select([self._leader], [], [], 1)[0]:
            try:
                chunk = os.read(self._leader, 65536).decode(errors="replace")
            except OSError:  # the other end is closed
                return False
            self.shown += chunk.replace("\r\n", "\n")
            return bool(chunk)
        return True

    def end(self) -> int:
        while self._read():
            pass
        os.close(self._leader)
        return self._process.wait(60)


def test_on_a_terminal_it_asks_and_asks_again_where_an_answer_is_wrong(make_place: MakePlace) -> None:
    place = make_place("influxdb-2.7")
    place.workspace.client.drop_bucket(place.workspace.raw)
    terminal = Terminal(place.folder, "--data-dir", "data")
    terminal.answer("InfluxDB's address (empty for none: all data in one file on this machine): ", "localhost:8086")
    terminal.answer("url is not an http or https address", "http://127.0.0.1:9")
    terminal.answer("cannot be reached", place.workspace.server.url)
    terminal.answer("Token (user:password on 1.x; it is not shown): ", "wrong")
    terminal.answer("it is not shown): ", place.token)
    terminal.answer("Domains to count, separated by commas: ", "example.com, a b")
    terminal.answer("'a b' is not a domain", "example.com, abc.onion")
    terminal.answer("(empty for no more): ", "blog")
    terminal.answer("the site 'blog' is not NAME=domain,domain", "blog=example.com,abc.onion")
    terminal.answer("(empty for no more): ", "")
    terminal.answer("Count www.example.com too? [Y/n]: ", "n")
    terminal.answer("Make ", "y")
    terminal.answer("Page loads [none]: ", "someone")
    terminal.answer("'someone' is not one of own, script, tracker and none", "")
    assert terminal.end() == 0, terminal.shown
    assert place.token not in terminal.shown
    written = tomllib.loads(place.file.read_text())
    assert written["url"] == place.workspace.server.url
    assert written["pixel"]["domains"] == written["sites"]["blog"]["domains"] == ["example.com", "abc.onion"]
    assert place.token_file.read_text() == f"{place.token}\n"
    looked = run(place.folder, "doctor")
    assert (looked.code, "warning" in looked.out) == (0, False), looked.out
    before = place.file.read_text()
    again = Terminal(place.folder)
    again.answer(
        f"InfluxDB's address (- for none: all data in one file on this machine) [{place.workspace.server.url}]: ", ""
    )
    again.answer("Domains to count, separated by commas [example.com, abc.onion]: ", "")
    again.answer("site blog: example.com, abc.onion", "")
    again.answer("Count www.example.com too? [Y/n]: ", "n")
    again.answer("Page loads [none]: ", "")
    assert again.end() == 0, again.shown
    assert f"{place.file}: unchanged" in again.shown
    assert place.file.read_text() == before
    place.remove_tasks()


def test_on_a_terminal_of_a_1_8_it_asks_for_kapacitor_and_no_token(make_place: MakePlace) -> None:
    place = make_place("kapacitor")
    server = place.workspace.server
    terminal = Terminal(place.folder, "--url", server.url, "--data-dir", "data", "--site", "blog=example.com")
    terminal.answer("Kapacitor's address (empty for none: pfa-flux downsamples by itself): ", server.url)
    terminal.answer("is no Kapacitor", server.kapacitor_url)
    terminal.answer("Count www.example.com too? [Y/n]: ", "n")
    terminal.answer("Page loads [none]: ", "none")
    assert terminal.end() == 0, terminal.shown
    assert tomllib.loads(place.file.read_text())["kapacitor_url"] == server.kapacitor_url
    place.remove_tasks()


def test_on_a_terminal_nothing_is_an_answer_too(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    terminal.answer("all data in one file on this machine): ", "")
    terminal.answer(f"Directory of the data [{tmp_path}/.local/share/pfa-flux]: ", str(tmp_path / "data"))
    terminal.answer("Domains to count, separated by commas: ", "")
    terminal.answer("(empty for no more): ", "")
    terminal.answer("Page loads [script]: ", "")
    assert terminal.end() == 0, terminal.shown
    assert "warning: no domain is named" in terminal.shown
    assert tomllib.loads(new_file(tmp_path).read_text()) == {
        "data_dir": str(tmp_path / "data"),
        "pixel": {"load_path": "/load.gif", "loads": "script"},
    }


def test_init_writes_in_the_spelling_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "pfa-flux.toml"
    file.write_bytes(b"pixel.max_pages = 7 # few\r\n")
    done = run(tmp_path, "init", "--domain", "a.example", "--data-dir", "data")
    assert done.code == 0, done.err
    assert file.read_bytes().decode() == (
        f'pixel.max_pages = 7 # few\r\npixel.domains = ["a.example"]\r\ndata_dir = "{tmp_path}/data"\r\n'
    )


def test_init_refuses_a_file_that_it_cannot_edit(tmp_path: Path) -> None:
    file = tmp_path / "pfa-flux.toml"
    text = '[sites.blog]\ndomains = [\n    "b.example", # the old one\n]\n'
    file.write_text(text)
    done = run(tmp_path, "init", "--site", "blog=a.example", "--data-dir", "data")
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith('Write this into it: [sites.blog] domains = ["a.example"]\n')
    assert file.read_text() == text


def test_the_file_to_write_is_the_one_named_else_the_one_found_else_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ, users = home_of(tmp_path), tmp_path / ".config" / "pfa-flux" / "pfa-flux.toml"
    system, here = tmp_path / "etc" / "pfa-flux.toml", tmp_path / "pfa-flux.toml"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert config_path(None, environ, tmp_path) == system
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert config_path(None, environ, tmp_path) == users
    monkeypatch.undo()
    for file in (system, users, here):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
        assert config_path(None, environ, tmp_path) == file
    assert config_path("other.toml", environ, tmp_path) == tmp_path / "other.toml"
    assert config_path(None, {**environ, "PFA_FLUX_CONFIG": "named.toml"}, tmp_path) == tmp_path / "named.toml"


def test_without_a_file_plain_commands_find_what_init_has_written(tmp_path: Path) -> None:
    assert run(tmp_path, "init", "--data-dir", "data", "--domain", "example.com").code == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    found = plain("config", "check", "--format", "json", env=home_of(tmp_path), cwd=elsewhere).json
    assert (found["file"], found["errors"]) == (str(new_file(tmp_path)), [])


def test_settings_in_etc_keep_their_data_where_the_service_does(tmp_path: Path) -> None:
    from pfa_flux.cli.setup.dialogue import Dialogue

    made = Dialogue(Path("/etc/pfa-flux-tests/pfa-flux.toml"), {}, set(), interactive=False, quiet=True)
    assert made.draft.settings().data_dir == STATE
    named = Dialogue(
        Path("/etc/pfa-flux-tests/a.toml"), {"data_dir": str(tmp_path)}, set(), interactive=False, quiet=True
    )
    assert named.draft.settings().data_dir == tmp_path
