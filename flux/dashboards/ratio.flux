// Blocked ratio with its 95% interval: a row for each key, or for each key and interval of time.
//
// Runs on any Flux since 0.65 (InfluxDB 1.8). Paste it as it stands into InfluxDB's editor or a Grafana panel, which
// supply the range as `v`, and change the parameters.
// Gives _key, _time (of an interval its start), hits, js, blocked, status, and, where there is a ratio, ratio, ratio_low
// and ratio_high. The interval is computed as pfa-flux does it: from blocks of time, because page views come in visits.

import "csv"
import "date"

// Parameters
bucket = "telegraf/autogen"
// where page loads are, if elsewhere
loadsBucket = "telegraf/autogen"
// which rows are hits, and which are page loads; a row without `action` is a page load
hits = (r) => r._measurement == "pf_analytics_test_pixel" and r._field == "count"
loads = (r) => r._measurement == "pf_analytics_test" and r._field == "response_time" and (not exists r.action or r.action != "\"ready\"")
// page loads are counted; downsampled ones are summed
number = count
// which of both count, for example (r) => r.domain == "example.com"
selected = (r) => true
// tags that the key is made of, in sorted order, and how: for example (domain, page) => page
tags = ["domain"]
key = (domain, page) => domain
// true: a row for each interval: an hour in up to 2 days, a day (UTC) in up to 90, else a week
byTime = false
// of downsampled rows the width of a window, nanoseconds, and how long after its end it is put together
window = 1
offset = 0
// of downsampled rows, whose time is the end of their window: tables |> timeShift(duration: -1ns), and 1
begun = (tables=<-) => tables
shift = 0
// what a panel shows: of the rows that have a ratio, or of all
shown = (known, all) => all
// End of parameters

hour = 3600000000000
day = 24 * hour

// The range, as whole windows that are closed.
from_ = int(v: date.truncate(t: v.timeRangeStart, unit: 1ns))
to = int(v: date.truncate(t: v.timeRangeStop, unit: 1ns))
due = (int(v: now()) - offset) / window * window
start = (from_ + window - 1) / window * window
stop = if window > 1 and to > due then due else to / window * window

// InfluxDB 1.8 takes in the stop of a range, so there it is a nanosecond earlier. Its Flux is known by how it reads this.
cut = if 2.0 * 3.0 ^ 2.0 > 18.5 then 1 else 0

// Blocks: an hour, or longer so that at most 100 cover the range. Days are made of blocks.
span = stop - start
blocksOf = (width) => (stop - 1) / width - start / width + 1
few = (hours) => blocksOf(width: hours * hour) <= 100
days = (span + 100 * day - 1) / (100 * day)
inDays = if few(hours: 24 * days) then days * day else (days + 1) * day
wide = if few(hours: 6) then 6 * hour else if few(hours: 8) then 8 * hour else if few(hours: 12) then 12 * hour else inDays
upTo4 = if few(hours: 3) then 3 * hour else if few(hours: 4) then 4 * hour else wide
inRange = if few(hours: 1) then hour else if few(hours: 2) then 2 * hour else upTo4

// Intervals; weeks begin on Mondays, and the epoch was a Thursday.
every = if span <= 2 * day then hour else if span <= 90 * day then day else 7 * day
monday = if every == 7 * day then 3 * day else 0
inInterval = if every == hour then hour else 2 * hour
block = if byTime then inInterval else inRange
interval = (t) => if byTime then (t + monday) / every * every - monday else 0

// Blocks that the range has of an interval.
blocks = (at) => {
    first = if byTime and at > start then at else start
    last = if byTime and at + every < stop then at + every else stop

    return (last - 1 - at) / block - (first - at) / block + 1
}

// A row of nothing, so that both tags are columns, whichever the tables have.
nothing = csv.from(
    csv: "#datatype,string,long,dateTime:RFC3339,string,string,long
#group,false,false,false,false,false,false
#default,_result,,,,,
,result,table,_time,domain,page,n
,,0,1970-01-01T00:00:00Z,-,-,0
",
)

