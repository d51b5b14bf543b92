"""Nothing is opened through a link in a directory of another user, and no settings file of another is believed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pfa_flux import PfaFluxError, settings
from pfa_flux.engines import directory
from pfa_flux.engines.base import Point
from pfa_flux.engines.sqlite import Embedded
from pfa_flux.errors import StoreError, UntrustedFileError
from pfa_flux.files import write_whole
from pfa_flux.journal.spool import Spool, SpoolReader, quarantine_of
from pfa_flux.pixel import regulars
from pfa_flux.settings import Settings
from pfa_flux.tasks.state import State
from tests.cli import pfa_flux

SERVICE = 54321
"""A user whom nobody is."""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data directory of the service, as root sees it."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    os.chown(folder, SERVICE, SERVICE)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of root's elsewhere, which is to stay as it is."""
    path = tmp_path / "victim"
    path.write_text("precious")
    path.chmod(0o600)
    return path


def own(folder: Path) -> Settings:
    return settings.load({"data_dir": str(folder)}, environ={})


def write(folder: Path) -> None:
    with closing(Embedded(own(folder))) as store:
        store.write("telegraf/autogen", [POINT])


POINT = Point(
    "pf_analytics_test_pixel",
    {"domain": "example.com", "page": "/", "scheme": "https", "sess": "0"},
    "count",
    1,
    10**18,
)


def note(folder: Path) -> None:
    with closing(State(own(folder))) as state:
        state.note_late("b", "m", [10**18])


def read_state(folder: Path) -> None:
    State(own(folder)).select("SELECT 1 FROM late")


def read_store(folder: Path) -> None:
    with closing(Embedded(own(folder))) as store:
        store.select("SELECT 1 FROM raw")


def serve(folder: Path) -> None:
    Spool(folder, "normal", 1 << 30).close()


def ship(folder: Path) -> None:
    SpoolReader(folder).close()


def look(folder: Path) -> None:
    with quarantine_of(own(folder)) as found:
        found.all()


ACTS = {
    "lock": write, "pfa-flux.sqlite3": write, "pfa-flux.sqlite3-wal": write, "state.sqlite3": note,
    "spool.lock": serve, "spool.sqlite3": serve,
    "spool.sqlite3-shm": serve,
}  # fmt: skip
READS = {"pfa-flux.sqlite3": read_store, "state.sqlite3": read_state, "spool.sqlite3": look}


def untouched(victim: Path) -> bool:
    found = victim.stat()
    return (victim.read_text(), found.st_uid, stat.S_IMODE(found.st_mode)) == ("precious", 0, 0o600)


@as_root
@pytest.mark.parametrize("kind", ["symbolic", "hard"])
@pytest.mark.parametrize("name", ACTS)
def test_root_writes_nothing_through_a_link_that_the_service_has_laid(
    name: str, kind: str, data: Path, victim: Path
) -> None:
    if kind == "symbolic":
        (data / name).symlink_to(victim)
    else:
        os.link(victim, data / name)
    with pytest.raises(StoreError, match=f"{name}: it is a link, or it does not belong to user {SERVICE}"):
        ACTS[name](data)
    assert untouched(victim)


@as_root
@pytest.mark.parametrize("name", READS)
def test_root_reads_nothing_through_a_link_that_the_service_has_laid(name: str, data: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "secret.sqlite3")) as secret:
        secret.executescript("CREATE TABLE raw (a); CREATE TABLE late (a); CREATE TABLE quarantine (a)")
    (data / name).symlink_to(tmp_path / "secret.sqlite3")
    with pytest.raises(StoreError, match=r"pfa-flux does not open .*: it is a link"):
        READS[name](data)


@as_root
@pytest.mark.parametrize("name", ACTS)
def test_a_dangling_link_makes_no_file_elsewhere(name: str, data: Path, tmp_path: Path) -> None:
    (data / name).symlink_to(tmp_path / "made")
    with pytest.raises(StoreError, match="pfa-flux does not open"):
        ACTS[name](data)
    assert not (tmp_path / "made").exists()


