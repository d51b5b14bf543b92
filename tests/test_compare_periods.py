"""`--compare`: which period is the one before, and its columns beside those of the range."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pytest

from pfa_flux import Analytics, BlockedRatio, Settings
from pfa_flux.ratio.compare_periods import question_before
from pfa_flux.ratio.phrasing import percent
from pfa_flux.ratio.question import Question
from pfa_flux.schema import Key
from tests.data import DAY, HOUR, MINUTE, T0, hit, load

ONION = f"{'b' * 55}d.onion"


@pytest.mark.parametrize(
    ("by", "every", "start", "stop", "before"),
    [
        ((), "1h", T0 + 17 * MINUTE, T0 + 77 * MINUTE + 1, (T0 - 43 * MINUTE - 1, T0 + 17 * MINUTE)),
        (("time",), "1h", T0, T0 + 90 * MINUTE, (T0 - 2 * HOUR, T0 - 30 * MINUTE)),
        (("time",), "1h", T0, T0 + 2 * HOUR, (T0 - 2 * HOUR, T0)),
        (("time",), "15m", T0 + 1, T0 + 15 * MINUTE + 2, (T0 - 30 * MINUTE + 1, T0 - 15 * MINUTE + 2)),
        (("time",), "1d", T0 + HOUR, T0 + 37 * HOUR, (T0 - 47 * HOUR, T0 - 11 * HOUR)),
        (("time",), "1d", T0, T0 + 2 * DAY, (T0 - 2 * DAY, T0)),
        (("time",), "1w", T0, T0 + 8 * DAY, (T0 - 14 * DAY, T0 - 6 * DAY)),
    ],
)
def test_the_period_before_is_as_long_or_as_many_whole_intervals_as_the_range_needs(
    by: tuple[Key, ...], every: str, start: int, stop: int, before: tuple[int, int]
) -> None:
    found = question_before(Question(start, stop, by, every=every, zone=ZoneInfo("Europe/Berlin")))
    assert (found.start, found.stop) == before


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlockedRatio]:
    """By domain: 25 % and then 50 % of sixty views an hour; one of the first day alone, and one of the second."""
    made = []
    for day, blocked in enumerate((15, 30)):
        for number in range(60 * 24):
            at = T0 + day * DAY + number * MINUTE
            made += [hit(at), *([load(at)] if number % 60 >= blocked else [])]
    made += [hit(T0 + n, domain="gone.example") for n in range(5)]
    made += [hit(T0 + DAY + n, ONION) for n in range(4)]
    with Analytics(Settings(data_dir=tmp_path_factory.mktemp("compared")), clock=lambda: T0 + 2 * DAY) as opened:
        opened.write(made)
        yield opened.blocked_ratio(start="24h", compare=True)


FIGURES = ("hits", "js", "blocked", "ratio", "status")
CHANGE = ("change", "change_low", "change_high")


def test_each_row_has_the_figures_of_before_and_the_change_with_its_interval(compared: BlockedRatio) -> None:
    rows = {row["domain"]: row for row in compared.as_dict()["rows"]}
    assert {name: tuple(row[f"before_{each}"] for each in FIGURES) for name, row in rows.items()} == {
        ONION: (0, 0, 0, None, "no_data"),
        "example.com": (1440, 1080, 360, 0.25, "ok"),
        "gone.example": (5, 0, 5, 1.0, "no_js"),
    }
    assert {name: tuple(row[each] for each in FIGURES) for name, row in rows.items()} == {
        ONION: (4, 0, 4, 1.0, "no_js"),
        "example.com": (1440, 720, 720, 0.5, "ok"),
        "gone.example": (0, 0, 0, None, "no_data"),
    }
    row = rows["example.com"]
    assert row["before_ratio_low"] < 0.25 < row["before_ratio_high"]
    assert row["ratio_low"] < 0.5 < row["ratio_high"]
    # Newcombe's interval of a difference.
    low = 0.25 - math.hypot(0.5 - row["ratio_low"], row["before_ratio_high"] - 0.25)
    high = 0.25 + math.hypot(row["ratio_high"] - 0.5, 0.25 - row["before_ratio_low"])
    assert [row[name] for name in CHANGE] == pytest.approx([0.25, low, high])
    for name in (ONION, "gone.example"):
        assert [rows[name][each] for each in CHANGE] == [None] * 3


def test_csv_and_a_dataframe_have_the_same_columns(compared: BlockedRatio) -> None:
    records = compared.records()
    assert tuple(records[0]) == compared.columns
    read = list(csv.DictReader(io.StringIO(compared.to_csv())))
    assert read == [{name: "" if v is None else str(v) for name, v in record.items()} for record in records]
    frame = compared.to_pandas()
    for name in (*CHANGE, "before_ratio", "before_ratio_low", "before_ratio_high"):
        wanted = [float("nan") if record[name] is None else record[name] for record in records]
        assert frame[name].tolist() == pytest.approx(wanted, nan_ok=True)
    assert frame["before_hits"].tolist() == [0, 1440, 5]


def test_a_table_has_the_share_of_before_and_the_change_in_points(compared: BlockedRatio) -> None:
    sheet = compared.sheet()
    place = [column.name for column in sheet.columns].index("previous")
    assert [column.name for column in sheet.columns[place : place + 2]] == ["previous", "change"]
    shown = {row[0]: row[place : place + 3] for row in sheet.rows}
    assert shown["gone.example"] == [percent(1.0), "–", ""]
    assert shown["example.com"][:2] == [percent(0.25), "+25.0"]
    low, high = (100 * compared.rows[1].as_dict()[name] for name in CHANGE[1:])
    assert shown["example.com"][2] == f"{low:+.1f} to {high:+.1f}".replace("-", "−")
