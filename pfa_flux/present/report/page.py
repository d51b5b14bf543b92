"""The report: one self-contained HTML page, without scripts and requests. All text from data is escaped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from pfa_flux.present.dates import dated, day, short
from pfa_flux.present.html import text
from pfa_flux.present.report import chart, figures
from pfa_flux.present.report.bars import Named, bars, is_vague
from pfa_flux.present.report.contents import Content
from pfa_flux.present.report.document import document
from pfa_flux.present.results import BlockedRatio
from pfa_flux.ratio import phrasing
from pfa_flux.ratio.rows import RatioRow
from pfa_flux.times import parse_instant

_MOST_ROWS, _MOST_ROWS_OF_KEY = 25, 500
_MOST_BARS = 25
_HEADINGS = {"domain": "domain", "network": "network", "page": "page", "time": "from"}


def _nowhere(_key: str, _value: str) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Live:
    """What a live page adds to the report.

    Attributes:
        controls: HTML above the report.
        link: address of the page about a value of a key; empty for none.
    """

    controls: str = ""
    link: Callable[[str, str], str] = _nowhere


def page(content: Content, live: Live | None = None) -> str:
    """The report as HTML."""
    shown = _Report(content, (live or Live()).link)
    title = f"Page views without the JavaScript analytics: {content.subject}"
    made = f"Made by pfa-flux {text(content.version)} on {shown.moment(content.made)}."
    body = "\n".join((shown.header(), *shown.sections(), shown.quality(), _method(content)))
    main = f'<main id="figures">\n{body}\n<footer>{made}</footer>\n</main>'
    if live is None:
        return document(title, main)
    return document(title, f"{live.controls}\n{main}", more_styles="controls", forms=True)


class _Report:
    """The sections of a report."""

    def __init__(self, content: Content, link: Callable[[str, str], str]) -> None:
        self._content, self._link = content, link
        self._whole, self._zone = content.whole, ZoneInfo(content.whole.tz)

    def moment(self, instant: int) -> str:
        """An instant with its time zone."""
        return text(f"{day(instant, self._zone, clock=True)} {self._zone.key}")

    def header(self) -> str:
        """The subject, the share of all page views, and the counts."""
        (row,) = self._whole.rows
        span = f"{day(self._whole.start, self._zone, clock=True)} to {self.moment(self._whole.stop)}"
        size, headline, lead = _headline(row)
        facts = [
            (f"{row.hits:,}", "page views, by the pixel"),
            (f"{row.js:,}", "of them reported by the analytics"),
            (f"{row.blocked:,}".replace("-", "−"), "not reported"),
        ]
        change = ""
        if row.before:
            found, change = _change(row, row.before)
            facts += found
        items = "".join(f"<li><b>{text(value)}</b><span>{text(name)}</span></li>" for value, name in facts)
        return f"""<header>
<h1>{text(self._content.subject)} · <span class="soft">{span}</span></h1>
<p class="{size}">{headline}</p>
<p class="lead">{text(lead)}</p>
<ul class="facts">{items}</ul>{change}
</header>"""

    def sections(self) -> Iterable[str]:
        """A section for each answer."""
        made = {"network": self._networks, "domain": self._domains, "time": self._over_time, "page": self._pages}
        for (key, *more), answer in self._content.answers.items():
            if not more:
                yield made[key](answer)

    def _networks(self, answer: BlockedRatio) -> str:
        rows = self._named(answer.rows, "network")
        said = "".join(
            f"<p{_soft(phrasing.may_be_chance(c.difference_low, c.difference_high))}>{text(c.sentence)}</p>"
            for c in answer.differences()
        )
        return f"<section><h2>By network</h2>\n{bars(rows)}\n{said}{self._table(answer, 'network')}</section>"

    def _domains(self, answer: BlockedRatio) -> str:
        if not self._content.by and len(answer) < 2:
            return ""
        rows = self._named(_largest(answer, _MOST_BARS), "domain")
        return f"<section><h2>By domain</h2>\n{bars(rows)}{self._table(answer, 'domain')}</section>"

    def _over_time(self, answer: BlockedRatio) -> str:
        by_network = self._content.answers[("network", "time")]
        names = list(dict.fromkeys(row.key["network"] for row in by_network))
        lines = [chart.Line("all", "all", answer.rows)]
        if len(names) > 1:
            lines = [
                chart.Line(phrasing.NETWORKS[name], name, [row for row in by_network if row.key["network"] == name])
                for name in names
            ]
        starts = [parse_instant(row.key["time"], 0) for row in answer]
        label = "Share of page views without the analytics over time. The table below has the figures."
        opened = " open" if self._content.by else ""
        table = self._rows(answer.rows, "time", "By time", compared=answer.before is not None)
        return f"""<section><h2>Over time</h2>
