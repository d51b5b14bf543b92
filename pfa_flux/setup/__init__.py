"""Setting up: a draft of settings, web server, services, and their files."""