@as_root
def test_a_link_that_is_put_there_between_look_and_opening_is_noticed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, path = tmp_path / "other.sqlite3", data / "spool.sqlite3"
    with closing(sqlite3.connect(other)) as made:
        made.execute("CREATE TABLE t (a)")
    serve(data)
    looked = directory._open_files
    swapped: list[bool] = []

    def swap() -> dict[int, os.stat_result]:
        if not swapped:
            path.unlink()
            path.symlink_to(other)
            swapped.append(True)
        return looked()

    monkeypatch.setattr(directory, "_open_files", swap)
    with pytest.raises(StoreError, match="pfa-flux does not open"):
        directory.connect(path)


@as_root
def test_what_root_makes_in_the_data_directory_is_the_services(data: Path) -> None:
    write(data)
    note(data)
    serve(data)
    regulars.save(data, [])
    made = {path.name: path.stat() for path in data.iterdir()}
    assert {"lock", "pfa-flux.sqlite3", "state.sqlite3", "spool.lock", "spool.sqlite3"} <= made.keys()
    assert {(found.st_uid, found.st_gid) for found in made.values()} == {(SERVICE, SERVICE)}
    assert {stat.S_IMODE(found.st_mode) for found in made.values()} == {0o600}
    with closing(Embedded(own(data))) as store:
        store.open_writer().execute("BEGIN IMMEDIATE")
        assert {path.stat().st_uid for path in data.iterdir()} == {SERVICE}


@as_root
def test_what_root_has_made_before_is_given_to_the_service(data: Path) -> None:
    write(data)
    for path in data.iterdir():
        os.chown(path, 0, 0)
    write(data)
    assert {path.name: path.stat().st_uid for path in data.iterdir()} == {
        "lock": SERVICE,
        "pfa-flux.sqlite3": SERVICE,
    }


def test_in_a_directory_of_ones_own_links_are_followed(tmp_path: Path) -> None:
    folder, disk = tmp_path / "data", tmp_path / "disk"
    folder.mkdir(mode=0o700)
    disk.mkdir()
    (folder / "spool.sqlite3").symlink_to(disk / "spool.sqlite3")
    serve(folder)
    assert (disk / "spool.sqlite3").exists()


def test_a_report_is_there_as_a_whole_with_the_rights_that_it_had(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_whole(path, "one")
    usual = path.stat().st_mode
    path.chmod(0o640)
    write_whole(path, "two")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("two", 0o640)
    assert usual & 0o777 == 0o666 & ~_umask()
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
    write_whole(Path("/dev/null"), "three")
    with pytest.raises(OSError, match="No such file"):
        write_whole(tmp_path / "absent" / "report.html", "")


def _umask() -> int:
    now = os.umask(0o022)
    os.umask(now)
    return now


def test_a_report_goes_through_a_link_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "report.html").symlink_to(tmp_path / "web" / "index.html")
    write_whole(tmp_path / "report.html", "one")
    assert (tmp_path / "web" / "index.html").read_text() == "one"
    assert (tmp_path / "report.html").is_symlink()


@as_root
def test_a_report_goes_through_no_link_of_another_user(tmp_path: Path, victim: Path) -> None:
    link = tmp_path / "report.html"
    link.symlink_to(victim)
    os.chown(link, SERVICE, SERVICE, follow_symlinks=False)
    done = pfa_flux("report", "--out", str(link), "--data-dir", str(tmp_path / "data"))
    assert done.code == 1
    assert f"{link} is a link that belongs to another user\nRemove the link, or choose another" in done.err
    assert untouched(victim)
    with pytest.raises(PfaFluxError, match="is a link that belongs to another user"):
        write_whole(link, "x")


def found(folder: Path, text: str, **environ: str) -> Settings:
    (folder / "pfa-flux.toml").write_text(text)
    return settings.load({}, environ={"HOME": str(folder / "home"), **environ}, directory=folder)


