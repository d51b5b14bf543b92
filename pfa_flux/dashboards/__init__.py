"""Dashboards for Grafana and InfluxDB 2, made from the settings: their queries give the figures of the library."""
