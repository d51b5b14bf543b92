"""An answer as one sentence. It claims no more than the figures show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pfa_flux.present.dates import span
from pfa_flux.ratio import phrasing
from pfa_flux.ratio.rows import RatioRow

if TYPE_CHECKING:
    from pfa_flux.ratio.result import RatioAnswer


def sentence(answer: RatioAnswer) -> str:
    """Page views, range, share with its interval, source of the figures, and warnings that make the total doubtful."""
    low, high = answer.covers
    if low >= high:
        # No part of the range is known.
        low, high = answer.start, answer.stop
    where = f"{answer.store.title[:1].upper()}{answer.store.title[1:]}, {phrasing.SOURCES[answer.source]}."
    doubts = phrasing.listed(answer.doubts)
    see = f" See the warning{'s' if len(answer.doubts) > 1 else ''} {doubts}." if doubts else ""
    return f"{_said(answer.total, f'{answer.subject}, {span(low, high, answer.tz)}')} {where}{see}"


def _said(row: RatioRow, of: str) -> str:
    hits, loads = phrasing.counted(row.hits, "page view"), phrasing.counted(row.js, "JS load")
    if row.status == "no_data":
        return f"No data for {of}: neither page views nor JS loads."
    if row.status == "no_hits":
        return f"No ratio for {of}: {loads}, and no page views that the pixel counted."
    if row.status == "js_exceeds_hits" or row.ratio is None:
        return f"No ratio for {of}: {loads}, more than the {hits} that the pixel counted."
    share = phrasing.percent(row.ratio)
    if ends := phrasing.percent_range(row.ratio_low, row.ratio_high):
        share += f" ({ends})"
    none = ", which reported none" if row.status == "no_js" else ""
    return f"Of {hits} of {of}, {share} came without the JavaScript analytics{none}."
