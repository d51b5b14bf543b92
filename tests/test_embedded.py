"""The embedded store: one private file, one writer, readers beside it."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pfa_flux import Analytics, Point, StoreError, connect, settings
from tests.data import DAY, T0, hit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def open_store(folder: Path) -> Analytics:
    return Analytics(settings.load({"data_dir": str(folder)}, environ={}), clock=lambda: T0 + DAY)


def hits(made: Analytics) -> int:
    return sum(row.hits for row in made.blocked_ratio(start="24h"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_directory_and_files_are_their_owners_alone_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0)
    try:
        with open_store(folder) as made:
            made.write([hit(T0)])
            assert mode(folder) == 0o700
            assert {p.name: oct(mode(p)) for p in folder.iterdir() if mode(p) != 0o600} == {}
            assert {p.name for p in folder.iterdir()} >= {"pfa-flux.sqlite3", "pfa-flux.sqlite3-wal", "lock"}
    finally:
        os.umask(before)


def test_a_store_of_ours_that_was_opened_to_others_is_closed_again(folder: Path) -> None:
    with open_store(folder) as made:
        made.write([hit(T0)])
    folder.chmod(0o755)
    with open_store(folder) as made:
        made.write([hit(T0 + 1)])
    assert mode(folder) == 0o700


def test_a_directory_that_holds_other_things_is_left_alone(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    (folder / "letters.txt").write_text("x")
    with open_store(folder) as made, pytest.raises(StoreError, match=r"has other files \(letters\.txt\)"):
        made.write([hit(T0)])
    assert mode(folder) == 0o755


def test_reading_makes_nothing(folder: Path) -> None:
    with open_store(folder) as made:
        assert not made.blocked_ratio(start="24h").has_data
    assert not folder.exists()


def test_a_second_writer_is_told_who_writes_and_readers_go_on(folder: Path) -> None:
    with open_store(folder) as writer, open_store(folder) as other:
        writer.write([hit(T0)])
        assert hits(other) == 1
        with pytest.raises(StoreError, match=f"process {os.getpid()} is writing to "):
            other.write([hit(T0 + 1)])
        writer.write([hit(T0 + 2)])
        assert hits(other) == 2
    with open_store(folder) as after:
        after.write([hit(T0 + 3)])
        assert hits(after) == 3


def test_the_lock_goes_with_its_process(folder: Path) -> None:
    code = (
        "import sys, time; from tests.test_embedded import *; made = open_store(Path(sys.argv[1])); "
        "made.write([hit(T0)]); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with open_store(folder) as made:
            with pytest.raises(StoreError, match=f"process {process.pid}"):
                made.write([hit(T0 + 1)])
            process.kill()
            process.wait()
            made.write([hit(T0 + 1)])
            assert hits(made) == 2


def test_points_of_a_call_are_written_together_or_not_at_all(folder: Path) -> None:
    def broken() -> object:
        yield hit(T0, domain="new.example")
        raise RuntimeError

    with open_store(folder) as made:
        made.write([hit(T0)])
        with pytest.raises(RuntimeError):
            made.write(broken())  # type: ignore[arg-type]
        assert hits(made) == 1
        # The series that went with it is made anew.
        made.write([hit(T0, domain="new.example")])
        assert hits(made) == 2


def test_a_point_of_the_same_series_and_time_replaces_the_earlier_one(folder: Path) -> None:
    with open_store(folder) as made:
        made.write([hit(T0), hit(T0), hit(T0, sess="b"), hit(T0, host=""), hit(T0 + 1)])
        assert hits(made) == 3


def test_it_may_be_used_from_several_threads(folder: Path) -> None:
    with open_store(folder) as made:
        threads = [
            threading.Thread(target=made.write, args=([hit(T0 + i, sess=f"{n}") for i in range(200)],))
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        seen = [hits(made) for _ in range(20)]
        for thread in threads:
            thread.join()
        assert all(count % 200 == 0 for count in seen)
        assert hits(made) == 1600


def test_a_bucket_that_it_has_not_is_refused(folder: Path) -> None:
    with open_store(folder) as made, pytest.raises(StoreError, match="has no bucket 'absent'"):
        made.engine.write("absent", [hit(T0)])


@pytest.mark.parametrize(
    "content", [b"this is no database, it only has its name" * 100, b"SQLite format 3\x00" + b"x" * 4096]
)
def test_a_file_that_is_no_store_is_an_error_in_words(folder: Path, content: bytes) -> None:
    folder.mkdir(mode=0o700)
    (folder / "pfa-flux.sqlite3").write_bytes(content)
    with open_store(folder) as made:
        with pytest.raises(StoreError, match="cannot be used"):
            made.blocked_ratio(start="24h")
        with pytest.raises(StoreError, match="cannot be used"):
            made.write([hit(T0)])
    assert (folder / "pfa-flux.sqlite3").read_bytes() == content


def test_a_store_of_another_format_is_left_alone(folder: Path) -> None:
    with open_store(folder) as made:
        made.write([hit(T0)])
    with sqlite3.connect(folder / "pfa-flux.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with open_store(folder) as made, pytest.raises(StoreError, match="has format 99"):
        made.blocked_ratio(start="24h")
    with open_store(folder) as made, pytest.raises(StoreError, match="has format 99"):
        made.write([hit(T0)])


def test_connect_takes_settings_by_name_and_warns_of_an_exposed_token(tmp_path: Path, folder: Path) -> None:
    token = tmp_path / "token"
    token.write_text("x")
    token.chmod(0o644)
    with pytest.warns(UserWarning, match="chmod 600"), connect(data_dir=str(folder), token_file=str(token)) as made:
        made.write([Point("m", {}, "f", 1.5, T0)])
    assert folder.exists()
