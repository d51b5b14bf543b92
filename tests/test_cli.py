"""The command line: output, exit codes, messages."""

from __future__ import annotations

import csv
import io
import os
import pty
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pfa_flux.times import NS, format_instant
from tests.cli import clean_environment, pfa_flux
from tests.contract import LASTING, Target, fill, ordinarily, workspace_of
from tests.data import DAY, HOUR, T0, hit, load
from tests.engines.plugin import MakeWorkspace

SPAN = ("--start", format_instant(T0), "--stop", format_instant(T0 + DAY))
POINTS = [
    *(hit(T0 + i * HOUR) for i in range(20)),
    *(load(T0 + i * HOUR) for i in range(15)),
    *(hit(T0 + i * HOUR, domain="abc.onion") for i in range(10)),
    *(load(T0 + i * HOUR, domain="abc.onion") for i in range(4)),
    *(hit(T0 + i * HOUR, domain="abc.i2p") for i in range(5)),
]
engines = pytest.mark.parametrize("target", ordinarily(LASTING), ids=str)


@pytest.fixture
def store(make_workspace: MakeWorkspace) -> dict[str, str]:
    """Environment of an embedded store with the points in it."""
    workspace = make_workspace("embedded")
    fill(workspace, T0, POINTS)
    return workspace.env()


