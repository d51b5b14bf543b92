"""A page of a site as visitors' browsers load it: its tags, and what the pixel would count for a view."""
