// Health of the downsampling task: its windows compared with raw data, as one row.
//
// Runs on any Flux since 0.65 (InfluxDB 1.8). Paste it unchanged into InfluxDB's editor or a Grafana panel, which
// supply the range as `v`, and change the parameters.
// Compares the last day of the range, without the newest window: its run may not have finished.
// Returns side, windows (number of windows with rows), wrong (number of these that differ), raw and downsampled (their
// sums) and newest (the end of the newest downsampled window). No row means neither raw nor downsampled data.

import "date"

// Parameters
side = "hits"
bucket = "telegraf/autogen"
rollupBucket = "websites/analytics"
// filter for raw rows, and whether to sum or to count them
rows = (r) => r._measurement == "pf_analytics_test_pixel" and r._field == "count"
number = sum
// filter for downsampled rows
downsampled = (r) => r._measurement == "pf_analytics_pixel" and r._field == "hitcount"
// width of a window, and time from its end until the task computes it, nanoseconds
window = 900000000000
offset = 60000000000
// End of parameters

day = 86400000000000
from_ = int(v: date.truncate(t: v.timeRangeStart, unit: 1ns))
to = int(v: date.truncate(t: v.timeRangeStop, unit: 1ns))
due = (int(v: now()) - offset) / window * window - window
stop = if to > due then due else to / window * window
start = if from_ > stop - day then (from_ + window - 1) / window * window else stop - day

// InfluxDB 1.8 includes the stop of a range, so the stop is a nanosecond earlier there. This expression detects 1.8.
cut = if 2.0 * 3.0 ^ 2.0 > 18.5 then 1 else 0

inWindows = (tables=<-, fn) =>
    tables
        |> group()
        |> aggregateWindow(every: duration(v: window), fn: fn, timeSrc: "_start", createEmpty: false)

raw =
    from(bucket: bucket)
        |> range(start: time(v: start), stop: time(v: stop - cut))
        |> filter(fn: rows)
        |> inWindows(fn: number)
        |> map(fn: (r) => ({at: int(v: r._time), raw: int(v: r._value), made: 0}))

// Windows are labelled with their end.
made =
    from(bucket: rollupBucket)
        |> range(start: time(v: start + 1), stop: time(v: stop + 1 - cut))
        |> filter(fn: downsampled)
        |> timeShift(duration: -1ns)
        |> inWindows(fn: sum)
        |> map(fn: (r) => ({at: int(v: r._time) / window * window, raw: 0, made: int(v: r._value)}))

union(tables: [raw, made])
    |> group(columns: ["at"])
    |> reduce(
        fn: (r, accumulator) => ({raw: accumulator.raw + r.raw, made: accumulator.made + r.made}),
        identity: {raw: 0, made: 0},
    )
    |> group()
    |> reduce(
        fn: (r, accumulator) => ({
            windows: accumulator.windows + 1,
            wrong: accumulator.wrong + (if r.raw == r.made then 0 else 1),
            raw: accumulator.raw + r.raw,
            downsampled: accumulator.downsampled + r.made,
            newest: if r.made > 0 and r.at + window > accumulator.newest then r.at + window else accumulator.newest,
        }),
        identity: {windows: 0, wrong: 0, raw: 0, downsampled: 0, newest: 0},
    )
    |> filter(fn: (r) => r.windows > 0)
    |> map(
        fn: (r) => ({
            _side: side,
            windows: r.windows,
            wrong: r.wrong,
            raw: r.raw,
            downsampled: r.downsampled,
            newest: if r.newest > 0 then string(v: time(v: r.newest)) else "none",
        }),
    )
