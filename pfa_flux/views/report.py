"""The report: one HTML file that needs nothing else, no script and no request. Every text from data is escaped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from importlib.resources import files
from zoneinfo import ZoneInfo

from pfa_flux.queries import words
from pfa_flux.queries.result import BlockedRatio, Caveat, RatioRow
from pfa_flux.queries.table import Column, Sheet
from pfa_flux.times import parse_instant, to_datetime
from pfa_flux.views import html


def text(value: str) -> str:
    """Escaped text, in which a figure stays with its percent sign."""
    return html.text(value).replace(" %", "\u00a0%")


_NETWORKS = {"clearnet": "clearnet", "tor": "Tor", "i2p": "I2P"}
_LONE = 14
"""Width of an interval of time that has no neighbour, in thousandths of the plot."""
_RIGHT_EDGE = 88
"""Per cent of the plot's width from which on a label is put before its place."""
_MOST_ROWS = 25
_TICKS = 6
_SPARE_ON_A_PHONE = 4


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a report, of one range and one selection.

    Attributes:
        subject: what it is about: a site, domains.
        whole: one row for all, beside the period before.
        networks: by network.
        domains: by domain.
        times: by time.
        network_times: by network and time.
        pages: by page.
        made: when it was made, nanoseconds.
        version: of pfa-flux.
    """

    subject: str
    whole: BlockedRatio
    networks: BlockedRatio
    domains: BlockedRatio
    times: BlockedRatio
    network_times: BlockedRatio
    pages: BlockedRatio
    made: int
    version: str


def page(content: Content) -> str:
    """The report as HTML."""
    style = files("pfa_flux.views").joinpath("report.css").read_text(encoding="utf-8")
    title = f"Page views without the JavaScript analytics: {content.subject}"
    body = "\n".join(
        (
            _header(content),
            _networks(content),
            _over_time(content),
            _pages(content),
            _quality(content),
            _method(content),
        )
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{text(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
<footer>Made by pfa-flux {text(content.version)} on {_day(content.made, ZoneInfo("UTC"), clock=True)} UTC.</footer>
</main>
</body>
</html>
"""


def _header(content: Content) -> str:
    (row,) = content.whole.rows
    zone = ZoneInfo(content.times.tz)
    span = f"{_day(content.whole.start, zone, clock=True)} to {_day(content.whole.stop, zone, clock=True)}"
    if row.ratio is None:
        number = "–"
        lead = f"No share can be said: {words.STATUS[row.status] or 'no data'}."
    else:
        number = f"{row.ratio * 100:.1f}<small>&thinsp;%</small>"
        ends = words.percent_range(row.ratio_low, row.ratio_high)
        lead = f"of all page views came without the JavaScript analytics (95 % interval: {ends})."
    facts = [(f"{row.hits:,}", "page views, by the pixel"), (f"{row.js:,}", "of them seen by the analytics")]
    facts.append((f"{row.blocked:,}", "without it"))
    if row.change:
        change, *ends_of_it = row.change
        name = f"since the period before ({words.points_range(*ends_of_it)})"
        facts.append((f"{words.points(change)} points", name))
    items = "".join(f"<li><b>{text(value)}</b><span>{text(name)}</span></li>" for value, name in facts)
    return f"""<header>
<h1>{text(content.subject)} · <span class="soft">{span}, {text(content.times.tz)}</span></h1>
<p class="headline">{number}</p>
<p class="lead">{text(lead)}</p>
<ul class="facts">{items}</ul>
</header>"""


def _networks(content: Content) -> str:
    rows = [(_NETWORKS.get(row.key["network"], ""), f"var(--{row.key['network']})", row) for row in content.networks]
    sentences = "".join(f"<p>{text(contrast.sentence)}</p>" for contrast in content.networks.differences())
    domains = [(row.key["domain"] or "(none)", "var(--accent)", row) for row in _largest(content.domains)]
    by_domain = f"<h2>By domain</h2>\n{_bars(domains)}" if len(domains) > 1 else ""
    return f"<section><h2>By network</h2>\n{_bars(rows)}\n{sentences}\n{by_domain}</section>"


def _bars(rows: Sequence[tuple[str, str, RatioRow]]) -> str:
    if not rows:
        return '<p class="soft">No page views.</p>'
    return f'<div class="bars" role="list">{"".join(_bar(*row) for row in rows)}</div>'


