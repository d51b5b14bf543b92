// Hits of each window of 15 minutes, domain, page and scheme, from raw data; _time is the window's end.
// timeRangeStart and timeRangeStop have to be edges of windows, or the first and last are cut.

// Parameters
hits = (r) => r._measurement == "pf_analytics_test_pixel" and r._field == "count"
// End of parameters

from(bucket: v.bucket)
    |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
    |> filter(fn: hits)
    |> group(columns: ["domain", "page", "scheme"])
    |> aggregateWindow(every: 15m, fn: sum, timeSrc: "_start", createEmpty: false)
    |> timeShift(duration: 15m, columns: ["_time"])
    |> drop(columns: ["_start", "_stop"])
    |> group()
