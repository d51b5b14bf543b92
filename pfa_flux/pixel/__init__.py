"""The pixel: a request becomes a page view. Standard library only."""
