"""The tasks: what they do, who runs them, and how they are installed and checked."""
