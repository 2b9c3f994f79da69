"""`landscape compare`."""
