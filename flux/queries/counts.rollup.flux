// Sums of downsampled rows by key and window of time; _time is the start of a window.
// A row's time is the end of its window, so that timeRangeStart and timeRangeStop are both 1 ns after an edge.

// Parameters
rows = (r) => r._measurement == "pf_analytics_pixel" and r._field == "hitcount"
// tags to keep apart, in sorted order
keys = ["domain"]
every = 1h
// End of parameters

from(bucket: v.bucket)
    |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
    |> filter(fn: rows)
    |> timeShift(duration: -1ns)
    |> group(columns: keys)
    |> aggregateWindow(every: every, fn: sum, timeSrc: "_start", createEmpty: false)
    |> drop(columns: ["_start", "_stop"])
    |> group()
