"""Controls of the live page: links and one form, without a script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pfa_flux.present.html import text
from pfa_flux.ratio import phrasing
from pfa_flux.view.selection import DEFAULT_RANGE, INTERVALS, NAMES, RANGES, Problems, Selection

_VIEWS = {"": "Overview", "network": "By network", "domain": "By domain", "page": "By page", "time": "By time"}


def controls(selection: Selection, sites: Iterable[str], problems: Problems) -> str:
    """The controls as HTML.

    Args:
        selection: the current selection.
        sites: sites to choose from.
        problems: problems of the selection.
    """
    form = "".join(_fields(selection, sorted(sites), problems))
    page = ""
    if selection.page:
        shown = text(phrasing.name("page", selection.page))
        page = f'<p>Only page <b>{shown}</b>. <a href="{text(selection.query(page=""))}">Show all pages</a></p>'
    return f"""<a class="skip" href="#figures">Skip to the figures</a>
<div class="controls">
<nav aria-label="Range">{_links(RANGES, "" if selection.first else selection.range, _ranges(selection))}</nav>
<form method="get" aria-label="Choose what is shown">{form}</form>{page}
<nav class="views" aria-label="View">{_links(_VIEWS, selection.by, _views(selection))}</nav>
</div>"""


def trouble(title: str, lines: Iterable[str], more: str = "") -> str:
    """A message in place of the figures. `more` is HTML after it."""
    paragraphs = "".join(f"<p>{line}</p>" for line in lines)
    return f'<main id="figures" class="trouble"><h1>{text(title)}</h1>\n{paragraphs}{more}</main>'


def problem_lines(problems: Problems) -> list[str]:
    """Problems as lines of HTML. The fields of the form refer to them."""
    return [
        f'<span id="{text(name or "address")}-problem"><b>{text(NAMES[name])}:</b> {text(problem)}</span>'
        for name, problem in problems.items()
    ]


def _ranges(selection: Selection) -> Mapping[str, str]:
    return {value: selection.query(range=value, first="", last="") for value in RANGES}


def _views(selection: Selection) -> Mapping[str, str]:
    # Only the view by time has an interval.
    return {by: selection.query(by=by, every=selection.every if by == "time" else "") for by in _VIEWS}


def _links(names: Mapping[str, str], current: str, addresses: Mapping[str, str]) -> str:
    return "".join(
        f'<a href="{text(addresses[value])}"{_CURRENT if value == current else ""}>{text(name)}</a>'
        for value, name in names.items()
    )


_CURRENT = ' aria-current="true"'


def _fields(selection: Selection, sites: list[str], problems: Problems) -> Iterable[str]:
    if sites:
        other = [selection.of] if selection.of not in ("", *sites) else []
        choices = {"": "all domains", **{name: name for name in (*sites, *other)}}
        yield _select("of", "Site", choices, selection.of, problems)
    else:
        yield _input("of", "Domain", selection.of, problems, ' type="text" placeholder="all domains"')
    yield _input("from", "From", selection.first, problems, ' type="date"')
    yield _input("to", "To", selection.last, problems, ' type="date"')
    if selection.by == "time":
        yield _select("every", "Interval", INTERVALS, selection.every, problems)
    checked = " checked" if selection.compare else ""
    yield (
        f'<label class="check"><input type="checkbox" name="compare" value="1"{checked}{_wrong("compare", problems)}>'
        "Compare with previous period</label>"
    )
    kept = {"by": selection.by, "page": selection.page}
    if not selection.first and selection.range != DEFAULT_RANGE:
        kept["range"] = selection.range
    yield from (f'<input type="hidden" name="{name}" value="{text(value)}">' for name, value in kept.items() if value)
    yield '<button type="submit">Show</button>'


def _input(name: str, label: str, value: str, problems: Problems, kind: str) -> str:
    return (
        f'<label><span>{label}</span><input name="{name}" value="{text(value)}"{kind} '
        f'autocomplete="off"{_wrong(name, problems)}></label>'
    )


def _select(name: str, label: str, choices: Mapping[str, str], chosen: str, problems: Problems) -> str:
    options = "".join(
        f'<option value="{text(value)}"{" selected" if value == chosen else ""}>{text(shown)}</option>'
        for value, shown in choices.items()
    )
    return f'<label><span>{label}</span><select name="{name}"{_wrong(name, problems)}>{options}</select></label>'


def _wrong(name: str, problems: Problems) -> str:
    return f' aria-invalid="true" aria-describedby="{name}-problem"' if name in problems else ""
