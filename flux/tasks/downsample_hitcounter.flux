// Downsamples the pixel's hits to windows of 15 minutes and drops `sess`. Installed and watched by pfa-flux.
//
// Runs as it stands as a task of InfluxDB 2. Windows are [t, t + every), aligned to the epoch and labelled by their
// end. Every run recomputes the last `lookback` windows, so a late hit is taken up; a rerun changes nothing.

option task = {name: "downsample_hitcounter", every: 15m, offset: 1m, concurrency: 1}

// Parameters
read = () => from(bucket: "telegraf/autogen")
write = (tables=<-) => tables |> to(bucket: "websites/analytics")
rows = (r) => r._measurement == "pf_analytics_test_pixel" and r._field == "count"
// in sorted order: any other order would make a second series with an equal key, and sums would double
tags = ["domain", "page", "scheme"]
// a shard may have the field as floats; sums are written as integers (not needed where rows are counted). After the
// windows: before them, the server would hand out every row, and take fifty times as long
whole = (tables=<-) => tables |> toInt()
aggregate = sum
measurement = "pf_analytics_pixel"
field = "hitcount"
every = 15m
lookback = 2
// on InfluxDB 1.8, where range() takes in its stop: tables |> filter(fn: (r) => r._time < stop)
cut = (tables=<-, stop) => tables
// End of parameters

// A run that is forced at an odd moment must not cut a window.
window = int(v: every)
stop = int(v: now()) / window * window

read()
    |> range(start: time(v: stop - lookback * window), stop: time(v: stop))
    |> filter(fn: rows)
    |> cut(stop: time(v: stop))
    |> group(columns: tags)
    |> aggregateWindow(every: every, fn: aggregate, createEmpty: false)
    |> whole()
    |> set(key: "_measurement", value: measurement)
    |> set(key: "_field", value: field)
    |> drop(columns: ["_start", "_stop"])
    |> write()
