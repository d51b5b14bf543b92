"""Commands of the task."""
