"""How answers look: tables, plots, the report, dashboards."""
