"""Windows of time: their raw sums, their downsampled rows, and making these match."""
