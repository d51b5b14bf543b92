"""`pfa-flux serve`: the event loop, and the admin address with metrics and health."""
