"""`pfa-flux init`: from nothing to an installation that doctor finds nothing wrong with, and again without harm."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.cli import pfa_flux as plain
from tests.engines.plugin import MakeWorkspace
from tests.initial import COMMAND, MakePlace, every_engine, new_file, places, run


@pytest.fixture
def make_place(make_workspace: MakeWorkspace, tmp_path: Path) -> MakePlace:
    return places(make_workspace, tmp_path)


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
        "# Settings of pfa-flux. `pfa-flux init` writes them, and changes its own keys alone when it is run again.\n"
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
        (("--raw-bucket", "absent/autogen"), 1, "--raw-bucket, or have it made with --create-buckets"),
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
    assert "--token-file - on standard input" in none.err
    empty = run(place.folder, "init", *place.flags)
    assert (empty.code, "no token on standard input" in empty.err, place.untouched()) == (2, True, True)


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
    assert f"made the bucket {place.workspace.raw}, kept for ever" in done.err
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
    assert "--loads-bucket, or have it made with --create-buckets" in refused.err
    try:
        done = place.init("--loads-bucket", bucket, "--create-buckets")
        assert (done.code, f"made the bucket {bucket}, kept for ever" in done.err) == (0, True), done.err
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
