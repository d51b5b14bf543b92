"""The tables of the embedded store, and what brings a store of an older format up to date."""

from __future__ import annotations

FORMAT = 6
PROVED_SINCE = 5
"""Format from which on all that is proved is right, and so is `purged`."""
PREFETCHES = "prefetch"
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

_PREFETCHES = f"""
-- How many requests of a minute were prefetches. They are no page views, and so they are not among the raw rows. By
-- series first: that is how they are summed.
CREATE TABLE {PREFETCHES} (
    time INTEGER NOT NULL, series INTEGER NOT NULL REFERENCES series, value NOT NULL,
    PRIMARY KEY (series, time)
) WITHOUT ROWID;
"""
_DROPPED = """
-- Raw rows that arrived when those of their window had been removed, and were removed in turn without being counted.
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
"""The instant up to which raw rows really were removed, of a store that may say more.

Up to format 4 `until` could lie beyond what was removed, as far as the clock was ahead. Rows that were written since
are older than it, and in no window. Every row that was removed, though, had been downsampled before, and nothing before
`until` ever is again: so what was removed ends with the newest window before `until` that has a downsampled row. Of
what follows all rows are still there, and there is no downsampled row that computing it could lower. That window itself
stays as it is: it may have been removed in part, and nothing in the store could tell. `until` is believed where nothing
speaks against it: there are rows from it on, and none between that window and it.
"""

_CORRECT = f"""
UPDATE purged SET until = ({PURGED_UNTIL}) WHERE bucket = 'raw';
"""
_PROVE_ANEW = "DELETE FROM proved; DELETE FROM day;"
"""What format 4 proved rests on an `until` that may be wrong."""

MIGRATIONS = {
    0: _POINTS + _PURGED + _SUMS + _DROPPED + _PREFETCHES,
    1: _PURGED + _SUMS + _DROPPED + _PREFETCHES,
    2: _PURGED + _SUMS + _DROPPED + _PREFETCHES,
    3: _SUMS + _DROPPED + _CORRECT + _PREFETCHES,
    4: _DROPPED + _CORRECT + _PROVE_ANEW + _PREFETCHES,
    5: _PREFETCHES,
}
"""What brings a store of a format, 0 for an empty file, to this one.

Formats 1 to 3 had tables of tasks, which `pfa_flux.tasks.state` takes over; they stay where they are.
"""
