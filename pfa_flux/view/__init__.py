"""Serves the live page: the report over HTTP, with links and forms."""
