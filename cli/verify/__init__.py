"""`landscape verify`."""
