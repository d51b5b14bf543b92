"""Engines: InfluxDB 1.x and 2.x, and the embedded one, behind one Protocol (`base.Engine`)."""
