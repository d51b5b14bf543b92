"""Stores hits: in the spool for InfluxDB, or in the embedded store."""