counted = (tables=<-, fn) => {
    found =
        tables
            |> filter(fn: selected)
            |> begun()
            |> group(columns: tags)
            |> aggregateWindow(every: duration(v: block), fn: fn, timeSrc: "_start", createEmpty: false)
            |> map(fn: (r) => ({r with n: int(v: r._value)}))
            |> drop(columns: ["_start", "_stop", "_value"])

    return
        union(tables: [nothing, found])
            |> group()
            |> filter(fn: (r) => r.n != 0)
            |> map(
                fn: (r) => ({
                    // Not "": Flux loses an empty text among others, and moves those up by a row.
                    domain: if exists r.domain and r.domain != "" then r.domain else "(none)",
                    page: if exists r.page and r.page != "" then r.page else "(none)",
                    block: int(v: r._time) / block * block,
                    n: r.n,
                }),
            )
}

hitSide =
    from(bucket: bucket)
        |> range(start: time(v: start + shift), stop: time(v: stop + shift - cut))
        |> filter(fn: hits)
        |> counted(fn: sum)
        |> map(fn: (r) => ({key: key(domain: r.domain, page: r.page), at: interval(t: r.block), block: r.block, hits: r.n, js: 0}))

jsSide =
    from(bucket: loadsBucket)
        |> range(start: time(v: start + shift), stop: time(v: stop + shift - cut))
        |> filter(fn: loads)
        |> counted(fn: number)
        |> map(fn: (r) => ({key: key(domain: r.domain, page: r.page), at: interval(t: r.block), block: r.block, hits: 0, js: r.n}))

inBlocks =
    union(tables: [hitSide, jsSide])
        |> group(columns: ["key", "at", "block"])
        |> reduce(
            fn: (r, accumulator) => ({hits: accumulator.hits + r.hits, js: accumulator.js + r.js}),
            identity: {hits: 0, js: 0},
        )

// How far the blocks deviate from the ratio of all: the sums of d^2 and d^4, where d = h * J / H - j with the hits and
// loads of a block and of all. Multiplied out, one pass over the blocks gives them.
inAll =
    inBlocks
        |> map(
            fn: (r) => ({
                key: r.key,
                at: r.at,
                hits: r.hits,
                js: r.js,
                hh: float(v: r.hits * r.hits),
                hj: float(v: r.hits * r.js),
                jj: float(v: r.js * r.js),
            }),
        )
        |> group(columns: ["key", "at"])
        |> reduce(
            fn: (r, accumulator) => ({
                hits: accumulator.hits + r.hits,
                js: accumulator.js + r.js,
                filled: accumulator.filled + (if r.hits > 0 then 1.0 else 0.0),
                h2: accumulator.h2 + r.hh,
                hj: accumulator.hj + r.hj,
                j2: accumulator.j2 + r.jj,
                h4: accumulator.h4 + r.hh * r.hh,
                h3j: accumulator.h3j + r.hh * r.hj,
                h2j2: accumulator.h2j2 + r.hj * r.hj,
                hj3: accumulator.hj3 + r.hj * r.jj,
                j4: accumulator.j4 + r.jj * r.jj,
            }),
            identity: {
                hits: 0,
                js: 0,
                filled: 0.0,
                h2: 0.0,
                hj: 0.0,
                j2: 0.0,
                h4: 0.0,
                h3j: 0.0,
                h2j2: 0.0,
                hj3: 0.0,
                j4: 0.0,
            },
        )
        |> group()

// Normal and Student's t quantile of 0.975 (Abramowitz and Stegun, 26.7.5).
z = 1.959963984540054
student = (df) => z + (2.372271230298562 + (2.8224986157396112 + (2.555849679507722 + 1.5895340533938225 / df) / df) / df) / df

