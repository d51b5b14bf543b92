"""The panels in InfluxQL, for Grafana.

InfluxQL cannot divide fields of two measurements, so Grafana's server does it in its expressions. A statement without
rows gives no answer to divide by. So the statement for page loads adds an empty row from the same measurement.
"""

from __future__ import annotations

from pfa_flux.engines.ask import Rows
from pfa_flux.engines.influxdb.languages.influxql import (
    aggregate,
    counting,
    database_of,
    identifier,
    in_windows,
    source,
    within,
)
from pfa_flux.present.dashboards.panels import MOST_ROWS, Data, Expression, Panel, Query
from pfa_flux.schema import SUFFIXES
from pfa_flux.times import format_duration
from pfa_flux.windows.spec import TaskSpec

_RANGE = ("$timeFilter", "${__from}ms", "${__to}ms")
_DOMAINS = f"{identifier('domain')} =~ /^(${{domain:regex}})$/"
_PAGES = f"{identifier('page')} =~ /^(${{page:regex}})$/"
_EVERY = "$__interval"
_NO_RATIO = "No ratio means that there are no hits, or more JS loads than hits."


def _from(rows: Rows) -> str:
    return source(database_of(rows.bucket), rows.measurement)


def _counted(rows: Rows, *conditions: str, name: str = "n", groups: str = "") -> str:
    """Statement for the rows in the range that count."""
    where = " AND ".join((within(rows, *_RANGE), *counting(rows), *conditions))
    return f"SELECT {aggregate(rows)} AS {identifier(name)} FROM {_from(rows)} WHERE {where}{groups}"


def hits(rows: Rows, *conditions: str) -> str:
    """The statement for the number of hits."""
    return _counted(rows, *conditions, name="hits")


def loads(rows: Rows, *conditions: str) -> str:
    """The statement for the number of page loads. It gives 0 if there are none, provided there ever was one."""
    nothing = f"SELECT 0 * first({identifier(rows.field)}) AS n FROM {_from(rows)}"
    return f"SELECT sum(n) AS loads FROM ({_counted(rows, *conditions)}), ({nothing})"


def _by_time(rows: Rows, name: str, *conditions: str) -> str:
    """The statement for rows by time. An empty window has 0, provided the range has a row of any domain."""
    groups = f" GROUP BY {in_windows(rows, _EVERY)} fill(0)"
    nothing = _counted(rows, groups=groups).replace(aggregate(rows), f"0 * {aggregate(rows)}", 1)
    inner = f"({_counted(rows, *conditions, groups=groups)}), ({nothing})"
    return f"SELECT sum(n) AS {identifier(name)} FROM {inner} WHERE {_RANGE[0]}{groups}"


def _divided(name: str, of_hits: str, of_loads: str) -> Expression:
    """1 - loads / hits; no number if there are no hits, or more loads than hits."""
    fits = f"(${of_loads} <= ${of_hits})"
    return Expression(name, f"(1 - ${of_loads} / ${of_hits}) * ({fits} / {fits})")


def _network(network: str) -> str:
    """A condition for the domains of a network."""
    suffix = SUFFIXES[network]
    if suffix:
        return f"{identifier('domain')} =~ /\\{suffix}(:[0-9]+)?$/"
    others = "|".join(f"\\{each}" for each in SUFFIXES.values() if each)
    return f"{identifier('domain')} !~ /({others})(:[0-9]+)?$/"


def _ratio_of(data: Data, name: str, *conditions: str) -> tuple[tuple[Query, Query], tuple[Expression, ...]]:
    """Queries and expressions for one ratio."""
    queries = (
        Query(f"hits_{name}", hits(data.hits, *conditions), hidden=True),
        Query(f"loads_{name}", loads(data.loads, *conditions), hidden=True),
    )
    sums = tuple(Expression(f"sum_{query.name}", query.name, "sum", hidden=True) for query in queries)
    return queries, (*sums, _divided(name, sums[0].name, sums[1].name))


