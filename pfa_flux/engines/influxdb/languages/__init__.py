"""The languages that an InfluxDB is asked in."""
