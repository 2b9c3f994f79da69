"""`landscape assert`."""
