"""The checks of a page for `pfa-flux doctor`."""
