"""A page of a site as its visitors' browsers see it: the tags in it, and what the pixel would count of a view."""
