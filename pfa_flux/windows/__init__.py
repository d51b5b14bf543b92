"""Windows: their raw sums, their downsampled rows, and how to make these match."""
