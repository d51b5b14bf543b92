"""The panels in Flux, from the files in `flux/dashboards`. They work in Grafana and InfluxDB."""

from __future__ import annotations

from collections.abc import Sequence

from pfa_flux.engines.influxdb import flux
from pfa_flux.engines.influxdb.languages import flux as language
from pfa_flux.present.dashboards.panels import MOST_ROWS, Data, Panel, Query
from pfa_flux.schema import SUFFIXES
from pfa_flux.times import NS
from pfa_flux.windows.spec import TaskSpec

ALL = flux.predicate()
_BLOCKS = "The interval is that of pfa-flux. It compares blocks of time, because page views come in visits."
_UNKNOWN = "No ratio means that there are no hits, or more JS loads than hits; status says which."


def _by(column: str, order: str = "") -> str:
    name = flux.literal(column)
    order = order or f"sort(columns: [{name}])"
    return f'(known, all) => all |> drop(columns: ["_time", "blocked"]) |> rename(columns: {{_key: {name}}}) |> {order}'


def _lines(of: str, columns: Sequence[str], *, wide: bool) -> str:
    """Figures by time. Columns are side by side, or below each other as `_value`, distinguished by `_field`."""
    if wide:
        named = ", ".join(f"{name}: r.{name}" for name in ("_time", *columns))
        return f'(known, all) => {of} |> map(fn: (r) => ({{{named}}})) |> sort(columns: ["_time"])'
    tables = ", ".join(
        f'{of} |> map(fn: (r) => ({{_time: r._time, _field: "{name}", _value: float(v: r.{name})}}))'
        for name in columns
    )
    return f'(known, all) => union(tables: [{tables}]) |> group(columns: ["_field"]) |> sort(columns: ["_time"])'


_TOTAL = '(domain, page) => "all"'
_NUMBER = '(known, all) => known |> map(fn: (r) => ({_time: r._time, _field: "ratio", _value: r.ratio * 100.0}))'
_TOTALS = '(known, all) => all |> drop(columns: ["_time", "_key"])'


def _network() -> str:
    known = " ".join(
        f'if domain =~ /\\{suffix}(:[0-9]+)?$/ then "{network}" else' for network, suffix in SUFFIXES.items() if suffix
    )
    return f'(domain, page) => {known} "clearnet"'


def panels(data: Data, selected: flux.Expression = ALL, *, wide: bool = False) -> tuple[Panel, ...]:
    """The panels of the dashboard.

    Args:
        data: the rows to show.
        selected: a predicate for the rows that count.
        wide: the host draws several columns of one table. InfluxDB 1.8 answers this several times as fast.
    """

    def ratio(key: str, shown: str, *, tag: str = "domain", by_time: bool = False) -> tuple[Query]:
        return (Query("A", ratio_text(data, selected, key, shown, tag=tag, by_time=by_time), rows=not by_time),)

    by_page = ratio(
        "(domain, page) => page",
        _by("page", f'sort(columns: ["hits"], desc: true) |> limit(n: {MOST_ROWS})'),
        tag="page",
    )
    pages = (
        Panel("By page", f"The {MOST_ROWS} pages with the most hits. {_UNKNOWN}", "table", (6, 10, 6, 5), by_page),
    )
    domains = ratio("(domain, page) => domain", _by("domain"))
    intervals = "By hour up to two days, by day (UTC) up to ninety, else by week."
    over_time = ratio(_TOTAL, _lines("known", ("ratio", "ratio_low", "ratio_high"), wide=wide), by_time=True)
    counts = ratio(_TOTAL, _lines("all", ("hits", "js"), wide=wide), by_time=True)
    health = tuple(Query(name, health_text(spec), rows=True) for name, spec in zip("AB", data.specs, strict=False))
    return (
        Panel("Without JavaScript", _UNKNOWN, "number", (0, 0, 3, 2), ratio(_TOTAL, _NUMBER), unit="percent"),
        Panel("Totals", f"{_BLOCKS} {_UNKNOWN}", "table", (3, 0, 9, 2), ratio(_TOTAL, _TOTALS)),
        Panel("Ratio over time", f"{intervals} {_BLOCKS}", "lines", (0, 2, 12, 4), over_time),
        Panel("Page views over time", intervals, "lines", (0, 6, 6, 4), counts, unit="count"),
        Panel("By network", _UNKNOWN, "table", (6, 6, 6, 4), ratio(_network(), _by("network"))),
        Panel("By domain", _UNKNOWN, "table", (0, 10, 6 if data.pages else 12, 5), domains),
        *(pages if data.pages else ()),
        *(
            Panel(
                f"Health of the task {spec.name}",
                "Windows of the last day. A window is wrong if its downsampled sum differs from raw data. "
                "pfa-flux task status says why. pfa-flux task repair repairs it.",
                "table",
                (6 * n, 15, 12 // len(data.specs), 2),
                (query,),
            )
            for n, (spec, query) in enumerate(zip(data.specs, health, strict=True))
        ),
    )  # fmt: skip


def ratio_text(
    data: Data, selected: flux.Expression, key: str, shown: str, *, tag: str = "domain", by_time: bool = False
) -> str:
    """The query for the ratio. The host replaces `v`."""
    hits, loads = data.hits, data.loads
    values = {
        "bucket": flux.literal(hits.bucket),
        "loadsBucket": flux.literal(loads.bucket),
        "hits": language.predicate(hits),
        "loads": language.predicate(loads),
        "number": flux.Expression("count" if loads.count else "sum"),
        "selected": selected,
        "tags": flux.literal([tag]),
        "key": flux.Expression(key),
        "byTime": flux.literal(by_time),
        "window": flux.literal(hits.every * NS or 1),
        "offset": flux.literal(data.offset * NS),
        "begun": language.begun(hits),
        "shift": flux.literal(hits.times(0, 0)[0]),
        "shown": flux.Expression(shown),
    }
    return flux.bind(flux.load("dashboards/ratio.flux"), values)


def health_text(spec: TaskSpec) -> str:
    """The query for a task's windows. The host replaces `v`."""
    values = {
        "side": flux.literal(spec.what.value),
        "bucket": flux.literal(spec.raw_bucket),
        "rollupBucket": flux.literal(spec.rollup_bucket),
        "rows": language.predicate(spec.raw),
        "number": flux.Expression("count" if spec.raw.count else "sum"),
        "downsampled": language.predicate(spec.rollup),
        "window": flux.literal(spec.width),
        "offset": flux.literal(spec.offset * NS),
    }
    return flux.bind(flux.load("dashboards/task_health.flux"), values)


def domains_text(data: Data) -> str:
    """The query for the existing domains. The host replaces `v`."""
    values = {"bucket": flux.literal(data.hits.bucket), "rows": language.predicate(data.hits)}
    return flux.bind(flux.load("dashboards/domains.flux"), values)
