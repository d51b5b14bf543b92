// Values of a tag, one per row, from the index. InfluxDB 1.8 returns none; its InfluxQL has SHOW TAG VALUES.

// Parameters
bucket = "telegraf/autogen"
rows = (r) => r._measurement == "pf_analytics_test_pixel" and r._field == "count"
tag = "page"
// End of parameters

from(bucket: bucket)
    |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
    |> filter(fn: rows)
    |> keep(columns: [tag])
    |> group()
    |> distinct(column: tag)
