"""`landscape train`."""
