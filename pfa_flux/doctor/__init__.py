"""The checks of `pfa-flux doctor`: data, tasks, rights, the pixel, its front, and a page."""
