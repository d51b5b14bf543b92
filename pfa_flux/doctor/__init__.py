"""What `pfa-flux doctor` checks: data, tasks, rights, the pixel, the web server, a page."""
