"""Dashboards for Grafana and InfluxDB."""
