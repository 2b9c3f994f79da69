"""`landscape sweep`."""
