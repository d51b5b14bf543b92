"""The tables of the embedded store, and the migrations from older formats."""

from __future__ import annotations

FORMAT = 6
PROVED_SINCE = 5
"""First format in which `proved` and `purged` are reliable."""
PREFETCHES = "prefetch"
TAG_COLUMNS = ("domain", "page", "scheme", "action")
"""Tags with their own column in `series`."""

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
-- time is nanoseconds since the epoch. value is an integer or a float, as it was written.
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
-- Raw points of a bucket before `until` (nanoseconds) were removed, after their windows were verified.
CREATE TABLE purged (bucket TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID, STRICT;
"""
_SUMS = """
-- The instant of each day (UTC) up to which downsampled rows are proved to match raw rows. Writing or removing a raw or
-- downsampled row takes the proof back to the time of the row.
CREATE TABLE proved (
    day INTEGER NOT NULL,         -- its start, nanoseconds
    measurement TEXT NOT NULL,    -- of the downsampled rows
    source TEXT NOT NULL,         -- measurement of the raw rows
    windows TEXT NOT NULL,        -- what windows the proof is of
    width INTEGER NOT NULL,       -- their width, nanoseconds
    upto INTEGER NOT NULL,        -- nanoseconds
    PRIMARY KEY (day, measurement)
) WITHOUT ROWID, STRICT;
-- Sums of downsampled rows by series, for each day that is proved to its end. `hours` and `windows` are JSON: the
-- number of the first hour or window with rows, then the sum of each hour or window from there.
CREATE TABLE day (
    day INTEGER NOT NULL, series INTEGER NOT NULL REFERENCES series,
    n INTEGER NOT NULL, hours TEXT, windows TEXT NOT NULL,
    PRIMARY KEY (day, series)
) WITHOUT ROWID, STRICT;
"""

_PREFETCHES = f"""
-- How many requests of each minute were prefetches. They are not page views, so they are not in `raw`. The key begins
-- with the series, because the sums are by series.
CREATE TABLE {PREFETCHES} (
    time INTEGER NOT NULL, series INTEGER NOT NULL REFERENCES series, value NOT NULL,
    PRIMARY KEY (series, time)
) WITHOUT ROWID;
"""
_DROPPED = """
-- Raw rows that arrived after the raw rows of their window were removed, and then were removed without being counted.
CREATE TABLE dropped (
    bucket TEXT NOT NULL, measurement TEXT NOT NULL,
    n INTEGER NOT NULL,           -- their number, as far as they were page views
    at INTEGER NOT NULL,          -- when the last of them were removed, nanoseconds
    PRIMARY KEY (bucket, measurement)
) WITHOUT ROWID, STRICT;
"""

PURGED_UNTIL = """
SELECT CASE
    WHEN EXISTS (SELECT 1 FROM raw WHERE time >= newest AND time < until)
        OR NOT EXISTS (SELECT 1 FROM raw WHERE time >= until) THEN newest
    ELSE until END
FROM (
    SELECT until, coalesce((SELECT max(time) FROM rollup WHERE time <= until), 0) AS newest
    FROM purged WHERE bucket = 'raw'
)
"""
"""The instant up to which raw rows were really removed, for a store whose `until` may be too late.

In formats up to 4, `until` could be later than the removed rows if the clock was fast. Then rows that were written
since are older than `until`, and no window counts them. But every removed row was downsampled before, and nothing
before `until` is downsampled again. So the removed rows end with the newest window before `until` that has a
downsampled row. After this window all raw rows still exist, and computing their windows cannot lower a downsampled row.
The window itself stays unchanged: some of its raw rows may be gone, and nothing in the store shows that. `until` is
trusted if there are raw rows from `until` on, and none between that window and `until`.
"""

_CORRECT = f"""
UPDATE purged SET until = ({PURGED_UNTIL}) WHERE bucket = 'raw';
"""
_PROVE_ANEW = "DELETE FROM proved; DELETE FROM day;"
"""Proofs of format 4 depend on an `until` that may be wrong."""

MIGRATIONS = {
    0: _POINTS + _PURGED + _SUMS + _DROPPED + _PREFETCHES,
    1: _PURGED + _SUMS + _DROPPED + _PREFETCHES,
    2: _PURGED + _SUMS + _DROPPED + _PREFETCHES,
    3: _SUMS + _DROPPED + _CORRECT + _PREFETCHES,
    4: _DROPPED + _CORRECT + _PROVE_ANEW + _PREFETCHES,
    5: _PREFETCHES,
}
"""The SQL that upgrades a store from each format to this one. Format 0 is an empty file.

Formats 1 to 3 had tables of tasks. They stay, and `pfa_flux.tasks.state` copies them.
"""
