"""Displays answers: tables, plots, the report, dashboards."""
