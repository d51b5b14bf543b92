// Domains that have page views in the range, each in a row: what a dashboard's variable offers.
//
// Runs on any Flux since 0.65 (InfluxDB 1.8), where the index alone gives none.

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
