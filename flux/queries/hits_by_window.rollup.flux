// Downsampled hits of each window of 15 minutes, domain, page and scheme; _time is the window's end.

// Parameters
hits = (r) => r._measurement == "pf_analytics_pixel" and r._field == "hitcount"
// End of parameters

from(bucket: v.bucket)
    |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
    |> filter(fn: hits)
    |> keep(columns: ["_time", "_value", "domain", "page", "scheme"])
    |> group()