def panels(data: Data) -> tuple[Panel, ...]:
    """The dashboard's panels."""
    total, formula = _ratio_of(data, "ratio", _DOMAINS)
    over_time = (
        Query("hits", _by_time(data.hits, "hits", _DOMAINS)),
        Query("loads", _by_time(data.loads, "loads", _DOMAINS)),
    )
    hidden = tuple(Query(query.name, query.text, hidden=True) for query in over_time)
    no_interval = "InfluxQL cannot compute intervals; pfa-flux blocked-ratio can."
    return (
        Panel("Without JavaScript", f"{_NO_RATIO} {no_interval}", "number", (0, 0, 4, 2), total, formula),
        Panel(
            "Totals",
            "Page views that the pixel and the JavaScript analytics counted.",
            "numbers",
            (4, 0, 8, 2),
            (Query("hits", hits(data.hits, _DOMAINS)), Query("loads", loads(data.loads, _DOMAINS))),
            unit="count",
        ),
        Panel(
            "Ratio over time",
            f"{_NO_RATIO} {no_interval} Nothing is shown if the whole range has no JS loads.",
            "lines",
            (0, 2, 12, 4),
            hidden,
            (_divided("ratio", "hits", "loads"),),
        ),
        Panel("Page views over time", "Intervals are in UTC.", "lines", (0, 6, 6, 4), over_time, unit="count"),
        *_of_networks(data),
        *(_of_pages(data) if data.pages else ()),
        *(_health(spec, n, len(data.specs)) for n, spec in enumerate(data.specs)),
    )


def _of_networks(data: Data) -> tuple[Panel, ...]:
    ratios = [_ratio_of(data, network, _DOMAINS, _network(network)) for network in SUFFIXES]
    counts = tuple(
        Query(f"{network} {side}", text(rows, _DOMAINS, _network(network)))
        for network in SUFFIXES
        for side, text, rows in (("hits", hits, data.hits), ("loads", loads, data.loads))
    )
    return (
        Panel(
            "By network",
            _NO_RATIO,
            "numbers",
            (6, 6, 6, 2),
            tuple(query for queries, _ in ratios for query in queries),
            tuple(each for _, expressions in ratios for each in expressions),
        ),
        Panel("Page views by network", "", "numbers", (6, 8, 6, 2), counts, unit="count"),
    )


def _of_pages(data: Data) -> tuple[Panel, ...]:
    groups = f" GROUP BY {identifier('page')}"
    both = (_DOMAINS, _PAGES)
    of_hits = _counted(data.hits, *both, name="hits", groups=groups)
    of_loads = _counted(data.loads, *both, name="loads", groups=groups)
    series = (Query("hits_by_page", of_hits, hidden=True), Query("loads_by_page", of_loads, hidden=True))
    sums = tuple(Expression(f"sum_{query.name}", query.name, "sum", hidden=True) for query in series)
    page = identifier("page")
    tables = [
        Query("A", f"SELECT top({name}, {page}, {MOST_ROWS}) AS {name} FROM ({text})", rows=True)
        for name, text in (("hits", of_hits), ("loads", of_loads))
    ]
    most = f"The {MOST_ROWS} pages with the most."
    return (
        Panel("Hits by page", most, "table", (0, 10, 4, 5), (tables[0],), unit="count"),
        Panel("JS loads by page", most, "table", (4, 10, 4, 5), (tables[1],), unit="count"),
        Panel(
            "Ratio by page",
            "Pages with both hits and JS loads. A page without JS loads is only in the table of hits: "
            "all its page views came without JavaScript.",
            "bars",
            (8, 10, 4, 5),
            series,
            (*sums, _divided("ratio", sums[0].name, sums[1].name)),
        ),
    )


def _health(spec: TaskSpec, place: int, of: int) -> Panel:
    """Raw and downsampled rows by window. They should be equal."""
    queries = tuple(
        Query(
            name,
            _counted(rows, name=name, groups=f" GROUP BY {in_windows(rows, format_duration(spec.every))} fill(0)"),
        )
        for name, rows in (("raw", spec.raw), ("downsampled", spec.rollup))
    )
    return Panel(
        f"Health of the task {spec.name}",
        "missing is the difference between raw data and downsampled windows. It should be 0, except for the newest "
        "window, which is still open. Without a line there are no downsampled windows: pfa-flux task status says why.",
        "lines",
        (12 // of * place, 15, 12 // of, 3),
        queries,
        (Expression("missing", "$raw - $downsampled"),),
        unit="count",
    )
