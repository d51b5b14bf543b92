"""Queries: the blocked ratio, its interval, its result."""
