"""The pixel: hits over HTTP, into a journal, on to InfluxDB or the embedded store. Standard library only."""