@engines
def test_blocked_ratio_of_a_domain_as_json(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    fill(workspace, T0, POINTS)
    done = pfa_flux("blocked-ratio", "--domain", "example.com", "--format", "json", *SPAN, env=workspace.env())
    assert done.code == 0
    # 5 of 20 is not much to say anything from.
    assert [warning["code"] for warning in done.json["warnings"]] == ["interval_wide"]
    assert done.err == f"warning: {done.json['warnings'][0]['message']}\n"
    engine = "embedded" if target.engine == "embedded" else "influxdb2" if "-2" in target.engine else "influxdb1"
    (row,) = done.json["rows"]
    low, high = row.pop("ratio_low"), row.pop("ratio_high")
    assert row.pop("domain_display") == "example.com"
    assert row == {"domain": "example.com", "hits": 20, "js": 15, "blocked": 5, "ratio": 0.25, "status": "ok"}
    assert 0 < low < 0.25 < high < 1
    total = done.json["total"]
    assert (total.pop("ratio_low"), total.pop("ratio_high")) == (low, high)
    assert total == {"hits": 20, "js": 15, "blocked": 5, "ratio": 0.25, "status": "ok"}
    version = {"embedded": f"SQLite {sqlite3.sqlite_version}", "kapacitor": "1.8.10"}.get(target.engine)
    address = str(workspace.folder / "data/pfa-flux.sqlite3") if target.engine == "embedded" else workspace.server.url
    assert done.json["store"]["version"].startswith(version or target.engine.removeprefix("influxdb-"))
    assert (done.json["store"]["engine"], done.json["store"]["address"]) == (engine, address)
    assert {key: value for key, value in done.json.items() if key not in {"rows", "warnings", "total", "store"}} == {
        "start": "2026-01-12T00:00:00Z",
        "stop": "2026-01-13T00:00:00Z",
        "engine": engine,
        "dialect": "sqlite" if target.engine == "embedded" else "influxql",
        "source": "raw",
        "config": None,
    }


def test_json_has_the_keys_asked_for_in_their_order_and_null_where_there_is_no_ratio(store: dict[str, str]) -> None:
    done = pfa_flux(
        "blocked-ratio", "--by", "network", "--by", "time", "--every", "1d", "--format", "json", *SPAN,
        "--network", "tor", "--network", "clearnet", env=store,
    )  # fmt: skip
    rows = done.json["rows"]
    assert [list(row)[:2] for row in rows] == [["network", "time"]] * 2
    assert [(row["network"], row["time"], row["hits"], row["js"]) for row in rows] == [
        ("clearnet", "2026-01-12T00:00:00Z", 20, 15),
        ("tor", "2026-01-12T00:00:00Z", 10, 4),
    ]
    empty = pfa_flux("blocked-ratio", "--domain", "absent.example", "--format", "json", *SPAN, env=store)
    assert empty.code == 3
    assert empty.json["rows"] == [
        {
            "domain": "absent.example", "hits": 0, "js": 0, "blocked": 0,
            "ratio": None, "ratio_low": None, "ratio_high": None, "status": "no_data",
            "domain_display": "absent.example",
        }
    ]  # fmt: skip


def test_csv_has_a_header_and_the_same_figures(store: dict[str, str]) -> None:
    done = pfa_flux("blocked-ratio", "--format", "csv", *SPAN, env=store)
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [(r["domain"], r["hits"], r["js"], r["blocked"], r["ratio"], r["status"]) for r in rows] == [
        ("abc.i2p", "5", "0", "5", "1.0", "no_js"),
        ("abc.onion", "10", "4", "6", "0.6", "ok"),
        ("example.com", "20", "15", "5", "0.25", "ok"),
    ]


def test_a_table_in_a_pipe_is_plain(store: dict[str, str]) -> None:
    done = pfa_flux("blocked-ratio", "--by", "network", *SPAN, env=store)
    sentence, empty, _, *rows = done.out.splitlines()
    assert (sentence[:20], empty) == ("Of 35 page views of ", "")
    assert rows[0].split()[:5] == ["clearnet", "20", "15", "5", "25.0%"]
    assert rows[3].split()[:5] == ["total", "35", "19", "16", "45.7%"]
    assert "\x1b" not in done.out
    assert all(ord(c) < 0x2500 for c in done.out)


def on_a_terminal(*arguments: str, env: dict[str, str], columns: int = 100, code: int = 0) -> str:
    """Output of a command on a terminal."""
    leader, follower = pty.openpty()
    command = [str(Path(sys.executable).with_name("pfa-flux")), *arguments]
    environment = clean_environment(**env, COLUMNS=str(columns), TERM="xterm-256color")
    with subprocess.Popen(command, stdout=follower, stderr=follower, stdin=follower, env=environment) as process:
        os.close(follower)
        output = b""
        while True:
            try:
                chunk = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            if not chunk:
                break
            output += chunk
        assert process.wait(60) == code
    os.close(leader)
    return output.decode()


def test_a_table_on_a_terminal_has_colours_and_bars_unless_no_color(store: dict[str, str]) -> None:
    shown = on_a_terminal("blocked-ratio", *SPAN, env=store)
    assert "\x1b[1m" in shown
    assert "██████████" in shown
    plain = on_a_terminal("blocked-ratio", *SPAN, env={**store, "NO_COLOR": "1"})
    assert not re.search(r"\x1b\[[0-9;]*3\d", plain)


def test_what_doctor_tells_to_copy_stays_on_one_line(store: dict[str, str]) -> None:
    url = "http://127.0.0.1:9/a-front/whose-address/is-longer/than-the-column/that-it-would-have"
    for columns in (60, 80):
        told = on_a_terminal("doctor", "--front", url, env={**store, "NO_COLOR": "1"}, columns=columns, code=1)
        lines = re.sub(r"\x1b\[[0-9;]*m", "", told).replace("\r\n", "\n").splitlines()
        assert any(url in line for line in lines), told
        assert any("pfa-flux serve, or" in line or line.endswith("pfa-flux serve") for line in lines), told
        assert any("systemctl start pfa-flux.service" in line for line in lines), told
        assert any(re.search(r"curl -so /dev/null -D - -e \S+ \S+/count\.gif$", line) for line in lines), told
        # A path is one word, which is not broken either.
        assert all(len(line) <= columns or url in line or "curl" in line or len(line.split()) == 1 for line in lines)


def test_a_site_stands_for_its_domains(store: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "pfa-flux.toml").write_text('[sites.blog]\ndomains = ["example.com", "abc.onion"]')
    done = pfa_flux(
        "blocked-ratio", "--site", "blog", "--by", "network", "--format", "csv", *SPAN, env=store, cwd=tmp_path
    )
    assert [line.split(",")[0] for line in done.out.splitlines()] == ["network", "clearnet", "tor"]


def test_code_0_where_there_is_data(store: dict[str, str]) -> None:
    assert pfa_flux("blocked-ratio", *SPAN, env=store).code == 0


@engines
def test_code_1_for_a_missing_bucket(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    if workspace.serverless:
        return
    done = pfa_flux("blocked-ratio", *SPAN, "--raw-bucket", "absent/autogen", env=workspace.env())
    assert (done.code, done.out) == (1, "")
    assert "absent" in done.err or "no database" in done.err
    assert "PFA_FLUX_RAW_BUCKET" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--start", "3x"), "--start 3x is not a time"),
        (("--start", "24"), "--start 24 is not a time"),
        (("--stop", "2026-02-30"), "--stop 2026-02-30 is not a time: day is out of range for month"),
        (("--start", "1h", "--stop", "2h"), "the range is empty"),
        (("--start", "1h", "--stop", "1h"), "the range is empty"),
        (("--by", "country"), "--by country is unknown Use one of domain, network, page, time."),
        (("--by", "networc,time"), "--by networc is unknown Did you mean --by network?"),
        (("--by", "domain", "--by", "domain"), "--by has a key twice"),
        (("--by", "none,page"), "--by none is given with --by page Use --by none alone."),
        (("--network", "freenet"), "'freenet' is not one of"),
        (("--every", "1h"), "--every is given without --by time Add --by time, or leave --every out."),
        (("--by", "time", "--every", "2h"), "'2h' is not one of"),
        (("--tz", "Mars/Olympus"), "--tz Mars/Olympus is not a time zone"),
        (("--tz", "../../etc/passwd"), "is not a time zone"),
        (("--tz", "berlin"), "Write --tz Europe/Berlin."),
        (("--domain", "https://example.com/a b"), "Write --domain example.com --page '/a b'."),
        (("--domain", "https://[example.com"), "is not a URL"),
        (("--site", "absent"), "no site 'absent'"),
        (("--format", "xml"), "'xml' is not one of"),
        (("--dialect", "cobol"), "'cobol' is not one of"),
        (("--config", "absent.toml"), "does not exist"),
        (("--url", "localhost"), "not an http or https address"),
        (("--unknown",), "No such option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_code_2_for_bad_input_each_with_its_own_words(
    arguments: tuple[str, ...], words: str, store: dict[str, str]
) -> None:
    done = pfa_flux("blocked-ratio", *arguments, env=store)
    assert (done.code, done.out) == (2, "")
    assert words in re.sub(r"\s+", " ", re.sub(r"[│╭╮╰╯─]", " ", done.err))


def test_code_1_for_a_dialect_that_the_engine_has_not(store: dict[str, str]) -> None:
    done = pfa_flux("blocked-ratio", "--dialect", "join", env=store)
    assert done.code == 1
    assert "the embedded engine has no dialect 'join'" in done.err


@engines
def test_code_3_for_an_unknown_domain(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    fill(workspace, T0, POINTS)
    done = pfa_flux("blocked-ratio", "--domain", "absent.example", "--format", "json", *SPAN, env=workspace.env())
    assert done.code == 3
    assert [row["status"] for row in done.json["rows"]] == ["no_data"]
    assert "no data" in done.err


def test_code_4_for_a_server_out_of_reach() -> None:
    done = pfa_flux("blocked-ratio", "--url", "http://127.0.0.1:9")
    assert (done.code, done.out) == (4, "")
    # What was tried comes first, and then the reason without a library's words.
    assert done.err.startswith(
        "pfa-flux: http://127.0.0.1:9 cannot be reached: Connection refused\nCheck PFA_FLUX_URL "
    )


@pytest.mark.parametrize("engine", ["influxdb-2.7", "influxdb-2.9"])
def test_code_4_for_a_token_without_rights(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(engine)
    done = pfa_flux("blocked-ratio", env={**workspace.env(), "PFA_FLUX_TOKEN": "no-such-token"})
    assert (done.code, done.out) == (4, "")
    assert "no-such-token" not in done.err
    assert "Check the token" in done.err
    for rights in ({"read": (workspace.rollup,)}, {"write": (workspace.raw,)}):
        blind = workspace.server.limited_token(**rights)
        for dialect in ("union", "influxql"):
            done = pfa_flux("blocked-ratio", "--dialect", dialect, env={**workspace.env(), "PFA_FLUX_TOKEN": blind})
            assert done.code == 4, done.err
            assert f"may not read the bucket '{workspace.raw}'" in done.err


def test_code_4_for_a_wrong_password_on_1_8(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-1.8", auth=True)
    done = pfa_flux("blocked-ratio", env={**workspace.env(), "PFA_FLUX_TOKEN": "pfa-flux:not-the-one"})
    assert done.code == 4
    assert "not-the-one" not in done.err


def test_quiet_leaves_nothing_but_data_and_errors(store: dict[str, str]) -> None:
    done = pfa_flux("blocked-ratio", "--domain", "absent.example", "-q", *SPAN, env=store)
    assert (done.code, done.err) == (3, "")


def test_a_token_file_that_others_can_read_is_warned_about(store: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hush")
    file.chmod(0o644)
    done = pfa_flux("blocked-ratio", *SPAN, "--token-file", str(file), env=store)
    assert done.code == 0
    assert "chmod 600" in done.err
    assert "hush" not in done.err


def test_a_reader_that_stops_early_is_borne_in_silence(store: dict[str, str]) -> None:
    command = [str(Path(sys.executable).with_name("pfa-flux")), "blocked-ratio", "--format", "json", *SPAN]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment(**store), text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


def test_version_and_help() -> None:
    assert re.fullmatch(r"pfa-flux \d+\.\d+\.\d+\n", pfa_flux("--version").out)
    assert "blocked-ratio" in pfa_flux("--help").out
    assert pfa_flux().code == 2


@pytest.mark.parametrize("engine", ["influxdb-2.7", pytest.param("kapacitor", marks=pytest.mark.slow)])
def test_install_task_says_what_it_did_and_a_dry_run_changes_nothing(
    engine: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = make_workspace(engine)
    now = time.time_ns() // NS * NS
    fill(workspace, now, [hit(now - HOUR)])
    names = workspace.task_name, f"{workspace.task_name}_loads"
    (tmp_path / "pfa-flux.toml").write_text(f'[schema]\ntask_name = "{names[0]}"\nloads_task_name = "{names[1]}"\n')
    dry = pfa_flux("install-task", "--dry-run", env=workspace.env(), cwd=tmp_path)
    assert dry.code == 0
    for name in names:
        assert f'option task = {{name: "{name}", every: 15m, offset: 1m, concurrency: 1}}' in dry.out
    assert workspace.raw in dry.out
    first = pfa_flux("install-task", env=workspace.env(), cwd=tmp_path)
    assert (first.code, first.out.count(": created\n")) == (0, 2), first.err
    assert re.search(r"proved: 1 hits? from \S+ to \S+ made 1 rows", first.err)
    assert re.search(rf"proved: a run of {names[1]} for \S+ to \S+ succeeded. That time has no rows", first.err)
    second = pfa_flux("install-task", env=workspace.env(), cwd=tmp_path)
    assert (second.code, second.out.count(": up to date\n"), second.err) == (0, 2, "")
    ran = pfa_flux("task", "run", env=workspace.env(), cwd=tmp_path)
    assert (ran.code, ran.err.count("downsampled")) == (0, 2)
    assert pfa_flux("task", "remove", env=workspace.env(), cwd=tmp_path).code == 0


def test_install_task_on_a_bare_1_8_says_once_what_has_to_run_it(make_workspace: MakeWorkspace) -> None:
    done = pfa_flux("install-task", env=make_workspace("influxdb-1.8").env())
    assert (done.code, done.out.count(": created\n")) == (0, 2)
    assert done.err.count("pfa-flux task run --due` every 15m") == 1


def test_install_task_embedded_and_its_run(store: dict[str, str]) -> None:
    assert pfa_flux("task", "run", env=store).code == 1
    assert re.fullmatch(
        r"downsample_hitcounter \([0-9a-f]{16}\): created\ndownsample_loadcounter \([0-9a-f]{16}\): created\n",
        pfa_flux("install-task", env=store).out,
    )
    done = pfa_flux("task", "run", env=store)
    assert (done.code, "hits: downsampled 2026-01-12T00:00:00Z to " in done.err) == (0, True)
    assert "loads: downsampled 2026-01-12T00:00:00Z to " in done.err


def test_control_characters_and_markup_of_a_page_do_nothing_to_the_terminal(make_workspace: MakeWorkspace) -> None:
    workspace, now = make_workspace("embedded"), time.time_ns()
    fill(workspace, now, [hit(now - HOUR, page="\x1b[2J[red]a\u202e"), hit(now - HOUR, page="/\x1b[2J[red]a\u202e")])
    done = pfa_flux("blocked-ratio", "--by", "page", env=workspace.env())
    # What is no path is as it was stored.
    assert "\n\\x1b[2J[red]a\\x202e " in done.out
    assert "\n/%1B[2J[red]a%E2%80%AE " in done.out
