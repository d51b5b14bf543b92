"""The tables of the embedded store, and what brings a store of an older format up to date."""

from __future__ import annotations

FORMAT = 4
TAG_COLUMNS = ("domain", "page", "scheme", "action")
"""Tags that are columns of `series`."""

_POINTS = """
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    measurement TEXT NOT NULL,
    field TEXT NOT NULL,
    tags TEXT NOT NULL,       -- all tags as JSON, sorted: what makes a series itself
    domain TEXT NOT NULL,     -- the tags that queries ask for; '' where a series has not the tag
    page TEXT NOT NULL,
    scheme TEXT NOT NULL,
    action TEXT NOT NULL,
    UNIQUE (measurement, field, tags)
) STRICT;
-- time is nanoseconds since the epoch; value is an integer or a float, as it came.
CREATE TABLE raw (
    time INTEGER NOT NULL, series INTEGER NOT NULL REFERENCES series, value NOT NULL,
    PRIMARY KEY (time, series)
) WITHOUT ROWID;
CREATE TABLE rollup (
    time INTEGER NOT NULL, series INTEGER NOT NULL REFERENCES series, value NOT NULL,
    PRIMARY KEY (time, series)
) WITHOUT ROWID;
"""
_PURGED = """
-- Raw points before `until`, nanoseconds, were removed from a bucket after their windows had been verified.
CREATE TABLE purged (bucket TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID, STRICT;
"""
_SUMS = """
-- How far into each day (UTC) downsampled rows are proved to be what raw rows say. A raw or downsampled row that is
-- written or removed later takes the proof back to its time.
CREATE TABLE proved (
    day INTEGER NOT NULL,         -- its start, nanoseconds
    measurement TEXT NOT NULL,    -- of the downsampled rows
    source TEXT NOT NULL,         -- measurement of the raw rows
    windows TEXT NOT NULL,        -- what windows the proof is of
    width INTEGER NOT NULL,       -- their width, nanoseconds
    upto INTEGER NOT NULL,        -- nanoseconds
    PRIMARY KEY (day, measurement)
) WITHOUT ROWID, STRICT;
-- The downsampled rows of each day that is proved to its end, summed by series. `hours` and `windows` are JSON: the
-- number of the first hour or window of the day that has any, then the sum of each from there on.
CREATE TABLE day (
    day INTEGER NOT NULL, series INTEGER NOT NULL REFERENCES series,
    n INTEGER NOT NULL, hours TEXT, windows TEXT NOT NULL,
    PRIMARY KEY (day, series)
) WITHOUT ROWID, STRICT;
"""

MIGRATIONS = {0: _POINTS + _PURGED + _SUMS, 1: _PURGED + _SUMS, 2: _PURGED + _SUMS, 3: _SUMS}
"""What brings a store of a format, 0 for an empty file, to this one.

Formats 1 to 3 had tables of tasks, which `pfa_flux.tasks.state` takes over; they stay where they are.
"""
