"""Commands for the tasks."""
