// The newest or oldest row of the range, as one row or none.

// Parameters
bucket = "telegraf/autogen"
rows = (r) => r._measurement == "pf_analytics_test_pixel" and r._field == "count"
// last and newest, or first and not
pick = last
newest = true
// End of parameters

from(bucket: bucket)
    |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
    |> filter(fn: rows)
    |> pick()
    |> keep(columns: ["_time"])
    |> group()
    |> sort(columns: ["_time"], desc: newest)
    |> limit(n: 1)
    // As an integer, because clients read times only to the microsecond.
    |> map(fn: (r) => ({r with _ns: int(v: r._time)}))
