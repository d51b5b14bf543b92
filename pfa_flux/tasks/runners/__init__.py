"""Who runs the tasks: InfluxDB, Kapacitor, or pfa-flux itself."""
