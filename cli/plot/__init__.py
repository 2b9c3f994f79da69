"""`landscape plot`."""
