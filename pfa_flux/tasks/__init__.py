"""Tasks: what they are to be, who runs them, how they are installed and proved."""
