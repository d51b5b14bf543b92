"""The checks of `pfa-flux doctor`: data, tasks, rights, the pixel, the web server, a page."""