moment = (at) => if byTime then time(v: at) else time(v: start)
known =
    inAll
        |> filter(fn: (r) => r.hits > 0 and r.js <= r.hits)
        |> map(
            fn: (r) => ({r with
                h: float(v: r.hits),
                p: float(v: r.hits - r.js) / float(v: r.hits),
                l: float(v: r.js) / float(v: r.hits),
                k: float(v: blocks(at: r.at)),
            }),
        )
        |> map(
            fn: (r) => ({
                key: r.key,
                at: r.at,
                hits: r.hits,
                js: r.js,
                h: r.h,
                p: r.p,
                k: r.k,
                filled: r.filled,
                all: r.l * r.l * r.h2 + r.j2,
                d2: (r.l * r.h2 - 2.0 * r.hj) * r.l + r.j2,
                d4: (((r.l * r.h4 - 4.0 * r.h3j) * r.l + 6.0 * r.h2j2) * r.l - 4.0 * r.hj3) * r.l + r.j4,
            }),
        )
        // How many independent page views say as much as all, and its degrees of freedom. Under ten blocks page views
        // are taken as independent; blocks that agree leave what was rounded away.
        |> map(
            fn: (r) => ({
                key: r.key,
                at: r.at,
                hits: r.hits,
                js: r.js,
                h: r.h,
                p: r.p,
                agree: r.k >= 10.0 and r.d2 <= r.all * 0.00000000000001,
                worth: if r.k < 10.0 then
                    r.h
                else if r.d2 <= r.all * 0.00000000000001 then
                    r.filled
                else
                    r.p * (1.0 - r.p) * (r.k - 1.0) / r.k * r.h * r.h / r.d2,
                df: if r.d4 > 0.0 and 4.0 * r.d2 * r.d2 < (r.filled - 1.0) * r.d4 then
                    4.0 * r.d2 * r.d2 / r.d4
                else
                    r.filled - 1.0,
            }),
        )
        |> map(
            fn: (r) => ({
                key: r.key,
                at: r.at,
                hits: r.hits,
                js: r.js,
                p: r.p,
                n: if r.worth >= r.h then r.h else if r.worth > 1.0 then r.worth else 1.0,
                q: if r.worth >= r.h and not r.agree then z else student(df: if r.df > 2.0 then r.df else 2.0),
            }),
        )
        // Wilson's interval.
        |> map(
            fn: (r) => ({
                key: r.key,
                at: r.at,
                hits: r.hits,
                js: r.js,
                p: r.p,
                centre: (r.p + r.q * r.q / 2.0 / r.n) / (1.0 + r.q * r.q / r.n),
                half: r.q / (1.0 + r.q * r.q / r.n) * ((r.p * (1.0 - r.p) / r.n + r.q * r.q / 4.0 / r.n / r.n) ^ 0.5),
            }),
        )
        |> map(
            fn: (r) => ({
                _time: moment(at: r.at),
                _key: r.key,
                hits: r.hits,
                js: r.js,
                blocked: r.hits - r.js,
                ratio: r.p,
                ratio_low: if r.js == r.hits or r.centre < r.half then 0.0 else r.centre - r.half,
                ratio_high: if r.js == 0 or r.centre + r.half > 1.0 then 1.0 else r.centre + r.half,
                status: if r.js == 0 then "no_js" else "ok",
            }),
        )

// No ratio is null, which Flux has no literal for: a column that only others have.
unknown =
    inAll
        |> filter(fn: (r) => r.hits == 0 or r.js > r.hits)
        |> map(
            fn: (r) => ({
                _time: moment(at: r.at),
                _key: r.key,
                hits: r.hits,
                js: r.js,
                blocked: r.hits - r.js,
                status: if r.hits == 0 then "no_hits" else "js_exceeds_hits",
            }),
        )
        |> drop(columns: ["ratio"])

shown(known: known, all: union(tables: [known, unknown]) |> group())