@as_root
def test_a_settings_file_of_another_user_is_neither_used_nor_skipped(tmp_path: Path) -> None:
    path = tmp_path / "pfa-flux.toml"
    path.write_text('url = "http://evil.example:8086"')
    os.chown(path, SERVICE, SERVICE)
    done = pfa_flux("blocked-ratio", cwd=tmp_path, env={"PFA_FLUX_TOKEN": "t"})
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        f"pfa-flux: {path} is in the working directory, and belongs to another user (uid {SERVICE})\n"
        f"If you trust it, name it: --config {path}. Otherwise remove it, or work in another directory.\n"
    )
    init = pfa_flux("init", "--yes", "--url", "", cwd=tmp_path)
    assert (init.code, "belongs to another user" in init.err) == (1, True)
    assert settings.load({}, config=path, environ={}).url == "http://evil.example:8086"
    assert settings.load({}, environ={"PFA_FLUX_CONFIG": str(path)}).url == "http://evil.example:8086"


@as_root
def test_a_link_of_another_user_to_a_settings_file_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("")
    link = tmp_path / "pfa-flux.toml"
    link.symlink_to(tmp_path / "mine.toml")
    os.chown(link, SERVICE, SERVICE, follow_symlinks=False)
    with pytest.raises(UntrustedFileError, match="belongs to another user"):
        settings.load({}, environ={}, directory=tmp_path)


def test_a_settings_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    found(tmp_path, "")
    path = tmp_path / "pfa-flux.toml"
    path.chmod(0o664)
    assert settings.load({}, environ={}, directory=tmp_path).file == path
    path.chmod(0o646)
    with pytest.raises(UntrustedFileError, match="others may write to it") as caught:
        settings.load({}, environ={}, directory=tmp_path)
    assert caught.value.hint.startswith(f"Run: chmod go-w {path}.")


@as_root
def test_a_group_that_is_not_ones_own_may_not_write_it_either(tmp_path: Path) -> None:
    found(tmp_path, "")
    path = tmp_path / "pfa-flux.toml"
    os.chown(path, 0, SERVICE)
    path.chmod(0o664)
    with pytest.raises(UntrustedFileError, match="others may write to it"):
        settings.load({}, environ={}, directory=tmp_path)


@pytest.mark.parametrize("key", ["url", "write_url", "kapacitor_url", "proxy"])
def test_a_found_file_does_not_say_where_a_token_of_the_environment_is_sent(key: str, tmp_path: Path) -> None:
    url = {} if key == "url" else {"PFA_FLUX_URL": "http://mine:8086"}
    with pytest.raises(UntrustedFileError) as caught:
        found(tmp_path, f'{key} = "http://elsewhere:1"', PFA_FLUX_TOKEN="t", **url)
    path = tmp_path / "pfa-flux.toml"
    refused = "pfa-flux does not send a token to an address from a file in the working directory"
    assert caught.value.message == f"{path} sets {key}, but the token is from the environment: {refused}"
    assert caught.value.hint == f"Set both in one place, or name the file: --config {path}."
    done = pfa_flux("doctor", cwd=tmp_path, env={"PFA_FLUX_TOKEN": "t", **url})
    assert (done.code, refused in done.err) == (1, True)


def test_a_token_file_of_a_flag_is_not_sent_there_either(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    (tmp_path / "token").chmod(0o600)
    (tmp_path / "pfa-flux.toml").write_text('url = "http://elsewhere:1"')
    with pytest.raises(UntrustedFileError, match="but the token is from the arguments"):
        settings.load({"token_file": str(tmp_path / "token")}, environ={}, directory=tmp_path)


def test_url_and_token_of_one_place_go_together(tmp_path: Path) -> None:
    assert found(tmp_path, 'url = "http://a:1"\ntoken = "t"').token.reveal() == "t"
    both = {"PFA_FLUX_URL": "http://b:1", "PFA_FLUX_TOKEN": "u"}
    assert found(tmp_path, 'url = "http://a:1"', **both).url == "http://b:1"
    assert found(tmp_path, 'org = "o"', **both).org == "o"
    named = settings.load({}, config=tmp_path / "pfa-flux.toml", environ=both | {"PFA_FLUX_URL": ""})
    assert named.token.reveal() == "u"
    users = tmp_path / "pfa-flux"
    users.mkdir()
    (users / "pfa-flux.toml").write_text('url = "http://c:1"')
    token = {"XDG_CONFIG_HOME": str(tmp_path), "PFA_FLUX_TOKEN": "t"}
    # The user's own file, even where the working directory is its directory.
    assert settings.load({}, environ=token, directory=users).url == "http://c:1"