<p class="soft">The line is the share, the band its 95% interval. Times without data have no line.</p>
<figure role="img" aria-label="{text(label)}">{chart.chart(lines, starts, self._zone)}</figure>
<details{opened}><summary>The figures</summary>{table}</details>
</section>"""

    def _pages(self, answer: BlockedRatio) -> str:
        return f"<section><h2>By page</h2>\n{self._table(answer, 'page', always=True)}</section>"

    def _table(self, answer: BlockedRatio, key: str, *, always: bool = False) -> str:
        """The largest rows as a table, if the report is about them, and the number of other rows."""
        if not always and not self._content.by:
            return ""
        largest = _largest(answer, _MOST_ROWS_OF_KEY if self._content.by else _MOST_ROWS)
        rest = len(answer) - len(largest)
        more = f'<p class="soft">{rest:,} more {key}s have fewer page views each.</p>' if rest else ""
        caption = f"{key.capitalize()}s with the most page views"
        return self._rows(largest, key, caption, compared=answer.before is not None) + more

    def _rows(self, rows: Sequence[RatioRow], key: str, caption: str, *, compared: bool) -> str:
        return figures.table(caption, _HEADINGS[key], self._named(rows, key), compared=compared)

    def _named(self, rows: Sequence[RatioRow], key: str) -> list[Named]:
        if key == "time":
            names = short([parse_instant(row.key["time"], 0) for row in rows], self._zone)
            return [Named(name, row) for name, row in zip(names, rows, strict=True)]
        if key == "network":
            return [Named(phrasing.NETWORKS[row.key[key]], row, row.key[key]) for row in rows]
        return [Named(phrasing.name(key, row.key[key]), row, href=self._link(key, row.key[key])) for row in rows]

    def quality(self) -> str:
        """Warnings about the figures."""
        content, (row,) = self._content, self._whole.rows
        answers = (self._whole, *(a for key, a in content.answers.items() if content.by or "time" not in key))
        found: dict[str, str] = {}
        for warning in (warning for answer in answers for warning in answer.warnings):
            found.setdefault(warning.code, dated(warning.found, self._zone))
        said = "".join(f'<p class="warning">{text(words_of)}</p>' for words_of in found.values())
        times = content.answers.get(("time",), ())
        empty, silent = sum(each.status == "no_data" for each in times), ""
        if empty:
            silent = f"<p>{empty} of {len(times)} intervals of time have neither page views nor JS loads.</p>"
        if not said and row.ratio is not None:
            few = "There are few page views; a longer range gives a more precise share." if is_vague(row) else ""
            said = f"<p>{few or 'No problems found.'}</p>"
        return f"<section><h2>Data quality</h2>\n{said}{silent}</section>" if said or silent else ""


def _headline(row: RatioRow) -> tuple[str, str, str]:
    """The share of all page views, or only its interval if that is wide: CSS class, HTML, and the sentence below."""
    without = "came without the JavaScript analytics"
    if row.ratio is None or row.ratio_low is None or row.ratio_high is None:
        return "headline vague", "No figure", f"There is no share: {phrasing.STATUS[row.status] or 'no data'}."
    if is_vague(row):
        return (
            "headline vague",
            phrasing.percent_range(row.ratio_low, row.ratio_high, 0),
            f"of all page views {without} (95% interval). {row.hits:,} page views are too few for a narrower range; "
            f"the share among them was {phrasing.percent(row.ratio)}.",
        )
    ends = phrasing.percent_range(row.ratio_low, row.ratio_high)
    share = f"{phrasing.percent(row.ratio)[:-1]}<small>%</small>"
    return "headline", share, f"of all page views {without} (95% interval: {ends})."


def _change(row: RatioRow, before: RatioRow) -> tuple[list[tuple[str, str]], str]:
    """The change since the previous period: a fact if it is clear, else a sentence in small type."""
    if row.change is None:
        why = phrasing.STATUS[before.status] if before.ratio is None else ""
        return [], f'<p class="soft">The previous period has no share to compare with: {why}.</p>' if why else ""
    change, low, high = row.change
    ends = phrasing.points_range(low, high)
    if not phrasing.may_be_chance(low, high):
        return [(f"{phrasing.points(change)} points", f"since the previous period ({ends})")], ""
    said = (
        f"The share of the previous period was {phrasing.percent(before.ratio)}. The difference may be chance: "
        f"{phrasing.points(change)} points, 95% interval {ends}."
    )
    return [], f'<p class="soft">{text(said)}</p>'


def _soft(small: bool) -> str:
    return ' class="soft"' if small else ""


def _largest(result: BlockedRatio, most: int) -> list[RatioRow]:
    return sorted(result, key=lambda row: -max(row.hits, row.js, row.before.hits if row.before else 0))[:most]


def _method(content: Content) -> str:
    whole = content.whole
    items = (
        ("Page view", "a request for the pixel, which browsers send even without JavaScript"),
        ("JS load", "a page load that the JavaScript analytics reported"),
        ("Share", "(page views − JS loads) / page views"),
        (
            "95% interval",
            "Wilson's interval with an effective number of page views, estimated from blocks of time, because one "
            "visitor blocks on all pages or on none; it covers chance, not bias",
        ),
        ("Bias", "bots, feed readers, caches and blockers of the pixel itself change the figure"),
        ("Store", f"{whole.engine}, query language {whole.dialect}, {phrasing.SOURCES[whole.source]}"),
        ("Visitors", "no address, user agent or cookie is stored, so no figure can be traced to a person"),
    )
    rows = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in items)
    return f"<section><h2>How it was made</h2>\n<dl>{rows}</dl></section>"
