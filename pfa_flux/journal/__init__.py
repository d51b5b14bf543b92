"""Where hits are kept: the spool for InfluxDB, or the embedded store."""
