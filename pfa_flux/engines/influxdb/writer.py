"""The writer that ships hits to InfluxDB, or to another server with the same `/api/v2/write`."""

from __future__ import annotations

from collections.abc import Iterable

from pfa_flux.engines.influxdb.transport import Transport, transport_to
from pfa_flux.engines.influxdb.v2 import name_org
from pfa_flux.settings import Settings


class Writer:
    """Writes line protocol. A token with only the right to write is enough."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._transport: Transport = transport_to(settings, settings.write_urls)
        self._org_known = bool(settings.org)

    def write(self, bucket: str, lines: Iterable[str]) -> int:
        """Write line protocol with times in nanoseconds. Returns the number of points.

        Raises:
            PfaFluxError: as in `Transport.translated`; also if the answer does not confirm the write.
        """
        self._know_org()
        written = self._transport.write(bucket, lines)
        # Only a successful write proves it: while a server starts, a proxy may answer that there is no organisation.
        self._org_known = True
        return written

    def probe_write(self, bucket: str) -> None:
        """Check the right to write to a bucket, without writing a point.

        Raises:
            AccessDeniedError, BucketNotFoundError: the right or the bucket is missing.
        """
        self._know_org()
        self._transport.probe_write(bucket)

    def relay(self) -> str:
        """Name and version of the relay that takes the writes. Empty if a database takes them."""
        return self._transport.relay()

    def _know_org(self) -> None:
        """Set the organisation if the database has organisations. A relay cannot tell, so this asks the database."""
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
