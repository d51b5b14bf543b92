"""Writes quarantined points again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing

from pfa_flux import registry
from pfa_flux.engines.influxdb.lineprotocol import start_of
from pfa_flux.errors import SettingsError
from pfa_flux.helper.delivery import Delivery
from pfa_flux.journal.quarantine import Quarantine, Refused
from pfa_flux.schema import BOTH
from pfa_flux.settings import Settings
from pfa_flux.tasks.state import late_before, note_late
from pfa_flux.windows.spec import TaskSpec


def retry(
    settings: Settings, quarantine: Quarantine, clock: Callable[[], int] = time.time_ns
) -> tuple[int, Sequence[Refused]]:
    """Write quarantined points again. Accepted points leave the quarantine, and late ones are noted for repair.

    Args:
        settings: names and address of the store.
        quarantine: the points.
        clock: returns the current time, nanoseconds.

    Returns:
        The number of points written, and the points that were refused again.

    Raises:
        SettingsError: no InfluxDB is set.
        PfaFluxError: it is unreachable or denies access. Points accepted until then have left the quarantine.
    """
    if not settings.url:
        raise SettingsError("no InfluxDB is set", "Set its address with --url or PFA_FLUX_URL.")
    specs = [TaskSpec.from_settings(settings, side) for side in BOTH]
    writer, written = registry.open_writer(settings), 0
    with closing(writer):
        delivery = Delivery(settings, writer, quarantine.notes)
        for each in quarantine.all():
            if each.damaged:
                continue
            refused = delivery.write(each.lines)
            left = {line for one in refused for line in one.lines}
            done = [line for line in each.lines if line not in left]
            late = {}
            for spec in specs:
                times = [int(line.rpartition(" ")[2]) for line in done if line.startswith(start_of(spec.source))]
                late[spec] = {moment for moment in times if moment < late_before(spec, clock())}
            note_late(settings, late, patience=10)
            if refused:
                quarantine.refused_again(each, refused[-1].message, [line for line in each.lines if line in left])
            else:
                quarantine.remove(each)
            written += len(done)
    return written, quarantine.all()
