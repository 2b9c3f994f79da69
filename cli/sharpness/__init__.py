"""`landscape sharpness`."""