def _bar(name: str, colour: str, row: RatioRow) -> str:
    if row.ratio is None or row.ratio_low is None or row.ratio_high is None:
        track, value = "", f"<b>–</b><span>{text(words.STATUS[row.status])}</span>"
    else:
        left, width = row.ratio_low * 100, (row.ratio_high - row.ratio_low) * 100
        track = (
            f'<span class="fill" style="width:{row.ratio * 100:.2f}%;background:{colour}"></span>'
            f'<span class="whisker" style="left:{left:.2f}%;width:{width:.2f}%"></span>'
        )
        ends = words.percent_range(row.ratio_low, row.ratio_high)
        value = f"<b>{text(words.percent(row.ratio))}</b><span>{text(ends)}</span>"
    hits = f'<span class="soft"> {row.hits:,} page views</span>'
    return (
        f'<div class="row" role="listitem"><span class="name">{text(name)}{hits}</span>'
        f'<span class="track" aria-hidden="true">{track}</span><span class="value">{value}</span></div>'
    )


def _over_time(content: Content) -> str:
    lines = [("all", "var(--accent)", content.times.rows)]
    several = len(content.networks) > 1
    if several:
        lines = [
            (
                _NETWORKS.get(row.key["network"], ""),
                f"var(--{row.key['network']})",
                tuple(r for r in content.network_times if r.key["network"] == row.key["network"]),
            )
            for row in content.networks
        ]
    legend = "".join(f'<li><i style="background:{colour}"></i>{text(name)}</li>' for name, colour, _ in lines)
    shown = f'<ul class="legend" aria-hidden="true">{legend}</ul>' if several else ""
    label = "Share of page views without the analytics over time; the table below has the figures."
    return f"""<section><h2>Over time</h2>
<p class="soft">The line is the ratio, the band its 95 % interval; where there is no data there is no line.</p>
<figure role="img" aria-label="{text(label)}">{shown}
{_chart(content, lines)}</figure>
<details><summary>The figures</summary><div class="scroll">{_table(content.times.sheet(), "By time")}</div></details>
</section>"""


