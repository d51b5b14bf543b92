// Blocked ratio with its 95% interval: one row for each key, or for each key and interval of time.
//
// Runs on any Flux since 0.65 (InfluxDB 1.8). Paste it unchanged into InfluxDB's editor or a Grafana panel, which
// supply the range as `v`, and change the parameters.
// Returns _key, _time (the start of an interval), hits, js, blocked, status and, if there is a ratio, ratio, ratio_low
// and ratio_high. It computes the interval as pfa-flux does: from blocks of time, because page views come in visits.

import "csv"
import "date"

// Parameters
bucket = "telegraf/autogen"
// bucket of page loads, if different
loadsBucket = "telegraf/autogen"
// filters for hits and for page loads; a row without `action` is a page load
hits = (r) => r._measurement == "pf_analytics_test_pixel" and r._field == "count"
loads = (r) => r._measurement == "pf_analytics_test" and r._field == "response_time" and (not exists r.action or r.action != "\"ready\"")
// count raw page loads, but sum downsampled ones
number = count
// filter for both, for example (r) => r.domain == "example.com"
selected = (r) => true
// tags of the key, sorted, and how to make the key from them, for example (domain, page) => page
tags = ["domain"]
key = (domain, page) => domain
// true: a row for each interval: an hour for up to 2 days, a day (UTC) for up to 90 days, a week for more
byTime = false
// for downsampled rows: width of a window, and time from its end until the task computes it, nanoseconds
window = 1
offset = 0
// for downsampled rows, whose time is the end of their window: tables |> timeShift(duration: -1ns), and 1
begun = (tables=<-) => tables
shift = 0
// what a panel shows: only rows with a ratio, or all rows
shown = (known, all) => all
// End of parameters

hour = 3600000000000
day = 24 * hour

// The range, limited to whole closed windows.
from_ = int(v: date.truncate(t: v.timeRangeStart, unit: 1ns))
to = int(v: date.truncate(t: v.timeRangeStop, unit: 1ns))
due = (int(v: now()) - offset) / window * window
start = (from_ + window - 1) / window * window
stop = if window > 1 and to > due then due else to / window * window

// InfluxDB 1.8 includes the stop of a range, so the stop is a nanosecond earlier there. This expression detects 1.8.
cut = if 2.0 * 3.0 ^ 2.0 > 18.5 then 1 else 0

// Blocks of an hour, or longer, so that at most 100 blocks cover the range. A day consists of whole blocks.
span = stop - start
blocksOf = (width) => (stop - 1) / width - start / width + 1
few = (hours) => blocksOf(width: hours * hour) <= 100
days = (span + 100 * day - 1) / (100 * day)
inDays = if few(hours: 24 * days) then days * day else (days + 1) * day
wide = if few(hours: 6) then 6 * hour else if few(hours: 8) then 8 * hour else if few(hours: 12) then 12 * hour else inDays
upTo4 = if few(hours: 3) then 3 * hour else if few(hours: 4) then 4 * hour else wide
inRange = if few(hours: 1) then hour else if few(hours: 2) then 2 * hour else upTo4

// Intervals. Weeks begin on Mondays, and the epoch was a Thursday.
every = if span <= 2 * day then hour else if span <= 90 * day then day else 7 * day
monday = if every == 7 * day then 3 * day else 0
inInterval = if every == hour then hour else 2 * hour
block = if byTime then inInterval else inRange
interval = (t) => if byTime then (t + monday) / every * every - monday else 0

// Number of blocks in an interval that are in the range.
blocks = (at) => {
    first = if byTime and at > start then at else start
    last = if byTime and at + every < stop then at + every else stop

    return (last - 1 - at) / block - (first - at) / block + 1
}

// A row without page views, so that both tags are columns even if the tables lack them.
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
                    // Not "": Flux loses an empty string among others, and moves the others up by a row.
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

// How far the blocks deviate from the total ratio: the sums of d^2 and d^4, where d = h * J / H - j. h and j are the
// hits and loads of a block, H and J those of all blocks. Multiplied out, one pass over the blocks computes both sums.
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

// The 0.975 quantiles of the normal and of Student's t distribution (Abramowitz and Stegun, 26.7.5).
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
        // The effective number of independent page views, and its degrees of freedom. With fewer than ten blocks, page
        // views count as independent. If all blocks agree, only a rounding error remains.
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

// Flux has no literal for null: it is a column that only other rows have.
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
