"""InfluxDB's query languages."""
