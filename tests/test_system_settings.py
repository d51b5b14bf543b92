"""/etc/pfa-flux/pfa-flux.toml: read where no other is found, believed if it is root's, never silently left."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pfa_flux import Settings, SettingsError, UntrustedFileError, settings
from pfa_flux.settings import file as settings_file
from tests.cli import pfa_flux

SERVICE = 54321
"""A user whom nobody is."""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that every user can look into, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        (path / "home").mkdir()
        (path / "etc").mkdir(mode=0o755)
        yield path


@pytest.fixture
def file(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's settings, for the time of a test."""
    file = root / "etc" / "pfa-flux.toml"
    file.write_text('org = "machine"\n')
    file.chmod(0o644)
    monkeypatch.setattr(settings_file, "SYSTEM_FILE", file)
    return file


def read(root: Path, **environ: str) -> Settings:
    return settings.load({}, environ={"HOME": str(root / "home"), **environ}, directory=root)


@contextmanager
def somebody() -> Iterator[None]:
    """Be a user without rights, if this one is root."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(SERVICE)
    try:
        yield
    finally:
        os.seteuid(before)


def test_it_is_read_after_the_working_directory_and_the_users_and_alone(root: Path, file: Path) -> None:
    assert (read(root).org, read(root).file) == ("machine", file)
    users = root / "home" / ".config" / "pfa-flux" / "pfa-flux.toml"
    users.parent.mkdir(parents=True)
    users.write_text("timeout = 5\n")
    assert (read(root).org, read(root).timeout, read(root).file) == ("", 5, users)
    here = root / "pfa-flux.toml"
    here.write_text("timeout = 6\n")
    assert (read(root).org, read(root).timeout, read(root).file) == ("", 6, here)


def test_another_place_of_it_can_be_named(root: Path, file: Path) -> None:
    other = root / "etc" / "other.toml"
    other.write_text('org = "other"\n')
    assert read(root, PFA_FLUX_SYSTEM_CONFIG=str(other)).org == "other"
    assert read(root, PFA_FLUX_SYSTEM_CONFIG=str(root / "absent.toml")).file is None
    assert read(root, PFA_FLUX_SYSTEM_CONFIG="").file == file


def test_it_may_say_where_a_token_of_the_environment_is_sent(root: Path, file: Path) -> None:
    file.write_text('url = "http://h:1"\n')
    assert read(root, PFA_FLUX_TOKEN="t").url == "http://h:1"


def test_in_its_own_directory_it_is_the_machines_and_not_one_that_happens_to_be_here(root: Path, file: Path) -> None:
    file.write_text('url = "http://h:1"\n')
    environ = {"HOME": str(root / "home"), "PFA_FLUX_TOKEN": "t"}
    assert settings.load({}, environ=environ, directory=file.parent).url == "http://h:1"


@as_root
@pytest.mark.parametrize("name", ["pfa-flux.toml", "."])
def test_neither_it_nor_its_directory_may_be_another_users(name: str, root: Path, file: Path) -> None:
    path = file.parent / name
    os.chown(path, SERVICE, SERVICE)
    with pytest.raises(UntrustedFileError) as caught:
        read(root)
    assert caught.value.message == f"{path} has the machine's settings, and belongs to another user (uid {SERVICE})"
    assert caught.value.hint == (f"If you trust it, run: chown root {file.parent} {file}. Or name it: --config {file}.")
    assert read(root, PFA_FLUX_CONFIG=str(file)).org == "machine"


@pytest.mark.parametrize(("name", "mode"), [("pfa-flux.toml", 0o646), (".", 0o757)])
def test_neither_it_nor_its_directory_may_be_written_by_others(name: str, mode: int, root: Path, file: Path) -> None:
    path = file.parent / name
    path.chmod(mode)
    with pytest.raises(UntrustedFileError, match="others may write to it") as caught:
        read(root)
    assert caught.value.hint.startswith(f"Run: chmod go-w {path}. ")


@as_root
def test_no_group_but_roots_may_write_it(root: Path, file: Path) -> None:
    file.chmod(0o664)
    assert read(root).org == "machine"
    os.chown(file, 0, SERVICE)
    with pytest.raises(UntrustedFileError, match="others may write to it"):
        read(root)


@as_root
def test_a_link_of_another_user_to_it_is_not_believed(root: Path, file: Path) -> None:
    file.rename(root / "etc" / "real.toml")
    file.symlink_to(root / "etc" / "real.toml")
    assert read(root).org == "machine"
    os.chown(file, SERVICE, SERVICE, follow_symlinks=False)
    with pytest.raises(UntrustedFileError, match="belongs to another user"):
        read(root)


def test_one_that_may_not_be_read_is_an_error(root: Path, file: Path) -> None:
    file.chmod(0o600 if os.geteuid() == 0 else 0)
    with somebody(), pytest.raises(SettingsError) as caught:
        read(root, PFA_FLUX_URL="http://h:1")
    assert caught.value.message == f"{file} cannot be read: Permission denied"
    assert caught.value.hint == (
        "This file has the machine's settings. Use sudo, ask for read access, or name your own file with --config."
    )


def test_a_token_file_that_it_names_and_that_may_not_be_read_is_an_error(root: Path, file: Path) -> None:
    token = root / "etc" / "token"
    token.write_text("t")
    token.chmod(0o600 if os.geteuid() == 0 else 0)
    file.write_text(f'token_file = "{token}"\n')
    with somebody(), pytest.raises(SettingsError) as caught:
        read(root)
    assert caught.value.message == f"the token file {token} cannot be read: Permission denied"
    assert caught.value.hint == ("Use sudo, ask for read access, or name your own token file with --token-file.")
    with somebody():
        assert read(root, PFA_FLUX_TOKEN="mine").token.reveal() == "mine"


def test_a_closed_directory_is_an_error_unless_others_say_where_the_data_is(root: Path, file: Path) -> None:
    file.parent.chmod(0o700 if os.geteuid() == 0 else 0)
    try:
        with somebody(), pytest.raises(SettingsError, match="cannot be read: Permission denied"):
            read(root, PFA_FLUX_TIMEOUT="5")
        with somebody():
            made = read(root, PFA_FLUX_DATA_DIR="/d")
            flag = settings.load({"url": "http://h:1"}, environ={"HOME": str(root / "home")}, directory=root)
    finally:
        file.parent.chmod(0o755)
    assert (made.file, made.warnings) == (
        None,
        (f"{file} cannot be read: Permission denied; pfa-flux skips it",),
    )
    assert (flag.url, len(flag.warnings)) == ("http://h:1", 1)


def test_a_data_directory_that_it_names_has_to_exist(root: Path, file: Path) -> None:
    file.write_text(f'data_dir = "{root}/data"\n')
    with pytest.raises(SettingsError) as caught:
        read(root)
    assert caught.value.message == f"{file} names the data directory {root}/data, which does not exist"
    assert caught.value.hint == (
        f"Create it with sudo pfa-flux init --config {file}, or name another directory with --data-dir."
    )
    # One that is named by others is theirs to make.
    assert read(root, PFA_FLUX_DATA_DIR=str(root / "other")).data_dir == root / "other"
    assert read(root, PFA_FLUX_CONFIG=str(file)).data_dir == root / "data"
    (root / "data").mkdir()
    assert read(root).data_dir == root / "data"


@pytest.mark.parametrize("deep", ["data", "closed/data"])
def test_a_store_that_it_names_has_to_be_readable(deep: str, root: Path, file: Path) -> None:
    data = root / deep
    data.mkdir(parents=True)
    file.write_text(f'data_dir = "{data}"\n')
    closed = root / deep.partition("/")[0]
    closed.chmod(0o700 if os.geteuid() == 0 else 0)
    try:
        with somebody(), pytest.raises(SettingsError) as caught:
            read(root)
        with somebody():
            of_a_server = read(root, PFA_FLUX_URL="http://h:1")
    finally:
        closed.chmod(0o755)
    assert caught.value.message == f"{file} names the data directory {data}, which this user may not read"
    assert caught.value.hint == "Use sudo, or name a directory of your own with --data-dir."
    assert of_a_server.data_dir == data


def test_commands_read_it(root: Path, file: Path) -> None:
    file.write_text(f'data_dir = "{root}/absent"\n')
    env = {"HOME": str(root / "home"), "PFA_FLUX_SYSTEM_CONFIG": str(file)}
    done = pfa_flux("blocked-ratio", env=env, cwd=root)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"pfa-flux: {file} names the data directory {root}/absent, which does not exist\n")
