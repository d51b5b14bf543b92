"""Who runs the task."""
