// Domains with page views in the range, one in each row, for the variable of a dashboard.
//
// Runs on any Flux since 0.65 (InfluxDB 1.8). It reads rows, because the index of InfluxDB 1.8 returns no values.

// Parameters
bucket = "telegraf/autogen"
rows = (r) => r._measurement == "pf_analytics_test_pixel" and r._field == "count"
tag = "domain"
// End of parameters

from(bucket: bucket)
    |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
    |> filter(fn: rows)
    |> group(columns: [tag])
    |> first()
    |> keep(columns: [tag])
    |> group()
    |> sort(columns: [tag])
