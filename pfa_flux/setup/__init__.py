"""Sets up pfa-flux: a draft of settings, the web server, services, and their files."""
