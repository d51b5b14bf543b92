"""The blocked ratio: the question, its data, and the answer as values."""
