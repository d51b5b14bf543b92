"""The helper process: ships hits to InfluxDB, removes old rows, repairs windows."""
