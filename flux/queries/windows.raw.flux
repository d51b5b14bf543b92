// Rows of each window, summed or counted by tags, from raw data; _time is the window's end.
// timeRangeStart and timeRangeStop have to be edges of windows, or the first and last are cut.

// Parameters
rows = (r) => r._measurement == "pf_analytics_test_pixel" and r._field == "count"
tags = ["domain", "page", "scheme"]
aggregate = sum
every = 15m
// End of parameters

from(bucket: v.bucket)
    |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
    |> filter(fn: rows)
    |> group(columns: tags)
    |> aggregateWindow(every: every, fn: aggregate, timeSrc: "_start", createEmpty: false)
    |> timeShift(duration: every, columns: ["_time"])
    |> drop(columns: ["_start", "_stop"])
    |> group()
