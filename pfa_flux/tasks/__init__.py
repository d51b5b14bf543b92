"""Tasks: their specification, who runs them, and how they are installed and proved."""
