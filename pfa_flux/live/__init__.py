"""The live page: the report, served over HTTP with links and forms to choose what it shows."""
