"""Windows: compare downsampled rows with raw rows, and repair them."""
