"""`landscape surface`."""
