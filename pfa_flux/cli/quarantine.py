"""`pfa-flux quarantine`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pfa_flux.cli.choices import JSON, TABLE, Form
from pfa_flux.cli.exits import TO_DO
from pfa_flux.cli.options import note, with_settings
from pfa_flux.cli.task import show as view
from pfa_flux.settings import Settings

if TYPE_CHECKING:
    from pfa_flux.journal.quarantine import Refused


@with_settings
def quarantine(
    *,
    retry: Annotated[
        bool, typer.Option("--retry", help="Send the hits again. Those that InfluxDB now accepts leave the quarantine.")
    ] = False,
    lines: Annotated[bool, typer.Option("--lines", help="Print the hits as line protocol.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Remove the hits permanently.")] = False,
    format_: Form = TABLE,
    settings: Settings,
    quiet: bool,
) -> None:
    """Show hits that InfluxDB refused, and why. Exit code 5 if there are any."""
    from pfa_flux.errors import InvalidValueError
    from pfa_flux.helper.retry import retry as write_again
    from pfa_flux.journal.spool import quarantine_of

    if retry + lines + drop > 1:
        raise InvalidValueError("--retry, --lines and --drop cannot be combined", "Use one of them.")
    with quarantine_of(settings) as store:
        if retry:
            written, left = write_again(settings, store)
            if not quiet:
                note(f"{written:,} points were written")
        else:
            left = store.all()
        if drop:
            for each in left:
                store.remove(each)
            typer.echo(f"{sum(each.count for each in left):,} points were removed")
            return
    if lines:
        for each in left:
            typer.echo("\n".join(each.lines))
        return
    _show(left, format_)
    if left:
        raise typer.Exit(TO_DO)
    if not quiet:
        note("the quarantine is empty")


def _show(left: Sequence[Refused], format_: str) -> None:
    rows = [
        (_second(each[0].time), _second(each[0].until), sum(part.count for part in each), reason)
        for reason, each in _by_reason(left).items()
    ]
    if format_ == JSON:
        view.print_json([dict(zip(("refused", "kept_until", "points", "reason"), row, strict=True)) for row in rows])
    elif rows:
        cells = [(refused, until, f"{points:,}", reason) for refused, until, points, reason in rows]
        view.print_table(("refused", "kept until", "points", "reason"), cells)


def _by_reason(left: Sequence[Refused]) -> dict[str, list[Refused]]:
    """Rows by reason. Batches are halved until the faulty points are found, so many rows share a reason."""
    by_reason: dict[str, list[Refused]] = {}
    for each in left:
        by_reason.setdefault(each.reason, []).append(each)
    return by_reason


def _second(moment: int) -> str:
    """An instant, to the second."""
    from pfa_flux.times import NS, format_instant

    return format_instant(moment // NS * NS)
