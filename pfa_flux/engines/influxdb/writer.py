"""Where the pixel ships to: an InfluxDB, or anything else that answers `/api/v2/write` as it does."""

from __future__ import annotations

from collections.abc import Iterable

from pfa_flux.engines.influxdb.transport import Transport, transport_to
from pfa_flux.engines.influxdb.v2 import name_org
from pfa_flux.settings import Settings


class Writer:
    """Writes line protocol. It asks for nothing that a token with the right to write alone may not."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._transport: Transport = transport_to(settings, settings.write_urls)
        self._org_known = bool(settings.org)

    def write(self, bucket: str, lines: Iterable[str]) -> int:
        """Write line protocol with times in nanoseconds. Returns the number of points.

        Raises:
            PfaFluxError: the server refuses them or cannot be reached, as `Transport.translated` says; also where it
                answers anything else than that they are written.
        """
        self._know_org()
        written = self._transport.write(bucket, lines)
        # Only now: whatever stands before a server that starts may say that there is no organisation.
        self._org_known = True
        return written

    def probe_write(self, bucket: str) -> None:
        """Ask for the right to write to a bucket, without writing.

        Raises:
            AccessDeniedError, BucketNotFoundError: the right or the bucket is missing.
        """
        self._know_org()
        self._transport.probe_write(bucket)

    def relay(self) -> str:
        """What takes the writes and is no database, with its version; empty where nothing does."""
        return self._transport.relay()

    def _know_org(self) -> None:
        """Name the organisation, where the database has any; only InfluxDB 2 has, and a relay does not know."""
        if self._org_known:
            return
        if self._settings.write_url:
            database = transport_to(self._settings)
            try:
                name_org(database)
            finally:
                database.close()
            self._transport.org = database.org
        else:
            name_org(self._transport)
        self._org_known = bool(self._transport.org)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()
