"""Where the pixel ships to: an InfluxDB, or anything else that answers `/api/v2/write`."""

from __future__ import annotations

from collections.abc import Iterable

from pfa_flux.engines.influxdb.transport import Transport, transport_to
from pfa_flux.engines.influxdb.v2 import name_org
from pfa_flux.settings import Settings


class Writer:
    """Writes line protocol. It asks for nothing that a token with the right to write alone may not."""

    def __init__(self, settings: Settings) -> None:
        self._transport: Transport = transport_to(settings)
        self._org_known = bool(settings.org)

    def write(self, bucket: str, lines: Iterable[str]) -> int:
        """Write line protocol with times in nanoseconds. Returns the number of points.

        Raises:
            PfaFluxError: the server refuses them or cannot be reached, as `Transport.translated` says.
        """
        self._know_org()
        return self._transport.write(bucket, lines)

    def probe_write(self, bucket: str) -> None:
        """Ask for the right to write to a bucket, without writing.

        Raises:
            AccessDeniedError, BucketNotFoundError: the right or the bucket is missing.
        """
        self._know_org()
        self._transport.probe_write(bucket)

    def _know_org(self) -> None:
        """Name the organisation, where the server has any; only InfluxDB 2 has."""
        if not self._org_known:
            name_org(self._transport)
            self._org_known = True

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()
