"""Copy a store to another store."""
