"""Figures as an HTML table. On a phone it hides less important columns, so it needs no scrolling."""

from __future__ import annotations

from collections.abc import Sequence

from pfa_flux.queries import words
from pfa_flux.queries.rows import RatioRow
from pfa_flux.views.bars import Named, linked
from pfa_flux.views.html import text


def table(caption: str, heading: str, rows: Sequence[Named], *, compared: bool = False) -> str:
    """A table.

    Args:
        caption: caption of the table.
        heading: heading of the first column, which has the names.
        rows: rows of the table.
        compared: show the previous period too.
    """
    spare, more = (" spare", _COMPARED) if compared else ("", ())
    heads = (("key", heading), *_HEADS, (f"interval{spare}", "95% interval"), *more)
    head = "".join(f'<th scope="col" class="{kind}">{text(name)}</th>' for kind, name in heads)
    body = "".join(_row(named, spare, compared=compared) for named in rows)
    return f"<table><caption>{text(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


_HEADS = (("number", "page views"), ("number spare", "JS loads"), ("number spare", "without"), ("ratio", "share"))
_COMPARED = (("ratio before spare", "before"), ("change", "change in points"))


def _row(named: Named, spare: str, *, compared: bool) -> str:
    row = named.row
    note = f"<small>{text(words.STATUS[row.status])}</small>" if words.STATUS[row.status] else ""
    cells = [
        f'<th scope="row" class="key">{linked(named.name, named.href)}{note}</th>',
        f'<td class="number">{row.hits:,}</td>',
        f'<td class="number spare">{row.js:,}</td>',
        f'<td class="number spare">{f"{row.blocked:,}".replace("-", "−")}</td>',
        f'<td class="ratio">{text(words.percent(row.ratio))}</td>',
        f'<td class="interval{spare}">{text(words.percent_range(row.ratio_low, row.ratio_high))}</td>',
    ]
    if compared:
        before = words.percent(row.before.ratio if row.before else None)
        cells += [f'<td class="ratio before spare">{text(before)}</td>', f'<td class="change">{_change(row)}</td>']
    return f"<tr>{''.join(cells)}</tr>"


def _change(row: RatioRow) -> str:
    """The change of a share; in small type if it may be chance."""
    if row.change is None:
        return "–"
    change, low, high = row.change
    if words.may_be_chance(low, high):
        return f"<small>{words.points(change)}, may\u00a0be\u00a0chance</small>"
    return f"<b>{words.points(change)}</b><small>{words.points_range(low, high)}</small>"
