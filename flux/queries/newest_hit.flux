// The newest hit of the range, one row or none.

// Parameters
hits = (r) => r._measurement == "pf_analytics_test_pixel" and r._field == "count"
// End of parameters

from(bucket: v.bucket)
    |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
    |> filter(fn: hits)
    |> last()
    |> keep(columns: ["_time"])
    |> group()
    |> sort(columns: ["_time"], desc: true)
    |> limit(n: 1)
