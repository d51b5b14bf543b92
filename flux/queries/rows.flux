// Stored rows with all their tags. For downsampled rows, _time is the end of the window.

// Parameters
bucket = "websites/analytics"
rows = (r) => r._measurement == "pf_analytics_pixel" and r._field == "hitcount"
// End of parameters

from(bucket: bucket)
    |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
    |> filter(fn: rows)
    |> drop(columns: ["_start", "_stop"])
    // As an integer, because clients read times only to the microsecond.
    |> map(fn: (r) => ({r with _ns: int(v: r._time)}))
