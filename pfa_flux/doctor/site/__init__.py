"""How `pfa-flux doctor` checks a page of a site."""
