"""Figures as an HTML table. On a phone it hides less important columns, so it needs no scrolling."""

from __future__ import annotations

from collections.abc import Sequence

from pfa_flux.present.html import text
from pfa_flux.present.report.bars import Named, linked
from pfa_flux.ratio import phrasing
from pfa_flux.ratio.rows import RatioRow


def table(caption: str, heading: str, rows: Sequence[Named], *, compared: bool = False) -> str:
    """A table.

    Args:
        caption: caption of the table.
        heading: heading of the first column, which has the names.
        rows: rows of the table.
        compared: also show the previous period.
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
    note = f"<small>{text(phrasing.STATUS[row.status])}</small>" if phrasing.STATUS[row.status] else ""
    cells = [
        f'<th scope="row" class="key">{linked(named.name, named.href)}{note}</th>',
        f'<td class="number">{row.hits:,}</td>',
        f'<td class="number spare">{row.js:,}</td>',
        f'<td class="number spare">{f"{row.blocked:,}".replace("-", "−")}</td>',
        f'<td class="ratio">{text(phrasing.percent(row.ratio))}</td>',
        f'<td class="interval{spare}">{text(phrasing.percent_range(row.ratio_low, row.ratio_high))}</td>',
    ]
    if compared:
        before = phrasing.percent(row.before.ratio if row.before else None)
        cells += [f'<td class="ratio before spare">{text(before)}</td>', f'<td class="change">{_change(row)}</td>']
    return f"<tr>{''.join(cells)}</tr>"


def _change(row: RatioRow) -> str:
    """The change of a share. It is in small type if it may be chance."""
    if row.change is None:
        return "–"
    change, low, high = row.change
    if phrasing.may_be_chance(low, high):
        return f"<small>{phrasing.points(change)}, may\u00a0be\u00a0chance</small>"
    return f"<b>{phrasing.points(change)}</b><small>{phrasing.points_range(low, high)}</small>"