def _chart(content: Content, lines: Sequence[tuple[str, str, Sequence[RatioRow]]]) -> str:
    starts = [parse_instant(row.key["time"], 0) for row in content.times]
    first, last = starts[0], max(starts[-1], starts[0] + 1)
    ends = [row.ratio_high for _, _, rows in lines for row in rows if row.ratio_high is not None]
    # Tenths, or above a half fifths, so that every line of the grid stands for a round number.
    tenths = min(10, int(max(ends, default=1.0) * 10) + 1)
    steps = tenths if tenths <= 5 else -(-tenths // 2)
    top = (tenths if tenths <= 5 else 2 * steps) / 10
    shapes = "".join(_line(colour, rows, first, last, top) for _, colour, rows in lines)
    grid = "".join(
        f'<div class="grid" style="top:{100 - 100 * step / steps:.2f}%">'
        f"<span>{100 * top * step / steps:.0f} %</span></div>"
        for step in range(steps + 1)
    )
    zone = ZoneInfo(content.times.tz)
    every = max(1, -(-len(starts) // _TICKS))
    hours = starts[-1] - starts[0] < 4 * 86400 * 10**9
    axis = "".join(
        _label(100 * (start - first) / (last - first), _tick(start, zone, hours=hours)) for start in starts[::every]
    )
    drawing = f'<svg viewBox="0 0 1000 1000" preserveAspectRatio="none">{shapes}</svg>'
    return (
        f'<div class="chart" aria-hidden="true">{grid}{drawing}</div><div class="axis" aria-hidden="true">{axis}</div>'
    )


def _label(left: float, words: str) -> str:
    # At the right edge it stands before its place, so as not to stick out.
    aligned = "" if left < _RIGHT_EDGE else ";transform:translateX(-100%)"
    return f'<span style="left:{left:.2f}%{aligned}">{words}</span>'


def _line(colour: str, rows: Sequence[RatioRow], first: int, last: int, top: float) -> str:
    """A line and its band, broken where there is no ratio."""
    shapes = []
    for run in _runs(rows):
        at = [
            (
                1000 * (parse_instant(row.key["time"], 0) - first) / (last - first),
                row.ratio,
                row.ratio_low,
                row.ratio_high,
            )
            for row in run
        ]
        if len(at) == 1:
            # One interval alone would have neither length nor width.
            half = _LONE / 2
            x = min(max(at[0][0], half), 1000 - half)
            at = [(x + side, *at[0][1:]) for side in (-half, half)]
        high = [f"{x:.1f},{_y(end, top):.1f}" for x, _, _, end in at]
        low = [f"{x:.1f},{_y(end, top):.1f}" for x, _, end, _ in reversed(at)]
        middle = " ".join(f"{x:.1f},{_y(ratio, top):.1f}" for x, ratio, _, _ in at)
        shapes.append(
            f'<polygon points="{" ".join((*high, *low))}" fill="{colour}" fill-opacity=".16"/>'
            f'<polyline points="{middle}" fill="none" stroke="{colour}" stroke-width="2.2" stroke-linejoin="round" '
            f'vector-effect="non-scaling-stroke"/>'
        )
    return "".join(shapes)


def _runs(rows: Sequence[RatioRow]) -> Iterator[list[RatioRow]]:
    run: list[RatioRow] = []
    for row in rows:
        if row.ratio is not None:
            run.append(row)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _y(ratio: float | None, top: float) -> float:
    return 1000 - 1000 * (ratio or 0.0) / top


def _pages(content: Content) -> str:
    largest = _largest(content.pages)
    rest = len(content.pages) - len(largest)
    more = f'<p class="soft">{rest:,} more pages have fewer page views each.</p>' if rest else ""
    sheet = content.pages.sheet()
    place = {id(row): cells for row, cells in zip(content.pages.rows, sheet.rows, strict=True)}
    shown = Sheet(sheet.columns, [place[id(row)] for row in largest])
    table = _table(shown, "Pages with the most page views")
    return f'<section><h2>By page</h2>\n<div class="scroll">{table}</div>{more}</section>'


def _largest(result: BlockedRatio) -> list[RatioRow]:
    return sorted(result, key=lambda row: -max(row.hits, row.js))[:_MOST_ROWS]


def _table(sheet: Sheet, caption: str) -> str:
    kept = [
        (index, column)
        for index, column in enumerate(sheet.columns)
        if column.kind != "bar" and (column.name or any(row[index] for row in sheet.rows))
    ]
    head = "".join(f'<th scope="col" class="{_class(column)}">{text(column.name)}</th>' for _, column in kept)
    body = "".join(f"<tr>{''.join(_cell(column, row[index]) for index, column in kept)}</tr>" for row in sheet.rows)
    return f"<table><caption>{text(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(column: Column, value: str) -> str:
    return f'<td class="{_class(column)}">{text(value)}</td>'


def _class(column: Column) -> str:
    # On a phone there is room for the key, the hits and the ratio with its interval.
    return f"{column.kind} spare" if column.spare >= _SPARE_ON_A_PHONE else column.kind


def _quality(content: Content) -> str:
    found: dict[str, Caveat] = {}
    for answer in (content.whole, content.networks, content.domains, content.pages):
        for caveat in answer.warnings:
            found.setdefault(caveat.code, caveat)
    words_of = "".join(f'<p class="warning">{text(caveat.message)}</p>' for caveat in found.values())
    empty = sum(row.status == "no_data" for row in content.times)
    silent = (
        f"<p>{empty} of {len(content.times)} intervals of time have neither hits nor page loads.</p>" if empty else ""
    )
    clean = "<p>Nothing that would make the figures doubtful was found.</p>"
    return f"<section><h2>Data quality</h2>\n{words_of or clean}{silent}</section>"


def _method(content: Content) -> str:
    whole = content.whole
    sources = {"raw": "raw data", "rollup": "downsampled data", "raw+rollup": "raw and downsampled data"}
    items = (
        ("Page view", "a request of the pixel, which browsers make without JavaScript"),
        ("JS load", "a page load that the JavaScript analytics reported"),
        ("Ratio", "(page views − JS loads) / page views"),
        (
            "95 % interval",
            "Wilson's, with the number of independent draws that blocks of time say page views are worth, because a "
            "visitor blocks on all pages or on none; it covers chance, never bias",
        ),
        ("Bias", "bots, feed readers, caches and blockers of the pixel itself move the figure; see docs/number.md"),
        ("Store", f"{whole.engine}, asked in {whole.dialect}, from {sources[whole.source]}"),
        ("Visitors", "no address, no user agent and no cookie is kept: nothing here can be led back to a person"),
    )
    rows = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in items)
    return f"<section><h2>How it was made</h2>\n<dl>{rows}</dl></section>"


def _day(instant: int, zone: tzinfo, *, clock: bool) -> str:
    local = to_datetime(instant).astimezone(zone)
    return f"{local.day} {local:%B %Y}" + (f", {local:%H:%M}" if clock else "")


def _tick(instant: int, zone: tzinfo, *, hours: bool) -> str:
    local: datetime = to_datetime(instant).astimezone(zone)
    return f"{local.day} {local:%b} {local:%H:%M}" if hours else f"{local.day} {local:%b}"
