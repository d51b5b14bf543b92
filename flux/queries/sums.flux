// Sums or counts of rows by tags, over the whole range or by window; _time is the start of a window.
// Downsampled rows are labelled with the end of their window. For them, timeRangeStart and timeRangeStop are 1 ns after
// an edge of windows, and `begun` moves the rows back.

// Parameters
bucket = "telegraf/autogen"
rows = (r) => r._measurement == "pf_analytics_test_pixel" and r._field == "count"
// tags to group by, sorted
tags = ["domain", "page", "scheme"]
// sum or count
aggregate = sum
// true: a row for each window of `every`
byTime = true
every = 15m
// for downsampled rows: tables |> timeShift(duration: -1ns)
begun = (tables=<-) => tables
// End of parameters

total = (tables=<-) =>
    if byTime then
        tables |> aggregateWindow(every: every, fn: aggregate, timeSrc: "_start", createEmpty: false)
    else
        tables |> aggregate()

from(bucket: bucket)
    |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
    |> filter(fn: rows)
    |> begun()
    |> group(columns: tags)
    |> total()
    |> drop(columns: ["_start", "_stop"])
    |> group()
