// Blocked ratio, by union: hits of the pixel minus page loads of the JavaScript analytics.
//
// Runs on any Flux since 0.65 (InfluxDB 1.8), with either or both sides empty. Paste it unchanged into
// InfluxDB's editor or a Grafana panel, which supply the range as `v`, and change the parameters.
// InfluxDB 1.8 includes a point exactly at the stop of the range; other versions exclude it.
// Returns a row for each key: hits, js, blocked = hits - js, and ratio = blocked / hits, null if there are no hits or more
// page loads than hits.

// Parameters
bucket = "telegraf/autogen"
// bucket of page loads, if different
loadsBucket = "telegraf/autogen"
// filters for hits and for page loads; a row without `action` is a page load
hits = (r) => r._measurement == "pf_analytics_test_pixel" and r._field == "count"
loads = (r) => r._measurement == "pf_analytics_test" and r._field == "response_time" and (not exists r.action or r.action != "\"ready\"")
// filter, for example (r) => r.domain == "example.com"; an or-chain is fast, contains() is not
selected = (r) => true
// tags to group by, sorted
keys = ["domain"]
// true: a row for each window of `every`, with its start as _time
byTime = false
every = 1h
// End of parameters

total = (tables=<-) =>
    if byTime then
        tables |> aggregateWindow(every: every, fn: sum, timeSrc: "_start", createEmpty: false)
    else
        tables |> sum()

number = (tables=<-) =>
    if byTime then
        tables |> aggregateWindow(every: every, fn: count, timeSrc: "_start", createEmpty: false)
    else
        tables |> count()

hitSide =
    from(bucket: bucket)
        |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
        |> filter(fn: hits)
        |> filter(fn: selected)
        |> group(columns: keys)
        |> total()
        |> map(fn: (r) => ({r with hits: int(v: r._value), js: 0}))
        |> drop(columns: ["_value", "_start", "_stop"])

jsSide =
    from(bucket: loadsBucket)
        |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
        |> filter(fn: loads)
        |> filter(fn: selected)
        |> group(columns: keys)
        |> number()
        |> map(fn: (r) => ({r with hits: 0, js: int(v: r._value)}))
        |> drop(columns: ["_value", "_start", "_stop"])

rows =
    union(tables: [hitSide, jsSide])
        |> group(columns: ["hits", "js"], mode: "except")
        |> reduce(
            fn: (r, accumulator) => ({hits: accumulator.hits + r.hits, js: accumulator.js + r.js}),
            identity: {hits: 0, js: 0},
        )
        |> map(fn: (r) => ({r with blocked: r.hits - r.js}))
        |> group()

// Flux has no literal for null: it is a column that only others have.
known =
    rows
        |> filter(fn: (r) => r.hits > 0 and r.js <= r.hits)
        |> map(fn: (r) => ({r with ratio: float(v: r.blocked) / float(v: r.hits)}))
unknown =
    rows
        |> filter(fn: (r) => r.hits == 0 or r.js > r.hits)
        |> drop(columns: ["ratio"])

union(tables: [known, unknown]) |> group()
