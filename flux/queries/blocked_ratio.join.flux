// Blocked ratio, by join: hits of the pixel minus page loads of the JavaScript analytics.
//
// Needs Flux 0.172 or newer (InfluxDB 2.4, 1.11). Paste it unchanged into InfluxDB's editor or a Grafana panel,
// which supply the range as `v`, and change the parameters.
// Returns a row for each key: hits, js, blocked = hits - js, and ratio = blocked / hits, null if there are no hits or more
// page loads than hits; `page` and `_time` are fillers if they are not keys.

import "array"
import "join"

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

// One table with the same columns for all keys, because null never equals null in a join.
keyed = (tables=<-) =>
    tables
        |> map(
            fn: (r) => ({
                _time: if exists r._time then r._time else time(v: 0),
                domain: if exists r.domain then r.domain else "",
                page: if exists r.page then r.page else "",
                n: int(v: r._value),
            }),
        )
        |> group()

// join.full() fails on an empty side, so both sides start with a zero row, at a time that no real row has.
nothing = array.from(rows: [{_time: time(v: -1), domain: "", page: "", n: 0}])

hitSide =
    from(bucket: bucket)
        |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
        |> filter(fn: hits)
        |> filter(fn: selected)
        |> group(columns: keys)
        |> total()
        |> keyed()

jsSide =
    from(bucket: loadsBucket)
        |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
        |> filter(fn: loads)
        |> filter(fn: selected)
        |> group(columns: keys)
        |> number()
        |> keyed()

rows =
    join.full(
        left: union(tables: [nothing, hitSide]),
        right: union(tables: [nothing, jsSide]),
        on: (l, r) => l._time == r._time and l.domain == r.domain and l.page == r.page,
        as: (l, r) => ({
            _time: if exists l._time then l._time else r._time,
            domain: if exists l.domain then l.domain else r.domain,
            page: if exists l.page then l.page else r.page,
            hits: if exists l.n then l.n else 0,
            js: if exists r.n then r.n else 0,
        }),
    )
        |> filter(fn: (r) => r.hits != 0 or r.js != 0)
        |> map(fn: (r) => ({r with blocked: r.hits - r.js}))

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
